"""`bench settlement`: a day of so many transactions from stored events to summaries, fees issued, a month's cycle.

What is measured is the service's own code on its own tables in a process of its own: the feed's handler, the job
settlement.daily with the tracer's verdicts asked one by one, fees as payments through payment and ledger, and the job
settlement.cycle over thirty such days. What was there before (events, verdicts, fees that were issued) is written by
COPY. The merchant service is one that has the same contract for everybody. At the end every sum is made anew in SQL.
"""

from __future__ import annotations

import sys
from datetime import date, timedelta

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.settlement_past import Past, store_past
from kessai.apps.bench.settlement_worker import IssueFees, MakeCycles, SettleDay, Took, start_settlement

DAY = date(2026, 10, 30)
LAST_DAY = date(2026, 10, 31)
DAYS = 30
FEES_MAX = 50_000
"""Fees that are issued as payments, timed apart."""

_MONTH = """
INSERT INTO settlement.daily_summary (payee_id, day, merchant_id, owner_id, method, sales_minor, refunds_minor,
    fees_minor, fee_refunds_minor, added_minor, taken_minor, net_minor, transactions, late)
SELECT payee_id, $1::date + n, merchant_id, owner_id, method, sales_minor, refunds_minor, fees_minor,
    fee_refunds_minor, added_minor, taken_minor, net_minor, transactions, late
FROM settlement.daily_summary, generate_series(0, $2::int - 1) AS n
WHERE day = $3 AND $1::date + n <> $3
"""
_CLOSED = """
INSERT INTO settlement.settlement_day (day, closed_at, transactions, net_minor, left_open)
SELECT $1::date + n, $4, 0, 0, 0 FROM generate_series(0, $2::int - 1) AS n WHERE $1::date + n <> $3
"""
_SETTLED = """
SELECT count(*) AS transactions, count(*) FILTER (WHERE settles_on = $1) AS settled,
    sum(CASE WHEN to_id = owner_id THEN amount_minor ELSE -amount_minor END)::bigint AS net_minor
FROM settlement.transaction_data
"""
_SUMMARIES = """
SELECT coalesce(sum(net_minor), 0)::bigint AS net_minor, coalesce(sum(transactions), 0)::bigint AS transactions
FROM settlement.daily_summary WHERE day = $1
"""
_DAY = "SELECT transactions, net_minor, left_open FROM settlement.settlement_day WHERE day = $1"
_FEES = """
SELECT count(*) FILTER (WHERE f.state = 'ISSUED') AS issued, coalesce(sum(f.amount_minor), 0)::bigint AS fees_minor,
    (SELECT coalesce(sum(m.amount_minor), 0)::bigint FROM settlement.movement AS m WHERE m.state = 'CAPTURED')
        AS moved_minor,
    (SELECT coalesce(-sum(l.amount), 0)::bigint FROM ledger.hot_log AS l JOIN ledger.account AS a
        ON a.account_id = l.account_id WHERE a.account_type = 'unsettled_sales') AS taken_minor
FROM settlement.fee AS f
"""
_CYCLES = "SELECT coalesce(sum(net_minor), 0)::bigint AS net_minor FROM settlement.sales_summary"


class SettlementReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of standard output, as one JSON object."""

    name: str = "settlement"
    transactions: int
    merchants: int
    seconds: float
    """From stored events to the closed day: taken in, reconciled, summed up."""
    rate: float
    """Transactions a second of those."""
    intake_s: float
    daily_s: float
    fees: int
    fees_s: float
    """Working out and issuing as payments; hearing of the sales apart."""
    fees_rate: float
    cycle_s: float
    """A month's cycle over 30 such days, from daily summaries."""
    rss_mb: float
    """Peak resident memory of the process that does it, without PostgreSQL."""
    verified: bool
    finding: str | None = None
    """The first sum that does not agree."""


async def bench_settlement(options: Options, scene: Scene, steps: Steps) -> SettlementReport:
    """A day, fees, and a month."""
    past = Past(DAY, options.transactions // 2, options.merchants, fees=True)
    steps.next(f"storing the events of {2 * past.sales:,} transactions")
    dsn = await scene.platform_database("settlement")
    await store_past(dsn, past, steps.part)
    await scene.settle()
    day, peak_mb, cycle = await _day_and_month(dsn, past, scene, steps)
    finding = await _difference(dsn, past)
    new = Past(DAY, min(FEES_MAX, past.sales), options.merchants, fees=False)
    steps.next(f"issuing {new.sales:,} fees")
    of_fees = await scene.platform_database("fees")
    await store_past(of_fees, new, steps.part)
    async with start_settlement(of_fees) as worker:
        issued = await worker.order(IssueFees(DAY))
    finding = finding or await _wrong_fees(of_fees, new, issued)
    seconds, fees_s = sum(day.parts.values()), issued.parts["decide_s"] + issued.parts["issue_s"]
    return SettlementReport(
        transactions=day.done,
        merchants=options.merchants,
        seconds=round(seconds, 3),
        rate=round(day.done / seconds, 1),
        intake_s=round(day.parts["intake_s"], 3),
        daily_s=round(day.parts["daily_s"], 3),
        fees=issued.done,
        fees_s=round(fees_s, 3),
        fees_rate=round(issued.done / fees_s, 1),
        cycle_s=round(cycle.parts["cycle_s"], 3),
        rss_mb=round(peak_mb, 1),
        verified=finding is None,
        finding=finding,
    )


async def _day_and_month(dsn: str, past: Past, scene: Scene, steps: Steps) -> tuple[Took, float, Took]:
    async with start_settlement(dsn) as worker, MemoryWatch(lambda: [worker.pid]) as memory:
        steps.next(f"settling {2 * past.sales:,} transactions")
        day = await worker.order(SettleDay(DAY))
        steps.next("storing the other days of the month")
        await _store_month(dsn)
        await scene.settle()
        steps.next(f"a month's cycle of {past.merchants:,} merchants")
        cycle = await worker.order(MakeCycles(LAST_DAY))
        return day, memory.peak_mb, cycle


async def _store_month(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        first = LAST_DAY - timedelta(days=DAYS - 1)
        await connection.execute(_MONTH, first, DAYS, DAY, timeout=None)
        closed_at = await connection.fetchval("SELECT closed_at FROM settlement.settlement_day")
        await connection.execute(_CLOSED, first, DAYS, DAY, closed_at)
        await connection.execute("UPDATE settlement.standing SET closed_through = $1 WHERE name = 'days'", LAST_DAY)
        await connection.execute("VACUUM (ANALYZE)", timeout=None)
    finally:
        await connection.close()


async def _difference(dsn: str, past: Past) -> str | None:
    """The first sum that does not agree with what was stored."""
    connection = await asyncpg.connect(dsn)
    try:
        settled = await connection.fetchrow(_SETTLED, DAY, timeout=None)
        summaries = await connection.fetchrow(_SUMMARIES, DAY)
        day = await connection.fetchrow(_DAY, DAY)
        month = await connection.fetchval(_CYCLES)
    finally:
        await connection.close()
    assert settled is not None
    assert summaries is not None
    assert day is not None
    count, net = sum(1 + (each.fee_minor > 0) for each in past.sold()), past.net_minor
    told = {
        "transactions": (settled["transactions"], count),
        "settled": (settled["settled"], count),
        "net of transactions": (settled["net_minor"], net),
        "net of summaries": (summaries["net_minor"], net),
        "transactions of summaries": (summaries["transactions"], count),
        "net of the day": (day["net_minor"], net),
        "left open": (day["left_open"], 0),
        "net of the month's cycles": (month, DAYS * net),
    }
    return next((f"{name}: {found}, not {wanted}" for name, (found, wanted) in told.items() if found != wanted), None)


async def _wrong_fees(dsn: str, past: Past, issued: Took) -> str | None:
    """The first sum of the fees that does not agree: worked out, asked for, and taken by the ledger."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(_FEES, timeout=None)
    finally:
        await connection.close()
    assert row is not None
    wanted, count = sum(each.fee_minor for each in past.sold()), sum(each.fee_minor > 0 for each in past.sold())
    told = {
        "fees issued": (row["issued"], count),
        "fees counted": (issued.done, count),
        "fees": (row["fees_minor"], wanted),
        "fees moved": (row["moved_minor"], wanted),
        "fees taken by the ledger": (row["taken_minor"], wanted),
    }
    return next((f"{name}: {found}, not {one}" for name, (found, one) in told.items() if found != one), None)


def print_settlement(report: SettlementReport, *, as_json: bool) -> None:
    """A table on standard error, and with `--json` the object as the last line."""
    table = Table(title="bench settlement")
    for name in ("what", "value"):
        table.add_column(name)
    for name, value in msgspec.structs.asdict(report).items():
        table.add_row(name, f"{value:,}" if isinstance(value, (int, float)) else str(value))
    Console(stderr=True).print(table)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
