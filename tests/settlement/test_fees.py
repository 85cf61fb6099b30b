"""Fees as payments of their own: worked out, issued by the page, given back; each once, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.merchant.api import FeeRefund, FeeTax, FeeUnit, NoTerms, Rounding
from kessai.services.settlement.api import FeeRecord, FeeState, ListFees, ListWaitingSales, TransactionKind
from tests.settlement.intake_world import SHOP, World, fee_terms, net_of, opened, quick

TODAY = date(2026, 12, 1)
TOMORROW = date(2026, 12, 2)
K = TransactionKind


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A running world whose pages are small."""
    async with opened(database, quick(fees=2, fee_pages=2, transactions=3)) as running:
        yield running


async def fees_of(world: World, owner: str = SHOP) -> list[FeeRecord]:
    """An owner's fees."""
    return (await world.settlement.list_fees(ListFees(owner_id=owner))).fees


async def test_a_refund_gives_back_its_part_of_the_fee(world: World) -> None:
    charge = await world.sell(10_000)
    await world.issue()
    for part in (3_333, 3_333, 3_334):
        await world.refund(charge, part)
    await world.issue()
    back = [each.amount_minor for each in await world.transactions() if each.kind is K.FEE_REFUND]
    assert sorted(back) in ([107, 108, 109], [108, 108, 108])  # they are of the same instant: any of them may be first
    assert net_of(await world.transactions()) == 0 == await world.unsettled()


async def test_a_fee_that_the_contract_keeps_stays(world: World) -> None:
    world.registry.fees[SHOP] = fee_terms(refund=FeeRefund.NONE)
    charge = await world.sell(10_000)
    await world.refund(charge, 10_000)
    await world.issue()
    await world.issue()
    assert net_of(await world.transactions()) == -324 == await world.unsettled()


async def test_an_exempt_fee_is_a_payment_of_its_own_kind(world: World) -> None:
    world.registry.fees[SHOP] = fee_terms(tax=FeeTax.EXEMPT, tax_rate_bps=0)
    await world.sell(10_000)
    await world.issue()
    (fee,) = await fees_of(world)
    assert (fee.payment_id[:3], fee.tax_minor, fee.state) == ("mfx", 0, FeeState.ISSUED)


async def test_a_sale_whose_terms_are_unknown_waits_visibly_and_is_looked_at_again(world: World) -> None:
    await world.sell(10_000, "mer:new")
    await world.issue()
    (waiting,) = (await world.settlement.list_waiting_sales(ListWaitingSales())).sales
    assert (waiting.owner_id, waiting.reason) == ("mer:new", "merchant_unknown")
    world.registry.fees["mer:new"] = fee_terms()
    world.registry.reasons["mer:new", "direct"] = NoTerms.NO_CONTRACT
    await world.settle(TODAY)
    (waiting,) = (await world.settlement.list_waiting_sales(ListWaitingSales())).sales
    assert waiting.reason == "no_contract"
    del world.registry.reasons["mer:new", "direct"]
    await world.settle(TOMORROW)
    assert (await world.settlement.list_waiting_sales(ListWaitingSales())).sales == []
    assert [each.amount_minor for each in await fees_of(world, "mer:new")] == [324]


async def test_a_days_fee_is_on_its_total_and_settles_with_the_day(world: World) -> None:
    world.registry.fees[SHOP] = fee_terms(unit=FeeUnit.DAY, rounding=Rounding.HALF_UP)
    charge = await world.sell(600)
    await world.sell(735)
    await world.refund(charge, 100)
    assert await world.issue() == 0
    await world.settle(TODAY)
    (summary,) = await world.summaries(since=TODAY)
    assert (summary.sales_minor, summary.refunds_minor, summary.fees_minor) == (1_335, 100, 40)
    assert summary.net_minor == await world.unsettled()


async def test_a_day_that_gave_more_back_than_it_sold_gives_fees_back(world: World) -> None:
    world.registry.fees[SHOP] = fee_terms(unit=FeeUnit.DAY)
    charge = await world.sell(10_000)
    await world.hear()
    await world.settle(TODAY)
    world.until(TOMORROW)
    await world.refund(charge, 10_000)
    await world.hear()
    await world.settle(TOMORROW)
    await world.hear()
    await world.settle(date(2026, 12, 3))
    assert net_of(await world.transactions()) == 0 == await world.unsettled()
    assert sorted(each.kind for each in await world.transactions()) == [K.FEE, K.FEE_REFUND, K.REFUND, K.SALE]


async def test_a_cycles_fee_is_charged_on_the_day_on_which_the_cycle_ends(world: World) -> None:
    world.registry.fees[SHOP] = fee_terms(unit=FeeUnit.CYCLE)
    world.registry.closes.add((SHOP, TOMORROW))
    await world.sell(1_010)
    await world.hear()
    await world.settle(TODAY)
    world.until(TOMORROW)
    await world.sell(1_010)
    await world.hear()
    await world.settle(TOMORROW)
    fees = {each.day: each.fees_minor for each in await world.summaries(since=TODAY, until=TOMORROW)}
    assert fees == {TODAY: 0, TOMORROW: 65}


async def test_a_fee_that_was_refused_is_asked_for_anew_under_another_id(world: World) -> None:
    await world.sell(10_000)
    await world.hear()
    await world.settlement.issue_fees()
    (fee,) = await fees_of(world)
    await world.database.fetch(
        None, "UPDATE settlement.fee SET state = 'REFUSED', code = 'account_frozen' WHERE owner_id = $1", SHOP
    )
    await world.settle(TODAY)
    (again,) = await fees_of(world)
    assert again.state is FeeState.ISSUED
    assert again.payment_id != fee.payment_id


async def test_issuing_again_issues_nothing_twice(world: World) -> None:
    for amount in (1_000, 2_000, 3_000, 4_000, 5_000):
        await world.sell(amount)
    await world.hear()
    assert await world.settlement.issue_fees() == 5
    assert await world.settlement.issue_fees() == 0
    await world.hear()
    assert net_of(await world.transactions()) == await world.unsettled() == 15_000 - 484


async def _until_all_is_issued(world: World, issue: Callable[[], Awaitable[int]]) -> None:
    """Go on until no fee is under way: workflows of the dead are taken over once their leases have lapsed."""
    while True:
        await issue()
        rows = await world.rows("SELECT fee_id FROM settlement.fee WHERE state IN ('DUE', 'ASKED')")
        if not rows:
            return
        await asyncio.sleep(0.1)


async def test_a_crash_at_every_boundary_between_pages_issues_each_fee_once(world: World) -> None:
    charge = await world.sell(3_000)
    for amount in (1_000, 2_000, 4_000):
        await world.sell(amount)
    await world.refund(charge, 3_000)
    await world.hear()
    for flush in range(1, 8):
        for when in ("before", "after"):
            dying = world.another_process(lease_s=0.4, hook=CrashAt(flush, when))
            await dying.open()
            try:
                await dying.issue_fees()
            except PaymentError as error:
                assert error.retryable, error  # noqa: PT017  (or it was not killed)
            await dying.crash()
    survivor = world.another_process(lease_s=0.4)
    await survivor.open()
    try:
        await _until_all_is_issued(world, survivor.issue_fees)
    finally:
        await survivor.close()
    await world.hear()
    kinds = [each.kind for each in await world.transactions()]
    assert (kinds.count(K.FEE), kinds.count(K.FEE_REFUND)) == (4, 1)
    assert net_of(await world.transactions()) == await world.unsettled()
