"""settlement.daily: what is proved settles on the day, once; what is not stays open and says why."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound, PaymentError, Refused
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
from kessai.services.settlement.store import ROLE, days, transactions
from kessai.services.settlement.store.transactions import Proved
from kessai.services.settlement.workflows.daily import daily, payees_of_day
from kessai.services.settlement.workflows.proving import judge
from kessai.services.tracer.api import Verdict
from tests.settlement.intake_world import SHOP, World, net_of, opened, quick

TODAY = date(2026, 12, 1)
TOMORROW = date(2026, 12, 2)


_MANY = """
WITH recorded AS (
    INSERT INTO settlement.transaction_data (owner_id, transaction_id, kind, from_id, to_id, amount_minor, method,
        payment_id, processing_id, occurred_at, business_date, recorded_at, told_at, state)
    SELECT $1::text, md5(n::text)::uuid, 'sale', 'cus:x', $1::text, 100, 'direct', 'chg_' || n, 'prc_' || n,
        $3::timestamptz, $2::date, $3::timestamptz, $3::timestamptz, 'RECORDED'
    FROM generate_series(1, $4::int) AS n
    RETURNING owner_id, transaction_id, business_date
)
INSERT INTO settlement.open_transaction (owner_id, transaction_id, business_date)
SELECT owner_id, transaction_id, business_date FROM recorded
"""
_READ = "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'open_transaction_pkey'"


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


async def test_a_refund_settles_with_its_sale_though_its_fee_cannot_be_given_back_yet(world: World) -> None:
    charge = await world.sell(2_000)
    await world.issue()
    world.refuse_refunds = "account_frozen"
    await world.refund(charge, 1_000)
    await world.issue()
    await world.settle(TODAY)
    (summary,) = await world.summaries(since=TODAY)
    assert (summary.sales_minor, summary.refunds_minor, summary.fees_minor) == (2_000, 1_000, 64)
    world.refuse_refunds = None
    await world.settle(TOMORROW)
    await world.hear()
    await world.settle(date(2026, 12, 3))
    assert sum([each.fee_refunds_minor for each in await world.summaries(since=TODAY, until=date(2026, 12, 3))]) == 32
    assert net_of(await world.transactions()) == 2_000 - 64 - 1_000 + 32 == await world.unsettled()


async def _told_and_opened(world: World) -> None:
    """Today and tomorrow have sales of which settlement has heard, and nothing is closed but yesterday."""
    await world.settle(date(2026, 11, 30))
    for day in (TODAY, TOMORROW):
        world.until(day)
        await world.sell(1_000)
        await world.issue()


async def test_a_day_is_refused_while_an_earlier_one_with_transactions_is_open(world: World) -> None:
    await _told_and_opened(world)
    with pytest.raises(Refused) as refusal:
        await world.settle(TOMORROW)
    assert (refusal.value.code, refusal.value.details["day"]) == ("earlier_day_open", TODAY.isoformat())
    assert {each.state for each in await world.transactions()} == {TransactionState.RECORDED}
    await world.settle(TODAY)
    await world.settle(TOMORROW, attempt=2)
    both = await world.summaries(since=TODAY, until=TOMORROW)
    assert [(each.day, each.sales_minor, each.late) for each in both] == [(TODAY, 1_000, 0), (TOMORROW, 1_000, 0)]


async def test_a_day_is_not_closed_past_one_that_has_begun_to_settle(world: World) -> None:
    await _told_and_opened(world)
    world.until(date(2026, 12, 3))
    deps = world.settlement.engine.deps
    page = await transactions.open_page(deps.database, TODAY, transactions.START, 10)
    proved = [Proved(each.owner_id, each.transaction_id, each.business_date, SHOP, SHOP) for each in page]
    await deps.database.transaction(ROLE, lambda connection: transactions.settle(connection, TODAY, proved))
    with pytest.raises(Refused) as refusal:
        await deps.database.transaction(ROLE, lambda connection: days.close(connection, TOMORROW, deps.clock.now()))
    assert refusal.value.code == "earlier_day_open"


async def test_a_verdict_from_just_after_an_event_counts_once_the_tracer_must_have_heard(world: World) -> None:
    waiting = msgspec.structs.replace(world.config.waiting, margin_s=3_600)
    world.settlement.engine.deps.config = msgspec.structs.replace(world.config, waiting=waiting)
    charge = await world.sell(2_000)
    await world.issue()
    await world.settle(TODAY)
    assert await held(world) == {charge.payment_id: "not_proved:PENDING"}
    world.judge.decided_at = datetime.now(UTC) + timedelta(hours=2)
    await world.settle(TOMORROW)
    assert await held(world) == {}


async def test_pages_of_a_table_without_statistics_are_read_by_index(world: World) -> None:
    deps, rows = world.settlement.engine.deps, 600
    await deps.database.fetch(None, _MANY, SHOP, TODAY, deps.clock.now(), rows)
    after, found = transactions.START, 0
    while page := await transactions.open_page(deps.database, TODAY, after, 50):
        found += len(page)
        after = transactions.Place(page[-1].business_date, page[-1].owner_id, page[-1].transaction_id)
    await deps.database.fetch(ROLE, "SELECT pg_stat_force_next_flush()")
    (row,) = await deps.database.fetch(None, _READ)
    assert found == rows
    assert rows <= row["idx_tup_read"] < 2 * rows


async def test_the_books_are_asked_by_payment_for_what_is_open_and_for_nothing_else(database: Database) -> None:
    config = msgspec.structs.replace(quick(), reconcile=["tracer", "books"])
    async with opened(database, config) as world:
        first, second = await world.sell(1_000), await world.sell(2_000)
        await world.issue()
        for each in await world.transactions():
            world.books.booked[each.payment_id] = [(SHOP, net_of([each]))]
        world.books.booked[second.payment_id] = [(SHOP, 1_999), ("mer:other", 2_000)]
        await world.settle(TODAY)
        assert await held(world) == {second.payment_id: "not_in_books"}
        assert first.payment_id in world.books.asked
        world.books.asked.clear()
        world.books.booked[second.payment_id].append((SHOP, 2_000))
        await world.settle(TOMORROW)
        assert (await held(world), world.books.asked) == ({}, [second.payment_id])


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
    await world.hear()
    (row,) = await world.database.fetch(
        None,
        "UPDATE settlement.transaction_data SET business_date = $1 WHERE payment_id = $2 RETURNING transaction_id",
        TODAY,
        charge.payment_id,
    )
    await world.database.fetch(
        None,
        "UPDATE settlement.open_transaction SET business_date = $1 WHERE transaction_id = $2",
        TODAY,
        row["transaction_id"],
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
