"""Statutory days: cut, made from the lines in a fixed number of statements, and read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.domain.statutory.days import (
    BookDay,
    Bucket,
    CategoryDay,
    DayContent,
    OverCap,
    Part,
    SecurityDay,
)
from kessai.services.books.store import ROLE

_sql = load_queries("kessai.services.books", file="sql/statutory.sql")
STATEMENT_TIMEOUT_S = 1_800.0
"""Of one statement over a whole day."""
WORK_MEMORY = "SET LOCAL work_mem = '64MB'"
T = TypeVar("T", BookDay, CategoryDay, OverCap, SecurityDay, Bucket, Part)


@dataclass(frozen=True, slots=True)
class Feed:
    """How far the feed has come."""

    seen_at: datetime
    first_on: date | None
    cut_on: date | None


@dataclass(frozen=True, slots=True)
class DayKept:
    """A day that was made."""

    book_on: date
    previous_digest: str
    digest: str
    lines: int
    late_lines: int
    accounts: int
    rules: str
    made_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True)
class Stray:
    """Rows that stand in no day that was made."""

    relation: str
    book_on: date
    rows: int


async def read_feed(database: Database) -> Feed:
    """How far the feed has come."""
    (row,) = await database.fetch(ROLE, _sql["read_statutory_feed"])
    return Feed(row["seen_at"], row["first_on"], row["cut_on"])


async def cut_day(database: Database, day: date) -> None:
    """From here on no line goes to this day or one before it; waits for a batch that is being written."""
    await database.fetch(ROLE, _sql["cut_statutory_day"], day)


async def last_day(database: Database) -> date | None:
    """The last day that was made."""
    rows = await database.fetch(ROLE, _sql["last_statutory_day"])
    return rows[0]["book_on"] if rows else None


async def first_day(database: Database) -> date | None:
    """The first day that was made: the books begin with it."""
    rows = await database.fetch(ROLE, _sql["first_statutory_day"])
    return rows[0]["book_on"] if rows else None


async def days_kept(database: Database, since: date, until: date) -> list[DayKept]:
    """Days that were made, in order."""
    return [DayKept(**dict(row)) for row in await database.fetch(ROLE, _sql["statutory_days"], since, until)]


async def every_day(connection: Connection) -> list[DayKept]:
    """Every day that was made, in order."""
    return [DayKept(**dict(row)) for row in await connection.fetch(_sql["statutory_days"], date.min, date.max)]


async def day_kept(connection: Connection, day: date) -> DayKept | None:
    """One that was made."""
    row = await connection.fetchrow(_sql["statutory_days"], day, day)
    return None if row is None else DayKept(**dict(row))


async def strays(connection: Connection, first: date, last: date) -> list[Stray]:
    """Rows that stand in no day that was made."""
    rows = await connection.fetch(_sql["rows_of_no_day"], first, last, timeout=STATEMENT_TIMEOUT_S)
    return [Stray(*row) for row in rows]


async def take_turn(connection: Connection) -> tuple[date, str, str] | None:
    """Wait until no other day is being made; gives the last one's day, digest and rules."""
    await connection.execute(WORK_MEMORY)
    await connection.fetchval(_sql["take_statutory_turn"], "day")
    row = await connection.fetchrow(_sql["last_statutory_day"])
    return None if row is None else (row["book_on"], row["digest"], row["rules"])


async def make_accounts(connection: Connection, day: date) -> None:
    """Write the accounts' rows of a day."""
    await connection.execute(_sql["make_account_days"], day, timeout=STATEMENT_TIMEOUT_S)
    await connection.execute(_sql["add_statutory_accounts"], day, timeout=STATEMENT_TIMEOUT_S)


async def account_digests(connection: Connection, day: date) -> list[Bucket]:
    """Digests of the accounts' rows as they are kept."""
    return _told(Bucket, await _long(connection, "account_days_digests", day))


async def account_digests_again(connection: Connection, day: date) -> list[Bucket]:
    """Digests of the accounts' rows as the lines make them."""
    return _told(Bucket, await _long(connection, "account_days_again", day))


async def derive_books(connection: Connection, day: date, previous: date, types: Mapping[str, str]) -> list[BookDay]:
    """Each type's day from the accounts' rows; `types` with their assets."""
    return _told(
        BookDay, await _long(connection, "book_days_of", day, previous, list(types), list(types.values()))
    )  # fmt: skip


async def derive_categories(connection: Connection, day: date) -> list[CategoryDay]:
    """What moved in each category, from the lines."""
    return _told(CategoryDay, await _long(connection, "categories_of", day))


async def derive_over_cap(
    connection: Connection, day: date, previous: date, caps: Mapping[str, int], lowered: Mapping[str, int]
) -> list[OverCap]:
    """Who stands above the cap; `lowered`: caps that were higher, or none, the day before."""
    arguments = (list(caps), list(caps.values()), list(lowered), list(lowered.values()))
    return _told(OverCap, await _long(connection, "over_cap_of", day, previous, *arguments))


async def parts_of(connection: Connection, day: date, *, first: bool) -> list[Part]:
    """Trades, new accounts and records of a day; `first`: and of what stands before it."""
    return _told(Part, await _long(connection, "day_parts", date.min if first else day, day))


async def read_written(
    connection: Connection, day: date
) -> tuple[list[BookDay], list[CategoryDay], list[OverCap], list[SecurityDay]]:
    """What is kept of a day beside its accounts' rows."""
    return (
        _told(BookDay, await connection.fetch(_sql["book_days_written"], day)),
        _told(CategoryDay, await connection.fetch(_sql["categories_written"], day)),
        _told(OverCap, await connection.fetch(_sql["over_cap_written"], day)),
        _told(SecurityDay, await connection.fetch(_sql["security_written"], day)),
    )


async def write_day(
    connection: Connection, day: date, content: DayContent, *, previous: str, now: datetime, by: str
) -> None:
    """Keep a day; the accounts' rows are written already."""
    for name, rows in (
        ("write_book_days", content.books),
        ("write_categories", content.categories),
        ("write_over_cap", content.over_cap),
        ("write_security", content.security),
    ):
        if rows:
            await connection.execute(_sql[name], day, *map(list, _columns(rows)))
    await connection.execute(
        _sql["write_statutory_day"],
        day,
        previous,
        content.digest(day, previous),
        content.lines,
        content.late_lines,
        content.moved,
        content.rules,
        now,
        by,
    )


def _columns(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return list(zip(*rows, strict=True))


async def _long(connection: Connection, name: str, *arguments: object) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await connection.fetch(_sql[name], *arguments, timeout=STATEMENT_TIMEOUT_S)]


def _told(kind: type[T], rows: Sequence[Sequence[object]]) -> list[T]:
    """Rows as tuples of plain values: sums as whole numbers, ids as their digits."""
    return [kind._make(map(_plain, row)) for row in rows]


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value)
    return value.hex if isinstance(value, UUID) else value
