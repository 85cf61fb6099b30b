"""settlement.daily: what is proved settles on the day, once; what is not stays open and says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from uuid import UUID

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound, PaymentError
from kessai.sdk.jobs import JobOrder
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.merchant.api import NoTerms
from kessai.services.settlement.api import (
    DailySummary,
    GetSettlementDay,
    ListDailySummaries,
    ListOpenTransactions,
    TransactionKind,
    TransactionState,
)
from kessai.services.settlement.store import transactions
from kessai.services.settlement.workflows.daily import daily, payees_of_day
from kessai.services.settlement.workflows.proving import judge
from kessai.services.tracer.api import Verdict
from tests.settlement.intake_world import SHOP, World, net_of, opened, quick

TODAY = date(2026, 12, 1)
TOMORROW = date(2026, 12, 2)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A running world whose pages are small."""
    async with opened(database, quick(transactions=2)) as running:
        yield running


async def held(world: World) -> dict[str, str | None]:
    """What is open, by payment, with its reason."""
    page = await world.settlement.list_open_transactions(ListOpenTransactions())
    return {each.payment_id: each.reason for each in page.transactions if each.kind is TransactionKind.SALE}


@pytest.mark.parametrize("verdict", [Verdict.INCONSISTENT, Verdict.INCOMPLETE, Verdict.PENDING])
async def test_what_is_not_proved_does_not_settle_and_says_why(world: World, verdict: Verdict) -> None:
    good, bad = await world.sell(1_000), await world.sell(2_000)
    world.judge.verdicts[bad.processing_id] = verdict
    await world.issue()
    await world.settle(TODAY)
    (summary,) = await world.summaries(since=TODAY)
    assert summary.sales_minor == 1_000
    assert await held(world) == {bad.payment_id: f"not_proved:{verdict}"}
    assert good.payment_id not in await held(world)


async def test_what_is_proved_later_settles_on_the_next_open_day_and_names_its_own(world: World) -> None:
    charge = await world.sell(2_000)
    world.judge.verdicts[charge.processing_id] = Verdict.INCONSISTENT
    await world.issue()
    await world.settle(TODAY)
    del world.judge.verdicts[charge.processing_id]
    await world.settle(TOMORROW)
    (summary,) = await world.summaries(since=TOMORROW)
    assert (summary.sales_minor, summary.late, summary.transactions) == (2_000, 1, 1)
    (sale,) = [each for each in await world.transactions() if each.kind is TransactionKind.SALE]
    assert (sale.business_date, sale.settles_on, sale.state) == (TODAY, TOMORROW, TransactionState.RECONCILED)


async def test_a_verdict_that_was_given_before_the_event_was_written_proves_nothing(world: World) -> None:
    charge = await world.sell(2_000)
    world.judge.decided_at = datetime.now(UTC)
    await world.refund(charge, 500)
    await world.hear()
    await world.settle(TODAY)
    (summary,) = await world.summaries(since=TODAY)
    assert (summary.sales_minor, summary.refunds_minor) == (2_000, 0)
    page = await world.settlement.list_open_transactions(ListOpenTransactions())
    assert {(each.kind, each.reason) for each in page.transactions} >= {(TransactionKind.REFUND, "not_proved:PENDING")}


async def test_verdicts_are_compared_in_real_time_wherever_business_time_is(world: World) -> None:
    world.until(date(2031, 5, 1))
    await world.sell(2_000)
    await world.hear()
    await world.settle(date(2031, 5, 1))
    (summary,) = await world.summaries(since=date(2031, 5, 1))
    assert summary.sales_minor == 2_000


async def test_a_processing_of_which_the_tracer_has_not_heard_is_pending(world: World) -> None:
    charge = await world.sell(2_000)
    world.judge.unknown.add(charge.processing_id)
    await world.issue()
    await world.settle(TODAY)
    assert await held(world) == {charge.payment_id: "not_proved:PENDING"}


async def test_sales_of_a_merchant_that_nobody_knows_wait(world: World) -> None:
    charge = await world.sell(2_000, "mer:nobody")
    await world.issue()
    await world.settle(TODAY)
    assert await held(world) == {charge.payment_id: "merchant_unknown"}


async def test_a_sale_without_a_contract_waits_for_its_fee(world: World) -> None:
    world.registry.reasons[SHOP, "direct"] = NoTerms.METHOD_NOT_ACCEPTED
    charge = await world.sell(2_000)
    await world.issue()
    await world.settle(TODAY)
    assert await held(world) == {charge.payment_id: "method_not_accepted"}


async def test_a_fee_whose_payment_is_refused_holds_its_sale(world: World) -> None:
    charge = await world.sell(2_000)
    await world.hear()
    world.refuse_movements = "account_frozen"
    await world.settlement.issue_fees()
    await world.settle(TODAY)
    assert await held(world) == {charge.payment_id: "fee_refused"}
    world.refuse_movements = None
    await world.settle(TOMORROW)
    assert await held(world) == {}
    await world.hear()
    assert net_of(await world.transactions()) == 2_000 - 64 == await world.unsettled()


async def test_a_day_that_is_not_over_is_refused(world: World) -> None:
    with pytest.raises(Invalid) as refusal:
        await world.run(TODAY)
    assert refusal.value.code == "day_not_over"


async def test_a_closed_day_stays_as_it_is(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    first = await world.settle(TODAY)
    closed = await world.settlement.get_settlement_day(GetSettlementDay(day=TODAY))
    again = await world.settle(TODAY, attempt=2)
    assert (first.done, again.done) == (2, 0)
    assert await world.settlement.get_settlement_day(GetSettlementDay(day=TODAY)) == closed
    with pytest.raises(NotFound):
        await world.settlement.get_settlement_day(GetSettlementDay(day=TOMORROW))


async def test_a_dry_run_tells_and_writes_nothing(world: World) -> None:
    await world.sell(1_000)
    bad = await world.sell(2_000)
    world.judge.verdicts[bad.processing_id] = Verdict.INCONSISTENT
    await world.issue()
    told = await world.settle(TODAY, dry_run=True)
    assert (told.done, told.note) == (3, "3 would settle, 1 would stay open.")
    assert await world.summaries(since=TODAY) == []
    assert {each.state for each in await world.transactions()} == {TransactionState.RECORDED}


async def test_nothing_is_added_to_a_day_that_was_closed_meanwhile(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    await world.settle(TODAY)
    (before,) = await world.summaries(since=TODAY)
    world.until(TOMORROW)
    charge = await world.sell(5_000)
    await world.database.fetch(
        None,
        "UPDATE settlement.transaction_data SET business_date = $1 WHERE payment_id = $2",
        TODAY,
        charge.payment_id,
    )
    await world.issue()
    await world.settle(TOMORROW)
    assert await world.summaries(since=TODAY) == [before]
    assert net_of(await world.transactions()) == await world.unsettled()


async def test_summaries_are_listed_by_the_page(world: World) -> None:
    for day in (TODAY, TOMORROW):
        world.until(day)
        await world.sell(1_000)
        await world.issue()
        await world.settle(day)
    found, cursor = list[DailySummary](), None
    while True:
        request = ListDailySummaries(payee_id=SHOP, since=TODAY, until=TOMORROW, limit=1, cursor=cursor)
        page = await world.settlement.list_daily_summaries(request)
        found += page.summaries
        if (cursor := page.next_cursor) is None:
            break
    assert [each.day for each in found] == [TODAY, TOMORROW]


@pytest.mark.parametrize(("flush", "when"), [*((n, "before") for n in range(1, 13)), (1, "after"), (7, "after")])
async def test_a_run_that_dies_at_any_boundary_settles_each_transaction_once(
    world: World, flush: int, when: str
) -> None:
    for amount in (1_000, 2_000, 4_000):
        await world.sell(amount)
    await world.issue()
    expected = await world.unsettled()
    world.until(TOMORROW, hour=1)
    dying = world.another_process(lease_s=0.4, hook=CrashAt(flush, when))  # type: ignore[arg-type]
    await dying.open()
    try:
        await world.run(TODAY, settlement=dying)
    except PaymentError as error:
        assert error.retryable, error  # noqa: PT017  (or it was not killed)
    await dying.crash()
    survivor = world.another_process(lease_s=0.4)
    await survivor.open()
    try:
        order = JobOrder(name="settlement.daily", day=TODAY)
        handle = await survivor.engine.start(daily, order, workflow_id=f"settlement.daily:{TODAY}#1False")
        done = await handle.result()
    finally:
        await survivor.close()
    (summary,) = await world.summaries(since=TODAY)
    assert (summary.transactions, summary.net_minor, done.done) == (6, expected, 6)


async def test_a_sale_that_the_fee_flow_has_not_heard_of_waits(world: World) -> None:
    charge = await world.sell(2_000)
    await world.hear_transactions_alone()
    deps = world.settlement.engine.deps
    page = await transactions.open_page(deps.database, TODAY, transactions.Place(date.min, "", UUID(int=0)), 10)
    judged = await judge(deps, page, payees_of_day(deps, TODAY))
    assert [reason for _, _, reason in judged.held] == ["fee_not_decided"]
    await world.issue()
    await world.settle(TODAY)
    assert charge.payment_id not in await held(world)
