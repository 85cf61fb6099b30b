"""From a payment's event to transaction data, and from proved transactions to a day's summaries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from kessai.foundation.db import Database
from kessai.foundation.ids import new_id
from kessai.services.identity.api import content_digest
from kessai.services.payment.api import Adjust, CaptureEscrow, CreateEscrow, Direction, FundingSource, RefundEscrow
from kessai.services.settlement.api import TransactionKind, TransactionState
from tests.settlement.intake_world import SHOP, World, net_of, opened

TODAY = date(2026, 12, 1)
K = TransactionKind


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A running world."""
    async with opened(database) as running:
        yield running


async def test_a_sale_is_money_from_the_customer_to_the_merchant(world: World) -> None:
    charge = await world.sell(1_000)
    await world.hear()
    (sale,) = await world.transactions()
    assert (sale.kind, sale.from_id, sale.to_id, sale.amount_minor) == (K.SALE, charge.payer_id, SHOP, 1_000)
    assert (sale.business_date, sale.state, sale.payment_id) == (TODAY, TransactionState.RECORDED, charge.payment_id)


async def test_a_refund_is_the_reverse(world: World) -> None:
    charge = await world.sell(1_000)
    await world.refund(charge, 300)
    await world.hear()
    found = {each.kind: each for each in await world.transactions()}
    refund = found[K.REFUND]
    assert (refund.from_id, refund.to_id, refund.amount_minor) == (SHOP, charge.payer_id, 300)


async def test_what_was_authorized_and_not_taken_is_nothing(world: World) -> None:
    await world.sell(1_000, capture=False)
    await world.hear()
    assert await world.transactions() == []


async def test_a_fee_is_a_payment_of_its_own_from_the_merchant_to_the_platform(world: World) -> None:
    await world.sell(1_000)
    assert await world.issue() == 1
    sale, fee = sorted(await world.transactions(), key=lambda each: each.kind.value, reverse=True)
    assert (fee.kind, fee.from_id, fee.to_id, fee.amount_minor) == (K.FEE, SHOP, "platform", 32)
    assert (fee.origin_id, fee.method) == (sale.transaction_id, sale.method)
    assert fee.payment_id != sale.payment_id


async def test_there_is_no_fee_on_a_fee(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    assert await world.issue() == 0
    assert [each.kind for each in await world.transactions()].count(K.FEE) == 1


async def test_transactions_add_up_to_the_ledgers_unsettled_sales(world: World) -> None:
    first, second = await world.sell(10_000), await world.sell(3_333)
    await world.refund(first, 2_500)
    await world.refund(second, 3_333)
    await world.issue()
    await world.issue()
    assert net_of(await world.transactions()) == await world.unsettled()


async def test_the_same_events_again_change_nothing(world: World) -> None:
    await world.sell(1_000)
    await world.hear()
    await world.rows("UPDATE settlement.subscription_cursor SET position = 0, handled = 0")
    world.settlement, feeds = world.another_process(), world.another_feeds()
    for feed in feeds:
        while await feed.deliver():
            pass
    assert len(await world.transactions()) == 1
    assert await world.rows("SELECT owner_id FROM settlement.fee_base") == [(SHOP,)]


async def test_a_day_is_reconciled_summed_up_and_closed(world: World) -> None:
    charge = await world.sell(10_000)
    await world.sell(5_000)
    await world.refund(charge, 1_000)
    await world.issue()
    await world.issue()
    done = await world.settle(TODAY)
    (summary,) = await world.summaries(since=TODAY)
    assert (summary.sales_minor, summary.refunds_minor) == (15_000, 1_000)
    assert (summary.fees_minor, summary.fee_refunds_minor) == (324 + 162, 32)
    assert summary.net_minor == 15_000 - 1_000 - 486 + 32 == await world.unsettled()
    assert (summary.merchant_id, summary.payee_id, summary.late) == (SHOP, SHOP, 0)
    assert done.done == summary.transactions == 6
    assert {each.state for each in await world.transactions()} == {TransactionState.RECONCILED}


async def test_childrens_sales_are_summed_up_for_the_parent_that_collects(world: World) -> None:
    for child in ("mer:a", "mer:b", "mer:c"):
        world.registry.fees[child] = world.registry.fees[SHOP]
        world.registry.payees[child] = "mer:parent"
        await world.sell(100, child)
    await world.hear()
    await world.settle(TODAY)
    found = await world.summaries("mer:parent", since=TODAY)
    assert [(each.merchant_id, each.sales_minor) for each in found] == [("mer:a", 100), ("mer:b", 100), ("mer:c", 100)]


async def test_of_an_escrow_the_marketplaces_fee_alone_is_its_sale(world: World) -> None:
    escrow = await world.payments.create_escrow(
        CreateEscrow(
            customer_id=await world.customer(funds=10_000),
            marketplace_id=SHOP,
            seller_id="cus:seller",
            amount_minor=10_000,
            sources=[FundingSource(source="funds")],
        )
    )
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=escrow.payment_id, fee_minor=1_000))
    await world.payments.refund_escrow(RefundEscrow(escrow_id=escrow.payment_id, amount_minor=5_000))
    await world.hear()
    found = await world.transactions()
    assert sorted((each.kind, each.amount_minor) for each in found) == [(K.REFUND, 500), (K.SALE, 1_000)]
    assert net_of(found) == await world.unsettled()


async def test_an_operators_correction_of_unsettled_sales_is_an_adjustment(world: World) -> None:
    await world.sell(1_000)
    for direction, amount in ((Direction.IN, 300), (Direction.OUT, 200)):
        request = Adjust(
            owner=SHOP,
            account_type="unsettled_sales",
            direction=direction,
            amount_minor=amount,
            approval_id=new_id("apv"),
        )
        world.approvals.approved[request.approval_id] = content_digest(request)
        await world.payments.adjust(request)
    await world.issue()
    await world.settle(TODAY)
    found = await world.summaries(since=TODAY)
    assert (sum(each.added_minor for each in found), sum(each.taken_minor for each in found)) == (300, 200)
    assert sum(each.net_minor for each in found) == await world.unsettled() == 1_000 - 32 + 300 - 200
