"""Parties outside: the service that talks with one compares its own record with theirs, and names both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.apps.demo.diary import HANAKO, SHOP
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.services.cardgateway.api import AuthorizeCard
from kessai.services.ledger.api import CreateExchange, Leg
from kessai.simulators.bank.books import Order
from tests.journeys.town import Town, opened

HOLD = "cau_00000000000000000000000000000abc"


class Visit:
    """A customer with a card and a bank account, and what the tracer finds."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.card_id = ""
        self.account_id = ""

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What is answered."""
        key = {"Idempotency-Key": f"key-{len(self.town.cards.requests)}-{path}-{body.get('amount_minor')}"}
        answer = await self.town.http.post(path, json=body, headers=key)
        assert answer.status_code in (200, 201, 202), answer.text
        return answer.json()

    async def arrive(self) -> None:
        """A card and a bank account are registered."""
        await self.post("/v1/ledger/accounts", {"owner": HANAKO, "account_type": "funds"})
        card = await self.post("/v1/cards", {"customer_id": HANAKO, "form_token": "tok_visa"})
        self.card_id = card["card_id"]
        body = {
            "owner_kind": "customer", "owner_id": HANAKO, "bank_code": "0001", "branch_code": "001",
            "account_number": "1234567", "holder_name": "ヤマダ ハナコ", "debits": True,
        }  # fmt: skip
        self.account_id = (await self.post("/v1/bank/accounts", body))["account_id"]

    async def charged(self, amount: int, *, capture: bool = True) -> str:
        """A charge of the card; gives the payment's id."""
        source = {"source": "card", "instrument_id": self.card_id}
        body = {"customer_id": HANAKO, "merchant_id": SHOP, "amount_minor": amount, "sources": [source]}
        return (await self.post("/v1/charges", {**body, "capture": capture}))["payment_id"]

    async def topped_up(self, amount: int) -> str:
        """Money by bank debit."""
        body = {"customer_id": HANAKO, "source": "bank_debit", "amount_minor": amount, "instrument_id": self.account_id}
        return await self._until((await self.post("/v1/top-ups", body))["payment_id"], "CAPTURED")

    async def withdrew(self, amount: int) -> str:
        """Money to the bank account."""
        body = {"customer_id": HANAKO, "bank_account_id": self.account_id, "amount_minor": amount}
        return await self._until((await self.post("/v1/withdrawals", body))["payment_id"], "CAPTURED")

    async def _until(self, payment_id: str, state: str) -> str:
        async with asyncio.timeout(60):
            while (await self.town.http.get(f"/v1/payments/{payment_id}")).json()["state"] != state:
                await asyncio.sleep(0.05)
        return payment_id

    async def proved(self, payment_id: str, revision: int = 1) -> dict[str, Any]:
        """The processing, once it has its verdict at that revision or a later one."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.town.http.get(f"/v1/tracer/payments/{payment_id}")
                found = answer.json()
                if answer.status_code == 200 and found["verdict"] != "PENDING" and found["revision"] >= revision:
                    return found
                await asyncio.sleep(0.1)

    async def closed(self, payment_id: str) -> dict[str, Any]:
        """The processing's finding, once it is closed."""
        async with asyncio.timeout(90):
            while True:
                found = await self.proved(payment_id)
                if found["finding_id"] is not None:
                    finding = (await self.town.http.get(f"/v1/tracer/findings/{found['finding_id']}")).json()
                    if finding["state"] == "CLOSED":
                        return finding
                await asyncio.sleep(0.1)

    async def again(self, payment_id: str) -> dict[str, Any]:
        """Proved anew, because somebody asks for it."""
        before = await self.proved(payment_id)
        await self.post(f"/v1/tracer/processings/{before['processing_id']}/prove", {})
        return await self.proved(payment_id, before["revision"] + 1)

    async def differences(self, service: str, payment_id: str) -> list[dict[str, Any]]:
        """What a service finds when the processing is proved anew."""
        found = await self.again(payment_id)
        (report,) = [
            each["report"]
            for each in found["reports"]
            if each["participant"] == service and each["report"]["revision"] == found["revision"]
        ]
        assert (found["verdict"] == "INCONSISTENT") is bool(report["differences"])
        return report["differences"]


@pytest.fixture
async def visit(database_url: str, tmp_path: Path) -> AsyncIterator[Visit]:
    """A customer in town."""
    async with opened(database_url, tmp_path) as town:
        made = Visit(town)
        await made.arrive()
        yield made


def outside_id(prefix: str, payment_id: str) -> str:
    """What a payment is called outside."""
    return f"{prefix}_{payment_id.partition('_')[2]}"


def authorization(visit: Visit, payment_id: str) -> Any:
    """The gateway's own record."""
    return visit.town.cards.books.authorizations[outside_id("cau", payment_id)]


def voided(theirs: Any) -> None:
    """As if it had never been captured."""
    theirs.state, theirs.captured = "voided", 0


async def test_every_record_of_the_card_network_that_is_altered_is_found_with_both_records(visit: Visit) -> None:
    alterations: dict[int, tuple[Callable[[Any], object], list[str]]] = {
        1_001: (lambda each: setattr(each, "amount", 999), ["amount_minor"]),
        1_002: (lambda each: setattr(each, "captured", 2 * each.captured), ["captured_minor"]),
        1_003: (lambda each: setattr(each, "currency", "USD"), ["asset"]),
        1_004: (lambda each: setattr(each, "card_token", "ctk_another"), ["party"]),
        1_005: (voided, ["captured_minor", "state"]),
    }
    for amount, (alter, fields) in alterations.items():
        payment_id = await visit.charged(amount)
        assert (await visit.proved(payment_id))["verdict"] == "CONSISTENT"
        assert await visit.differences("cardgateway", payment_id) == []
        alter(authorization(visit, payment_id))
        (found,) = await visit.differences("cardgateway", payment_id)
        assert (found["dependency"], found["kind"], found["fields"]) == ("card-network", "differs", fields)
        assert found["mine"]["amount_minor"] == -amount
        assert found["mine"]["effect_id"] == found["theirs"]["effect_id"] == outside_id("cau", payment_id)


async def test_one_that_the_card_network_lost_is_found_and_asking_costs_one_call(visit: Visit) -> None:
    payment_id = await visit.charged(2_000)
    await visit.proved(payment_id)
    heard = [each.verb for each in visit.town.cards.requests].count("records")
    assert await visit.differences("cardgateway", payment_id) == []
    assert [each.verb for each in visit.town.cards.requests].count("records") == heard + 1
    del visit.town.cards.books.authorizations[outside_id("cau", payment_id)]
    (found,) = await visit.differences("cardgateway", payment_id)
    assert (found["kind"], found["theirs"], found["mine"]["amount_minor"]) == ("missing_at_callee", None, -2_000)


async def test_every_record_of_the_bank_that_is_altered_is_found_with_both_records(visit: Visit) -> None:
    orders = visit.town.bank.books.orders

    def book_again(order: Order) -> None:
        visit.town.bank.books.book(order.id, order.amount, "debit", order.at)

    alterations: dict[int, tuple[Callable[[Order], object], list[str]]] = {
        20_001: (lambda each: setattr(each, "amount", 999), ["amount_minor"]),
        20_002: (book_again, ["captured_minor"]),
        20_003: (lambda each: setattr(each, "state", "failed"), ["state"]),
        20_004: (lambda each: setattr(each, "number", "9999999999"), ["account"]),
    }
    for amount, (alter, fields) in alterations.items():
        payment_id = await visit.topped_up(amount)
        assert (await visit.proved(payment_id))["verdict"] == "CONSISTENT"
        alter(orders[outside_id("bdb", payment_id)])
        (found,) = await visit.differences("bank", payment_id)
        assert (found["dependency"], found["kind"], found["fields"]) == ("partner-bank", "differs", fields)
    payment_id = await visit.withdrew(5_000)
    assert (await visit.proved(payment_id))["verdict"] == "CONSISTENT"
    del orders[outside_id("btr", payment_id)]
    (found,) = await visit.differences("bank", payment_id)
    assert (found["kind"], found["mine"]["amount_minor"]) == ("missing_at_callee", -5_000)


async def test_while_the_card_network_is_down_its_processings_wait_and_the_others_do_not(visit: Visit) -> None:
    by_card, by_bank = await visit.charged(3_000), await visit.topped_up(10_000)
    before = await visit.proved(by_card)
    visit.town.cards.faults.down = True
    await visit.post(f"/v1/tracer/processings/{before['processing_id']}/prove", {})
    assert (await visit.again(by_bank))["verdict"] == "CONSISTENT"
    waiting = (await visit.town.http.get(f"/v1/tracer/payments/{by_card}")).json()
    assert (waiting["verdict"], waiting["waiting_for"]) == ("PENDING", ["cardgateway"])
    visit.town.cards.faults.clear()
    assert (await visit.proved(by_card, before["revision"] + 1))["verdict"] == "CONSISTENT"


async def test_a_hold_that_the_card_network_kept_is_voided_by_rule_and_proved(visit: Visit) -> None:
    payment_id = await visit.charged(4_000, capture=False)
    await visit.post(f"/v1/charges/{payment_id}/cancel", {})
    before = await visit.proved(payment_id)
    assert before["verdict"] == "CONSISTENT"
    theirs = authorization(visit, payment_id)
    assert theirs.state == "voided"
    theirs.state = "authorized"
    await visit.differences("cardgateway", payment_id)
    finding = await visit.closed(payment_id)
    assert ((await visit.proved(payment_id))["verdict"], theirs.state) == ("CONSISTENT", "voided")
    assert "rule:void-hold-that-the-card-network-kept" in [each["by"] for each in finding["steps"]]


async def test_holds_of_an_ended_payment_at_the_card_gateway_and_in_the_ledger_are_voided_by_rule(visit: Visit) -> None:
    payment_id = await visit.charged(4_000, capture=False)
    await visit.post(f"/v1/charges/{payment_id}/cancel", {})
    before = await visit.proved(payment_id)
    leg = Leg(account_type="deposit", owner="bank", amount_minor=700, asset="JPY")
    gift = CreateExchange(
        sources=[leg],
        targets=[replace(leg, account_type="free_points", owner=HANAKO)],
        kind="gift",
        capture=False,
    )
    token = enter_call(Call(caller="payment", processing_id=before["processing_id"]))  # as if it had forgotten them
    try:
        await visit.town.platform.ledger.create_exchange(gift)
        hold = AuthorizeCard(card_id=visit.card_id, customer_id=HANAKO, amount_minor=700, authorization_id=HOLD)
        await visit.town.platform.cardgateway.authorize(hold)
    finally:
        leave_call(token)
    finding = await visit.closed(payment_id)
    by = {each["by"] for each in finding["steps"] if each["state"] == "REPAIRED"}
    assert by == {"rule:void-card-hold-of-an-ended-payment", "rule:void-ledger-hold-of-an-ended-payment"}
    assert (await visit.proved(payment_id))["verdict"] == "CONSISTENT"
