"""Payments by reference, customer, merchant, seller, kind, state and time, page by page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from kessai.apps.asyncapi import asyncapi_of
from kessai.foundation.db import role_of
from kessai.foundation.events.outbox import events_of
from kessai.services.bank.api import InstructionState
from kessai.services.payment.api import (
    CreateEscrow,
    FundingSource,
    GetPayment,
    ListPayments,
    PaymentState,
    RefundCharge,
    TopUp,
    Withdraw,
)
from tests.payment.test_service import code_of
from tests.payment.world import World


async def listed(world: World, *, limit: int = 2, **conditions: Any) -> list[str]:
    """All pages of a list."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await world.payments.list_payments(ListPayments(limit=limit, cursor=cursor, **conditions))
        assert len(page.payments) <= limit
        found += [each.payment_id for each in page.payments]
        if (cursor := page.next_cursor) is None:
            return found


async def test_payments_are_found_by_whatever_a_product_knows_of_them(world: World) -> None:
    alice, seller = await world.customer(funds=1_000), await world.customer()
    charges = [
        (await world.charge(alice, 10, merchant_id=f"mer:{n % 2}", reference=f"order {n % 3}")).payment_id
        for n in range(6)
    ]
    request = CreateEscrow(
        customer_id=alice,
        marketplace_id="mer:market",
        seller_id=seller,
        amount_minor=5,
        sources=[FundingSource(source="funds")],
        reference="order 1",
    )
    escrow = (await world.payments.create_escrow(request)).payment_id
    newest = charges[::-1]
    assert await listed(world, merchant_id="mer:1") == [newest[0], newest[2], newest[4]]
    assert await listed(world, reference="order 1") == [escrow, charges[4], charges[1]]
    assert await listed(world, reference="order 1", customer_id=seller) == [escrow]
    assert await listed(world, reference="order 1", merchant_id="mer:0") == [charges[4]]
    assert await listed(world, customer_id=seller) == [escrow]
    assert await listed(world, customer_id=alice, kind="charge") == newest
    assert await listed(world, customer_id=alice, kind="charge", merchant_id="mer:0", limit=1) == newest[1::2]
    assert await listed(world, customer_id=alice, state=PaymentState.CAPTURED, limit=1) == [
        each for each in await listed(world, customer_id=alice) if each.startswith("top_")
    ]


async def test_payments_are_listed_by_time_page_by_page(world: World) -> None:
    customer = await world.customer(funds=100)
    times: list[datetime] = []
    made: list[str] = []
    for _ in range(5):
        world.pass_days(1)
        times.append(world.clock.now())
        made.append((await world.charge(customer, 1)).payment_id)
    assert (await listed(world))[:5] == made[::-1]
    between = await listed(world, created_from=times[1], created_before=times[4] - timedelta(seconds=1), limit=1)
    assert between == made[3:0:-1]
    assert await listed(world, customer_id=customer, created_from=times[3]) == made[:2:-1]


@pytest.mark.parametrize("cursor", ["x", "1-x", "-", "99999999999999999999-" + "0" * 32, "١-" + "0" * 32])
async def test_a_cursor_that_no_list_gave_is_refused(world: World, cursor: str) -> None:
    assert await code_of(world.payments.list_payments(ListPayments(cursor=cursor))) == "bad_cursor"


async def test_every_event_that_is_published_is_documented(world: World) -> None:
    customer = await world.customer(funds=1_000)
    charge = await world.charge(customer, 100, capture=True)
    await world.payments.refund_charge(RefundCharge(charge_id=charge.payment_id))
    await world.payments.top_up(TopUp(customer_id=customer, source="store_payment", amount_minor=5))
    account_id = world.bank.account_of(customer)
    withdrawal = await world.payments.withdraw(
        Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=100)
    )
    world.bank.answers(InstructionState.RETURNED)
    await world.payments.hear_from_bank(withdrawal.payment_id)
    assert (await world.payments.get_payment(GetPayment(payment_id=withdrawal.payment_id))).state == "RETURNED"
    rows = await world.database.fetch(
        role_of("payment"), "SELECT topic, payload, recorded_at FROM payment.outbox WHERE topic = 'payment.payment'"
    )
    told = {
        event.decode(dict[str, Any])["type"]
        for row in rows
        for event in events_of("payment", 1, row["topic"], row["payload"], row["recorded_at"])
    }
    assert told == {
        "payment.top_up.captured", "payment.charge.captured", "payment.charge.refunded",
        "payment.top_up.action_required", "payment.withdrawal.sent", "payment.withdrawal.captured",
        "payment.withdrawal.returned",
    }  # fmt: skip
    assert told <= set(asyncapi_of(world.kinds)["components"]["messages"])
