"""Journals on their way out, read in one snapshot: what the totals say and what the journals say then agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import date

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.domain.accruals import FiscalYear
from kessai.services.books.domain.exporting import (
    Balances,
    ExportedAccount,
    JournalBook,
    Voucher,
    VoucherLine,
    month_ends,
)
from kessai.services.books.store import ROLE

CHUNK_VOUCHERS = 2_000
_PREFETCH_ROWS = 5_000

_sql = load_queries("kessai.services.books", file="sql/exporting.sql")


@asynccontextmanager
async def journal_book(
    database: Database, since: date, until: date, chart: Mapping[str, ExportedAccount], year: FiscalYear
) -> AsyncGenerator[JournalBook]:
    """The journals booked on some days; they are read as the chunks are asked for, while this lasts."""
    connection = await database.connect(ROLE)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield await _opened(connection, since, until, chart, year)
    finally:
        await connection.close()


async def _opened(
    connection: Connection, since: date, until: date, chart: Mapping[str, ExportedAccount], year: FiscalYear
) -> JournalBook:
    opening = _opening(await connection.fetch(_sql["export_opening"], since, year.start_of(since)), chart, year)
    standings = _standings(
        opening, await connection.fetch(_sql["export_movements"], since, until), month_ends(since, until)
    )
    codes = sorted({account for account, _ in opening} | {account for _, each in standings for account, _ in each})
    return JournalBook(
        since=since,
        until=until,
        accounts=tuple(chart.get(code) or _unknown(code) for code in codes),
        opening=opening,
        standings=standings,
        chunks=_chunks(connection, since, until),
    )


def _opening(rows: list[asyncpg.Record], chart: Mapping[str, ExportedAccount], year: FiscalYear) -> Balances:
    """As a trial balance opens: what earlier years earned stands in retained earnings."""
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        known = chart.get(row["account"])
        earlier = int(row["earlier"]) if known is not None and known.is_yearly else 0
        found[row["account"], row["asset"]] += int(row["amount"]) - earlier
        if earlier:
            found[year.retained_earnings, row["asset"]] += earlier
    return dict(found)


def _standings(
    opening: Balances, movements: list[asyncpg.Record], days: list[date]
) -> tuple[tuple[date, Balances], ...]:
    by_month: defaultdict[int, list[asyncpg.Record]] = defaultdict(list)
    for row in movements:
        by_month[row["month"]].append(row)
    standing, standings = dict(opening), list[tuple[date, Balances]]()
    for day in days:
        for row in by_month[day.year * 12 + day.month]:
            key = (row["account"], row["asset"])
            standing[key] = standing.get(key, 0) + int(row["amount"])
        standings.append((day, dict(standing)))
    return tuple(standings)


def _unknown(code: str) -> ExportedAccount:
    """An account that the chart no longer has: its section is not known any more, its entries are."""
    return ExportedAccount(code=code, name="", name_ja=code, section="equity")


async def _chunks(connection: Connection, since: date, until: date) -> AsyncIterator[list[Voucher]]:
    chunk, rows = list[Voucher](), list[asyncpg.Record]()
    async for row in connection.cursor(_sql["export_vouchers"], since, until, prefetch=_PREFETCH_ROWS):
        if rows and row["journal_id"] != rows[0]["journal_id"]:
            chunk.append(_voucher(rows))
            rows = []
            if len(chunk) == CHUNK_VOUCHERS:
                yield chunk
                chunk = []
        rows.append(row)
    if rows:
        chunk.append(_voucher(rows))
    if chunk:
        yield chunk


def _voucher(rows: list[asyncpg.Record]) -> Voucher:
    head = rows[0]
    return Voucher(
        journal_id=f"jnl_{head['journal_id'].hex}",
        source=head["source"],
        kind=head["kind"],
        booked_on=head["booked_on"],
        event_on=head["event_on"],
        description=head["description"],
        merchant=head["merchant"],
        product=head["product"],
        payment_id=head["payment_id"],
        processing_id=head["processing_id"],
        exchange_id=head["exchange_id"],
        reverses=None if head["reverses"] is None else f"jnl_{head['reverses'].hex}",
        lines=tuple(
            VoucherLine(
                account=row["account"],
                asset=row["asset"],
                amount=row["amount"],
                tax_code=row["tax_code"],
                account_type=row["account_type"],
                owner=row["owner"],
            )
            for row in rows
        ),
    )
