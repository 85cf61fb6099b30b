"""Journals, entries and running totals: only ever added, all three in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.posting import Entry, Journal, TotalKey

_sql = load_queries("kessai.services.books")


async def write_journals(
    connection: Connection,
    journals: Sequence[Journal],
    entries: Sequence[Entry],
    totals: Mapping[TotalKey, Sequence[int]],
) -> None:
    """Write journals with all their entries, and count them; raises asyncpg's UniqueViolationError for one there is.

    `totals`: debit, credit and number of the entries, by account, days, asset, account type, kind and tax code.
    """
    await copy_journals(connection, journals, entries)
    await add_totals(connection, totals)


async def copy_journals(connection: Connection, journals: Sequence[Journal], entries: Sequence[Entry]) -> None:
    """Write journals with all their entries; who counts them adds their totals in the same transaction."""
    if not journals:
        return
    await connection.copy_records_to_table(
        "journal", schema_name="books", columns=Journal._fields, records=journals, timeout=None
    )
    await connection.copy_records_to_table(
        "entry", schema_name="books", columns=Entry._fields, records=entries, timeout=None
    )


async def add_totals(connection: Connection, totals: Mapping[TotalKey, Sequence[int]]) -> None:
    """Count entries: debit, credit and number."""
    if not totals:
        return
    keys = sorted(totals)  # in one order, so that two who write never wait for each other in a circle
    columns = [list(column) for column in zip(*keys, strict=True)]
    sums = [list(column) for column in zip(*(totals[key] for key in keys), strict=True)]
    await connection.execute(_sql["add_totals"], *columns, *sums)


async def booked_journals(connection: Connection, journal_ids: Collection[str]) -> set[str]:
    """Those of the journals (by 32 digits) that are there already."""
    rows = await connection.fetch(_sql["booked_journals"], [UUID(each) for each in journal_ids])
    return {row["journal_id"].hex for row in rows}
