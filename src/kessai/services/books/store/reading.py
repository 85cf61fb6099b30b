"""Journals and entries as they stand in the books, page by page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.api.accounting import Journal, JournalLine, Side

_sql = load_queries("kessai.services.books", file="sql/accounting.sql")

BEFORE_ALL = UUID(int=0)
"""Where a day's first page begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """One entry of an account, with what its journal tells of it; `amount` is positive on the debit side."""

    journal_id: UUID
    line: int
    booked_on: date
    amount: int
    tax_code: str
    event_on: date
    source: str
    kind: str
    description: str


async def journals_named(connection: Connection, journal_ids: Sequence[str]) -> list[Journal]:
    """Those of the named journals that there are, with their lines, in order of their ids (32 digits each)."""
    return await _with_lines(connection, await connection.fetch(_sql["journals_named"], list(journal_ids)))


async def journals_by_day(
    connection: Connection, since: date, until: date, *, after: UUID = BEFORE_ALL, limit: int
) -> list[Journal]:
    """Journals booked on some days, after one of the first day, by day and id."""
    return await _with_lines(connection, await connection.fetch(_sql["journals_by_day"], since, after, until, limit))


async def journals_of_payments(connection: Connection, payment_ids: Sequence[str]) -> list[Journal]:
    """All journals of some payments, by payment, day and id."""
    return await _with_lines(connection, await connection.fetch(_sql["journals_of_payments"], list(payment_ids)))


async def _with_lines(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[Journal]:
    lines = await lines_of(connection, [row["journal_id"] for row in rows])
    return [_journal(row, lines[row["journal_id"]]) for row in rows]


async def lines_of(connection: Connection, journal_ids: Sequence[UUID]) -> dict[UUID, list[JournalLine]]:
    """The lines of some journals, by journal."""
    found: defaultdict[UUID, list[JournalLine]] = defaultdict(list)
    for row in await connection.fetch(_sql["entries_named"], list(journal_ids)):
        found[row["journal_id"]].append(
            JournalLine(
                line=row["line"],
                account=row["account"],
                side=Side.DEBIT if row["amount"] > 0 else Side.CREDIT,
                amount_minor=abs(row["amount"]),
                asset=row["asset"],
                tax_code=row["tax_code"],
                account_type=row["account_type"],
                owner=row["owner"],
            )
        )
    return found


async def entries_of_account(
    connection: Connection,
    account: str,
    asset: str,
    since: date,
    until: date,
    *,
    after: tuple[UUID, int] = (BEFORE_ALL, 0),
    limit: int,
) -> list[EntryRow]:
    """Entries of an account on some days, after one of the first day, by day, journal and line."""
    rows = await connection.fetch(_sql["entries_of_account"], account, asset, since, until, *after, limit)
    return [
        EntryRow(
            journal_id=row["journal_id"],
            line=row["line"],
            booked_on=row["booked_on"],
            amount=row["amount"],
            tax_code=row["tax_code"],
            event_on=row["event_on"],
            source=row["source"],
            kind=row["kind"],
            description=row["description"],
        )
        for row in rows
    ]


def _journal(row: asyncpg.Record, lines: list[JournalLine]) -> Journal:
    return Journal(
        journal_id=f"jnl_{row['journal_id'].hex}",
        source=row["source"],
        event_id=row["event_id"],
        kind=row["kind"],
        action=row["action"],
        rule=row["rule"],
        rule_version=row["rule_version"],
        booked_on=row["booked_on"],
        event_on=row["event_on"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        exchange_id=row["exchange_id"],
        payment_id=row["payment_id"],
        processing_id=row["processing_id"],
        merchant=row["merchant"],
        product=row["product"],
        reverses=row["reverses"] and f"jnl_{row['reverses'].hex}",
        description=row["description"],
        posted_by=row["posted_by"],
        lines=lines,
    )
