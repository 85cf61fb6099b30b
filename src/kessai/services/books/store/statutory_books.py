"""What the reports on statutory books read: small figures at once, long books in pages that no transaction spans."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date, datetime
from typing import TypeAlias, TypeVar

import asyncpg

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.clock import business_date
from kessai.foundation.db import Database, load_queries
from kessai.services.books.domain.statutory.days import BookDay, CategoryDay, SecurityDay
from kessai.services.books.store import ROLE
from kessai.services.books.store.statutory_days import read_feed

_sql = load_queries("kessai.services.books", file="sql/statutory_books.sql")
PAGE_ROWS = 10_000
Pages: TypeAlias = AsyncIterator[list[asyncpg.Record]]
K = TypeVar("K")
_LOWEST = "0" * 32
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


async def book_days(database: Database, since: date, until: date, types: Sequence[str]) -> list[tuple[date, BookDay]]:
    """The types' days, in order."""
    rows = await database.fetch(ROLE, _sql["book_days_between"], since, until, list(types))
    return [
        (
            row["book_on"],
            BookDay(
                row["account_type"],
                row["asset"],
                int(row["opening"]),
                int(row["closing"]),
                int(row["told"]),
                row["accounts"],
                row["moved"],
                row["differing"],
            ),
        )
        for row in rows
    ]


async def categories(
    database: Database, since: date, until: date, types: Sequence[str]
) -> dict[tuple[date, str], dict[str, CategoryDay]]:
    """What moved, by day and type."""
    found: dict[tuple[date, str], dict[str, CategoryDay]] = defaultdict(dict)
    for row in await database.fetch(ROLE, _sql["categories_between"], since, until, list(types)):
        found[row["book_on"], row["account_type"]][row["category"]] = CategoryDay(
            row["account_type"], row["category"], int(row["amount"]), row["lines"], row["late_lines"]
        )
    return found


async def securities(database: Database, since: date, until: date) -> list[tuple[date, SecurityDay]]:
    """What was required, day by day."""
    rows = await database.fetch(ROLE, _sql["securities_between"], since, until)
    return [
        (
            row["book_on"],
            SecurityDay(
                row["transfer_type"],
                row["business_day"],
                int(row["obligation"]),
                int(row["procedure_cost"]),
                int(row["required"]),
            ),
        )
        for row in rows
    ]


async def count_over_cap(database: Database, day: date) -> int:
    """How many customers stand above the cap at the end of a day."""
    (row,) = await database.fetch(ROLE, _sql["count_over_cap"], day)
    return row["customers"]


async def over_cap(database: Database, day: date) -> Pages:
    """Customers above the cap, in pages."""
    async for page in _pages(
        database, "over_cap_after", _LOWEST, lambda after: (day, after, PAGE_ROWS, day), lambda row: row[1][4:]
    ):
        yield page


async def lines(database: Database, name: str, since: date, until: date, types: Sequence[str]) -> Pages:
    """Lines (of `lines_after` or `crypto_lines_after`) day by day, type by type, account by account, in pages."""
    async for day in _days(database, since, until):
        for account_type in sorted(types):
            of_day = (day, account_type)
            async for page in _pages(
                database,
                name,
                (_LOWEST, 0, 0),
                lambda after, of_day=of_day: (*of_day, *after, PAGE_ROWS),
                lambda row: (row[1][4:], row["sequence"], row["part"]),
            ):
                yield page


async def lines_of_account(database: Database, name: str, account_id: str, since: date, until: date) -> Pages:
    """One account's lines (32 digits; of `lines_of_account` or `crypto_lines_of_account`), in pages."""
    async for page in _pages(
        database,
        name,
        (0, 0),
        lambda after: (account_id, *after, since, until, PAGE_ROWS),
        lambda row: (row["sequence"], row["part"]),
    ):
        yield page


async def trades(database: Database, name: str, since: date, until: date) -> Pages:
    """Trades (of `diary_after` or `slips_after`) in the order of their execution, day by day, in pages."""
    async for day in _days(database, since, until):
        async for page in _pages(
            database,
            name,
            (_EARLIEST, "", "", ""),
            lambda after, day=day: (day, *after, PAGE_ROWS),
            lambda row: (row["executed_at"], row["exchange_id"], row["owner"], row["action_id"]),
        ):
            yield page


async def balances(database: Database, day: date, account_type: str) -> Pages:
    """What each customer has at the end of a day, in pages."""
    async for page in _pages(
        database,
        "balances_after",
        _LOWEST,
        lambda after: (day, account_type, after, PAGE_ROWS),
        lambda row: row[1][4:],
    ):
        yield page


async def _days(database: Database, since: date, until: date) -> AsyncIterator[date]:
    """The days of a range in which there may be lines."""
    feed = await read_feed(database)
    if feed.first_on is None:
        return
    last = business_date(feed.seen_at)
    if feed.cut_on is not None:
        last = max(last, feed.cut_on + ONE_DAY)
    day = max(since, feed.first_on)
    while day <= min(until, last):
        yield day
        day += ONE_DAY


async def _pages(
    database: Database,
    name: str,
    first: K,
    arguments: Callable[[K], tuple[object, ...]],
    key: Callable[[asyncpg.Record], K],
) -> Pages:
    """Pages of a statement, each from the key of the row before; the next is asked for while one is worked on."""
    page = await database.fetch(ROLE, _sql[name], *arguments(first))
    while page:
        if len(page) < PAGE_ROWS:
            yield page
            return
        following = asyncio.create_task(database.fetch(ROLE, _sql[name], *arguments(key(page[-1]))))
        try:
            yield page
            page = await following
        finally:
            following.cancel()
