"""Payments through the real card gateway and bank services, with the simulators as real servers behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.events import Relay, parked
from kessai.services.bank.api import OwnerKind
from kessai.services.payment.api import (
    CompletePayment,
    CreateCharge,
    FundingSource,
    GetPayment,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    TopUp,
    Withdraw,
)
from kessai.services.payment.service import desk
from kessai.services.payment.subscribers import bank_results
from kessai.services.payment.workflows import notes
from kessai.simulators.bank import Fate
from kessai.simulators.faults import PRESETS
from tests.bank.world import World as BankWorld
from tests.bank.world import opened as bank_opened
from tests.cardgateway.world import World as CardWorld
from tests.cardgateway.world import opened as cards_opened
from tests.payment.world import World, opened
from tests.proof import prove

S = PaymentState
PATIENCE_S = 20.0


class Outside:
    """A platform of three services with a gateway and a bank outside."""

    def __init__(self, world: World, cards: CardWorld, bank: BankWorld) -> None:
        self.world = world
        self.cards = cards
        self.bank = bank
        self.gateway: Any = None

    async def card_of(self, customer: str, token: str = "tok_visa") -> str:
        """A registered card."""
        return await self.cards.card(self.gateway, token, customer)

    async def account_of(self, customer: str, number: str = "1234567") -> str:
        """A registered bank account."""
        account = await self.bank.account(owner_kind=OwnerKind.CUSTOMER, owner_id=customer, account_number=number)
        return account.account_id

    async def charge(self, customer: str, amount: int, token: str = "tok_visa", **more: Any) -> PaymentRecord:
        """A charge at once from funds and a card."""
        sources = [
            FundingSource(source="funds"),
            FundingSource(source="card", instrument_id=await self.card_of(customer, token)),
        ]
        request = CreateCharge(
            customer_id=customer, merchant_id="mer:shop", amount_minor=amount, sources=sources, capture=True, **more
        )
        return await self.world.payments.create_charge(request)

    async def until(self, payment_id: str, *states: PaymentState) -> PaymentRecord:
        """The payment once it is in one of the states; the bank's feed is read and its events delivered meanwhile."""
        subscription = bank_results(self.world.database, self.world.clock, self.world.payments)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.world.payments.get_payment(GetPayment(payment_id=payment_id))
                if found.state in states:
                    return found
                await self.bank.listen()
                with suppress(Unavailable, Unknown):
                    await Relay(self.world.database, "bank").assign()
                    await subscription.deliver()
                await asyncio.sleep(0.02)

    def taken(self) -> int:
        """What cards have paid in all, in the gateway's own books."""
        return sum(each.captured - each.refunded for each in self.cards.simulator.books.authorizations.values())


@pytest.fixture
async def outside(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outside]:
    """All of it, running; proved afterwards, and compared with the bank's books."""
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.1)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 15.0)
    async with opened(database) as world, cards_opened(database) as cards, bank_opened(database) as bank:
        running = Outside(world, cards, bank)
        running.gateway = await cards.another_process()
        mixed: Any = world
        mixed.cards, mixed.bank = running.gateway, bank.bank
        await world.payments.close()
        world.payments = world.another_process()
        await world.payments.open()
        yield running
        await bank.require_agreement()
        assert await parked(database, "payment") == []
    assert await prove(database) == []


MAGIC = {
    "never answers": 777_017,
    "answers twice": 777_013,
    "cut before": 777_011,
    "cut after": 777_012,
    "garbage": 777_014,
    "503 before": 777_015,
    "500 after": 777_016,
    "late": 777_010,
}


@pytest.mark.parametrize("amount", MAGIC.values(), ids=MAGIC.keys())
async def test_whatever_the_gateway_does_the_card_pays_once_and_is_refunded_once(outside: Outside, amount: int) -> None:
    customer = await outside.world.customer(funds=1_000)
    payment = await outside.charge(customer, amount + 1_000)
    assert payment.state is S.CAPTURED
    assert payment.funding[-1].amount_minor == amount
    assert outside.taken() == amount
    await outside.world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    assert outside.taken() == 0
    assert await outside.world.balance(customer) == (1_000, 1_000)


@pytest.mark.parametrize(
    ("token", "amount", "code"),
    [
        ("tok_declined", 5_000, "card_declined"),
        ("tok_visa", 777_001 + 1_000, "insufficient_funds"),
        ("tok_visa", 777_002 + 1_000, "limit_exceeded"),
        ("tok_3ds", 5_000, "authentication_required"),
    ],
)
async def test_a_card_that_says_no_gives_everything_back(outside: Outside, token: str, amount: int, code: str) -> None:
    customer = await outside.world.customer(funds=1_000)
    with pytest.raises(PaymentError) as error:
        await outside.charge(customer, amount, token)
    assert error.value.code == code
    assert outside.taken() == 0
    assert await outside.world.balance(customer) == (1_000, 1_000)


@pytest.mark.parametrize("passed", [True, False])
async def test_3d_secure_ends_as_the_customer_ends_it(outside: Outside, *, passed: bool) -> None:
    customer = await outside.world.customer(funds=1_000)
    payment = await outside.charge(customer, 5_000, "tok_3ds", return_url="https://shop.example/back")
    assert payment.next_action is not None
    assert payment.next_action.url is not None
    authorization_id = payment.next_action.url.rsplit("/", 1)[1]
    outside.cards.simulator.books.challenge(authorization_id, passed=passed)
    complete = outside.world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    if passed:
        assert (await complete).state is S.CAPTURED
        assert outside.taken() == 4_000
    else:
        with pytest.raises(PaymentError, match="authentication_failed"):
            await complete
        assert await outside.world.balance(customer) == (1_000, 1_000)


async def test_a_gateway_that_is_away_refuses_the_card_and_nothing_else(outside: Outside) -> None:
    customer = await outside.world.customer(funds=1_000)
    card_id = await outside.card_of(customer)
    await outside.cards.simulator.go_away()
    request = CreateCharge(
        customer_id=customer,
        merchant_id="mer:shop",
        amount_minor=5_000,
        sources=[FundingSource(source="funds"), FundingSource(source="card", instrument_id=card_id)],
    )
    with pytest.raises(PaymentError, match="card_gateway_unavailable"):
        await outside.world.payments.create_charge(request)
    assert (await outside.world.charge(customer, 1_000)).state is S.AUTHORIZED
    await outside.cards.simulator.start()


@pytest.mark.parametrize("number", ["1234567", "9000003"])
async def test_a_top_up_by_bank_ends_as_the_bank_ends_it(outside: Outside, number: str) -> None:
    customer = await outside.world.customer()
    account_id = await outside.account_of(customer, number)
    request = TopUp(customer_id=customer, source="bank_debit", amount_minor=3_000, instrument_id=account_id)
    payment = await outside.world.payments.top_up(request)
    assert payment.state is S.REQUIRES_ACTION
    ended = await outside.until(payment.payment_id, S.CAPTURED, S.REFUSED)
    if number == "1234567":
        assert (ended.state, await outside.world.balance(customer)) == (S.CAPTURED, (3_000, 3_000))
    else:
        assert (ended.state, ended.refusal_code) == (S.REFUSED, "insufficient_funds")


@pytest.mark.parametrize("preset", ["drop_before", "drop_after", "twice", "garbage_after", "fail_after"])
async def test_a_withdrawal_leaves_once_whatever_the_bank_answers(outside: Outside, preset: str) -> None:
    customer = await outside.world.customer(funds=5_000)
    account_id = await outside.account_of(customer)
    outside.bank.simulator.faults.program(PRESETS[preset])
    payment = await outside.world.payments.withdraw(
        Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=3_000)
    )
    assert payment.state is S.IN_FLIGHT
    await outside.until(payment.payment_id, S.CAPTURED)
    assert await outside.world.balance(customer) == (1_800, 1_800)


async def test_a_withdrawal_that_the_bank_returns_comes_back(outside: Outside) -> None:
    customer = await outside.world.customer(funds=5_000)
    account_id = await outside.account_of(customer)
    outside.bank.simulator.books.foresee(Fate(state="returned", code="name_mismatch"))
    payment = await outside.world.payments.withdraw(
        Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=3_000)
    )
    await outside.until(payment.payment_id, S.CAPTURED)
    outside.bank.pass_days(4)
    await outside.until(payment.payment_id, S.RETURNED)
    assert await outside.world.balance(customer) == (4_800, 4_800)


@pytest.mark.parametrize("transactions", range(1, 8))
@pytest.mark.parametrize("verb", ["withdraw", "top_up"])
async def test_a_bank_service_whose_database_is_away_leaves_no_money_with_nobody(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, verb: str, transactions: int
) -> None:
    """Half a second without the bank's schema, after so many of its transactions; and again before it has ended."""
    monkeypatch.setattr(notes, "ANSWER_S", 0.2)
    customer = await outside.world.customer(funds=10_000)
    account_id = await outside.account_of(customer)
    left, away_until, real = [transactions], [0.0], Database.transaction

    async def transaction(self: Database, role: Any, work: Any, **more: Any) -> Any:
        if role == role_of("bank"):
            left[0] -= 1
            if left[0] in (0, -12):
                away_until[0] = time.monotonic() + 0.5
            if time.monotonic() < away_until[0]:
                raise Unavailable("database_unavailable", "The database cannot be reached just now.")
        return await real(self, role, work, **more)

    monkeypatch.setattr(Database, "transaction", transaction)
    if verb == "withdraw":
        request: Any = Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=3_000)
    else:
        request = TopUp(customer_id=customer, source="bank_debit", amount_minor=3_000, instrument_id=account_id)
    moved, refused = -3_200 if verb == "withdraw" else 3_000, ""  # with the fee of a withdrawal
    try:
        payment = await getattr(outside.world.payments, verb)(request)
    except PaymentError as refusal:
        moved, refused = 0, refusal.code
    else:
        await outside.until(payment.payment_id, S.CAPTURED)
    monkeypatch.setattr(Database, "transaction", real)
    assert await outside.world.balance(customer) == (10_000 + moved, 10_000 + moved)
    assert bool(outside.bank.simulator.books.statement()) is (moved != 0)
    assert refused == ("" if moved else "bank_not_instructed")
