"""`bench books`: how fast events are booked from the outbox, how soon after they happened, and how fast books are read.

The peer is the ledger itself, in bulk, in the same run: the books may never be slower than what they are fed from.
"""

from __future__ import annotations

import statistics
import time
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta

import asyncpg
import msgspec

from kessai.apps.bench.books_statutory import bench_statutory
from kessai.apps.bench.books_worker import Balance, CatchUp, Follow, Order, start_books
from kessai.apps.bench.figures import Report, Rounds, Tally, percentile, report_of
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import Crowd, Touch
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.turns import verified
from kessai.apps.bench.worker import OpenCustomers, Post, start_ledger
from kessai.services.books.store.seals import Chain, seal

CUSTOMERS = 10_000
PEER = "the ledger's bulk posting of the same events, in the same run"
READINGS = 7
"""Trial balances read; the median counts."""
JOURNALS_A_STATEMENT = 250_000
JOURNALS_A_SEAL = 5_000
STORE_TIMEOUT_S = 3_600.0
DAYS = 365

_JOURNALS = """
INSERT INTO books.journal (journal_id, source, event_id, kind, action, rule, rule_version, booked_on, event_on,
    occurred_at, recorded_at, description, posted_by)
SELECT ('ff' || lpad(to_hex(n), 30, '0'))::uuid, 'manual', 'bench/' || n, 'bench_' || n % 20, 'posted', 'manual', 1,
    $3::date + (n % $4)::int, $3::date + (n % $4)::int, $5, $5, 'bench', 'bench'
FROM generate_series($1::bigint, $2::bigint) AS n
"""
_ENTRIES = """
INSERT INTO books.entry (journal_id, line, account, asset, amount, tax_code, account_type, owner, booked_on)
SELECT ('ff' || lpad(to_hex(n), 30, '0'))::uuid, s.line,
    CASE s.line WHEN 1 THEN ('{5210,5220,5990,1110}'::text[])[1 + n % 4]
        ELSE ('{2320,2330,4910,2420}'::text[])[1 + n % 4] END,
    'JPY', s.way * (100 + n % 900), '', '', '', $3::date + (n % $4)::int
FROM generate_series($1::bigint, $2::bigint) AS n, (VALUES (1, 1), (2, -1)) AS s (line, way)
"""
_TOTALS = """
INSERT INTO books.day_total (account, booked_on, event_on, asset, account_type, kind, tax_code, debit, credit, entries)
SELECT e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code,
    coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0), coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0),
    count(*)
FROM books.entry AS e JOIN books.journal AS j ON j.journal_id = e.journal_id
WHERE j.source = 'manual'
GROUP BY e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code
"""

_MISSING = """
SELECT (SELECT count(*) FROM ledger.exchange) - (SELECT count(*) FROM books.journal WHERE source = 'ledger')
"""


class BooksReport(Report, frozen=True, kw_only=True):
    """The figures of the books beside those that every measurement has; `p99_ms` is from an event to its booking."""

    trial_balance_ms: float
    """The median reading, over all entries."""
    statutory_seconds: float
    """The statutory set of a day of many accounts: made and read whole."""


async def bench_books(options: Options, scene: Scene, steps: Steps) -> Report:
    """Events booked a second, the delay from an event to its booking, a trial balance, a statutory day."""
    crowd = Crowd(0, CUSTOMERS)
    dsn = await scene.platform_database("books")
    steps.next("opening customers")
    async with start_ledger(dsn) as ledger:
        await ledger.order(OpenCustomers(crowd))
    async with AsyncExitStack() as stack:
        books = await stack.enter_async_context(start_books(dsn))
        memory = await stack.enter_async_context(MemoryWatch(lambda: [books.pid]))
        await books.order(CatchUp())
        rounds = await _rates(options, scene, steps, dsn, crowd, books)
        steps.next(f"following a ledger at {options.pace:,} exchanges a second")
        followed = await books.order(Follow(crowd, options.seconds, options.pace, seed=7))
    steps.next(f"storing {options.entries:,} entries")
    await store_entries(dsn, options.entries, steps)
    async with start_books(dsn) as books:
        steps.next("trial balance")
        readings = await books.order(Balance(READINGS))
    steps.next(f"statutory day of {options.accounts:,} accounts and {options.lines:,} lines")
    of_day = await bench_statutory(
        await scene.platform_database("statutory"), accounts=options.accounts, lines=options.lines
    )
    finding = await _unbooked(dsn) or of_day.finding or await verified(steps, dsn)
    report = report_of(
        rounds,
        name="books",
        mode="from the outbox",
        latency_of="an event's commit to its booking's",
        rss_mb=max(memory.peak_mb, of_day.rss_mb),
        peer=PEER,
        finding=finding,
        sizes={
            "customers": CUSTOMERS,
            "events": options.events,
            "pace": options.pace,
            "entries": options.entries,
            "statutory_accounts": of_day.accounts,
            "statutory_lines": of_day.lines,
        },
        extra={
            "posting_rss_mb": memory.peak_mb,
            "statutory_rss_mb": of_day.rss_mb,
            "statutory_make_s": of_day.make_s,
            "statutory_read_s": of_day.read_s,
            "followed": followed.acknowledged,
        },
    )
    return _with(report, followed, readings, of_day.statutory_seconds)


def _with(report: Report, followed: Tally, readings: Tally, statutory_s: float) -> BooksReport:
    told = {name: getattr(report, name) for name in Report.__struct_fields__}
    told |= {
        "p50_ms": round(percentile(followed.latencies_ms, 0.50), 3),
        "p99_ms": round(percentile(followed.latencies_ms, 0.99), 3),
    }
    return BooksReport(
        **told,
        trial_balance_ms=round(statistics.median(readings.latencies_ms), 3),
        statutory_seconds=round(statutory_s, 3),
    )


async def _rates(
    options: Options, scene: Scene, steps: Steps, dsn: str, crowd: Crowd, books: Spawned[Order, Tally]
) -> Rounds:
    """The ledger posts, then the books catch up, again and again."""
    rounds, count = Rounds(), max(1, options.events // options.rounds)
    for number in range(options.rounds):
        steps.next(f"round {number + 1}: the ledger posts {count:,}")
        async with start_ledger(dsn) as ledger:
            await ledger.order(Post(Touch.UNIFORM, crowd, min(count, CUSTOMERS), seed=500 + number))
            started = time.perf_counter()
            await ledger.order(Post(Touch.UNIFORM, crowd, count, seed=100 + number))
            rounds.peers.append(count / (time.perf_counter() - started))
        await scene.settle()
        steps.next(f"round {number + 1}: the books catch up")
        rounds.ours.append(await books.order(CatchUp()))
    return rounds


async def store_entries(dsn: str, count: int, steps: Steps) -> None:
    """A past of the books: so many entries by hand, over the last year, with their totals."""
    connection = await asyncpg.connect(dsn)
    try:
        now, journals = datetime.now(UTC), count // 2
        first = now.date() - timedelta(days=DAYS)
        for low in range(1, journals + 1, JOURNALS_A_STATEMENT):
            high = min(journals, low + JOURNALS_A_STATEMENT - 1)
            await _store(connection, _JOURNALS, low, high, first, now)
            await _store(connection, _ENTRIES, low, high, first, None)
            for start in range(low, high + 1, JOURNALS_A_SEAL):
                names = [f"ff{n:030x}" for n in range(start, min(high + 1, start + JOURNALS_A_SEAL))]
                await seal(connection, Chain.JOURNAL, names)
            steps.part(high, journals)
        await connection.execute("SET enable_mergejoin = off; SET work_mem = '64MB'")
        await connection.execute(_TOTALS, timeout=STORE_TIMEOUT_S)
        await connection.execute("VACUUM (ANALYZE) books.day_total", timeout=STORE_TIMEOUT_S)
    finally:
        await connection.close()


async def _store(
    connection: asyncpg.Connection[asyncpg.Record], query: str, low: int, high: int, first: date, at: datetime | None
) -> None:
    instants = [] if at is None else [at]
    await connection.execute(query, low, high, first, DAYS, *instants, timeout=STORE_TIMEOUT_S)


async def _unbooked(dsn: str) -> str | None:
    """What stands unposted, or was never told."""
    connection = await asyncpg.connect(dsn)
    try:
        standing = await connection.fetch(
            "SELECT reason, count(*) AS events FROM books.unposted_event WHERE posted_at IS NULL GROUP BY reason"
        )
        missing = await connection.fetchval(_MISSING)
    finally:
        await connection.close()
    if standing:
        return f"unposted: {msgspec.json.encode({row['reason']: row['events'] for row in standing}).decode()}"
    return f"{missing} exchanges are not booked" if missing else None
