"""The statutory part of `bench books`: a day of many accounts and lines, made whole and read whole.

The past is written straight into the books' tables, as the feed would have left it: a first day that opens every
account, and a second whose lines come in the order of time, the accounts in no order. The first is made before the
clock runs; what is measured is the second: cut, made, and every report of it read to its last row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from kessai.apps.bench.memory import MemoryWatch
from kessai.foundation.db import Connection, Database
from kessai.services.books.api.statutory import GetStatutoryDay, MakeStatutoryDay
from kessai.services.books.domain.statutory.days import end_of
from kessai.services.books.domain.statutory.rules import read_statutory
from kessai.services.books.service.asked import Asked
from kessai.services.books.service.statutory.desk import StatutoryDesk

FIRST_DAY = date(2026, 4, 6)
DAY = date(2026, 4, 7)
OPENING_MINOR = 100_000
ACCOUNTS_A_STATEMENT = 200_000
LOAD_TIMEOUT_S = 1_800.0
SHARES: Mapping[str, tuple[int, str, str, str]] = {
    "funds": (6, "JPY", "RECEIPT", "PAYOUT"),
    "paid_points": (2, "JPY", "ISSUE", "REDEMPTION"),
    "trading_funds": (1, "JPY", "SALE", "PURCHASE"),
    "btc": (1, "BTC", "PURCHASE", "SALE"),
}
"""Of ten accounts: how many are of a type, their asset, and what their lines are."""

_LINES = """
INSERT INTO books.statement_line (account_id, sequence, part, account_type, owner, asset, amount, balance, category,
    kind, action, counterparty, exchange_id, payment_id, processing_id, event_on, occurred_at, book_on)
SELECT md5($1 || n)::uuid, j + 1, 1, $1, 'cus:' || n, $2,
    CASE WHEN j = 0 THEN $3::bigint WHEN j % 2 = 1 THEN -(n % 900 + 100) ELSE n % 900 + 100 END,
    $3::bigint - CASE WHEN j % 2 = 1 THEN n % 900 + 100 ELSE 0 END,
    CASE WHEN j % 2 = 1 THEN $5 ELSE $4 END, 'bench', 'created', 'mer:' || n % 1000,
    'exc_' || md5('line' || CASE WHEN $1 = 'btc' THEN 'trading_funds' ELSE $1 END || n || '/' || j),
    'chg_' || md5($1 || n || '/' || j), NULL, $6::date, $7::timestamptz, $6::date
FROM generate_series($8::bigint, $9::bigint) AS n, generate_series($10::int, $11::int) AS j
ORDER BY j, n
"""
_TRADES = """
INSERT INTO books.crypto_trade (exchange_id, owner, capacity, side, asset, quantity, price_asset, unit_price, amount,
    fee, counterparty, order_kind, limit_price, ordered, ordered_at, executed_at, reverses, event_on, book_on)
SELECT 'exc_' || md5('linetrading_funds' || n || '/' || j), 'cus:' || n, 'OWN',
    CASE WHEN j % 2 = 1 THEN 'BUY' ELSE 'SELL' END, 'BTC', n % 900 + 100, 'JPY', '10000000', n % 900 + 100, 0, '',
    'MARKET', NULL, n % 900 + 100, $1::timestamptz, $1::timestamptz, NULL, $2::date, $2::date
FROM generate_series($3::bigint, $4::bigint) AS n, generate_series(1, $5::int) AS j
ORDER BY j, n
"""
_FEED = "UPDATE books.statutory_feed SET seen_at = $1, first_on = $2 WHERE feed = 'ledger'"


@dataclass(frozen=True, slots=True)
class StatutoryFigures:
    """What a run gave."""

    accounts: int
    lines: int
    make_s: float
    """Cutting and making the day."""
    read_s: float
    """Reading every report of the day to its last row."""
    rows: int
    """Read in all reports together."""
    rss_mb: float
    """The most that this process held meanwhile."""
    finding: str | None
    """What does not hold; None: the books close, and made again they are the same."""

    @property
    def statutory_seconds(self) -> float:
        """The day's whole set."""
        return self.make_s + self.read_s


class _Standing:
    """A clock that stands at the end of the day."""

    def now(self) -> datetime:
        return (end_of(DAY) + timedelta(hours=1)).astimezone(UTC)


async def bench_statutory(dsn: str, *, accounts: int = 1_000_000, lines: int = 5_000_000) -> StatutoryFigures:
    """Load a migrated database with two days, make the first, and measure the second."""
    database = Database(dsn)
    try:
        written = await load_days(database, accounts, lines)
        desk = StatutoryDesk(database, _Standing(), read_statutory())
        await desk.days.make_through(FIRST_DAY, by="bench")
        async with MemoryWatch(lambda: [os.getpid()]) as memory:
            began = time.perf_counter()
            await desk.days.make_through(DAY, by="bench")
            made = time.perf_counter()
            rows = await _read_all(desk)
            read = time.perf_counter()
        return StatutoryFigures(
            accounts, written, made - began, read - made, rows, memory.peak_mb, await _finding(desk, written)
        )
    finally:
        await database.close()


async def load_days(database: Database, accounts: int, lines: int) -> int:
    """Write both days' lines; gives how many the second has."""
    connection = await database.connect(None)
    try:
        each = max(1, lines // accounts)
        for account_type, (share, asset, credit, debit) in SHARES.items():
            words = (account_type, asset, OPENING_MINOR, credit, debit)
            count = accounts * share // 10
            await _write(connection, words, FIRST_DAY, count, 0, 0)
            await _write(connection, words, DAY, count, 1, each)
        trades = accounts // 10
        noon = end_of(DAY) - timedelta(hours=12)
        await connection.execute(_TRADES, noon, DAY, 1, trades, each, timeout=LOAD_TIMEOUT_S)
        await connection.execute(_FEED, end_of(DAY) + timedelta(hours=1), FIRST_DAY)
        # What an installation that has run for a while has: statistics, and pages that are known to be all visible.
        await connection.execute(
            "VACUUM (ANALYZE) books.statement_line, books.crypto_trade", timeout=LOAD_TIMEOUT_S
        )  # fmt: skip
        return sum(accounts * share // 10 for share, *_ in SHARES.values()) * each
    finally:
        await connection.close()


async def _write(
    connection: Connection, words: tuple[str, str, int, str, str], day: date, count: int, first: int, last: int
) -> None:
    noon = end_of(day) - timedelta(hours=12)
    for low in range(1, count + 1, ACCOUNTS_A_STATEMENT):
        high = min(count, low + ACCOUNTS_A_STATEMENT - 1)
        await connection.execute(_LINES, *words, day, noon, low, high, first, last, timeout=LOAD_TIMEOUT_S)


async def _read_all(desk: StatutoryDesk) -> int:
    rows = 0
    for name, offer in desk.offers.items():
        report = await offer.build(Asked(name=name, since=DAY, until=DAY))
        async for chunk in report.chunks:
            rows += len(chunk)
    return rows


async def _finding(desk: StatutoryDesk, lines: int) -> str | None:
    """Whether every line is in, the books close, and the day made again is the same."""
    day = await desk.get_statutory_day(GetStatutoryDay(day=DAY))
    if day.lines != lines:
        return f"{lines} lines were written, the day has {day.lines}"
    for each in day.books:
        if each.differing or each.closing_minor != each.told_minor:
            return f"{each.account_type} closes at {each.closing_minor}, customers have {each.told_minor}"
    await desk.make_statutory_day(MakeStatutoryDay(day=DAY))
    return None
