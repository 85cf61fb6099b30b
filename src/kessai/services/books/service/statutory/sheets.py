"""What the statutory reports are made of: columns by what they hold, rows in chunks, the law of their days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from functools import lru_cache

import asyncpg

from kessai.foundation.db import Database
from kessai.foundation.errors import NotFound
from kessai.services.books.domain.statutory.days import DayRules
from kessai.services.books.domain.statutory.rules import StatutoryConfig, StatutoryRules
from kessai.services.books.domain.table import Cell, Column, Kind, Row
from kessai.services.books.store import statutory_days

Fact = tuple[str, str, Cell]


async def chunks_of(rows: Sequence[Row]) -> AsyncIterator[list[Row]]:
    """Few rows, as the one chunk they are."""
    if rows:
        yield list(rows)


async def as_rows(pages: AsyncIterator[list[asyncpg.Record]], columns: int) -> AsyncIterator[list[Row]]:
    """Pages of records whose first columns are the report's; the next page is asked for while this one is used."""
    ahead = asyncio.create_task(_next(pages))
    try:
        while (page := await ahead) is not None:
            ahead = asyncio.create_task(_next(pages))
            await asyncio.sleep(0)  # so that the question is sent
            yield [record[:columns] for record in page]
    finally:
        ahead.cancel()


async def _next(pages: AsyncIterator[list[asyncpg.Record]]) -> list[asyncpg.Record] | None:
    return await anext(pages, None)


async def require_made(database: Database, *days: date) -> None:
    """Refuse what stands at the end of a day that is not made, unless it lies before the books.

    Raises NotFound `statutory_day_not_made`.
    """
    first = await statutory_days.first_day(database)
    for day in sorted(days):
        before = first is not None and day < first
        if not before and not await statutory_days.days_kept(database, day, day):
            raise NotFound(
                "statutory_day_not_made", f"The statutory books of {day} are not made.", day=day.isoformat()
            )  # fmt: skip


class Laws:
    """What the law said on each of some days: as a day that was made keeps it, or by the version of the day."""

    def __init__(self, config: StatutoryConfig, kept: Mapping[date, StatutoryRules]) -> None:
        self._config = config
        self._kept = kept

    def on(self, day: date) -> StatutoryRules:
        """On a day."""
        return self._kept.get(day) or self._config.of(day)


async def laws_of(database: Database, config: StatutoryConfig, since: date, until: date) -> Laws:
    """What the law said on the days of a range."""
    kept: dict[date, StatutoryRules] = {}
    for each in await statutory_days.days_kept(database, since, until):
        if (law := _read(each.rules).law) is not None:
            kept[each.book_on] = law
    return Laws(config, kept)


async def law_of(database: Database, config: StatutoryConfig, day: date) -> StatutoryRules:
    """What the law said on a day."""
    return (await laws_of(database, config, day, day)).on(day)


_read = lru_cache(maxsize=64)(DayRules.read)
"""Days keep the same, until a version begins."""


def retention(rules: StatutoryRules, name: str) -> Fact:
    """How long the book is kept; nothing removes it before."""
    return ("Kept for (years)", "保存期間 (年)", str(rules.retention_years[name]))


def day_column(name: str = "day", title: str = "Day", title_ja: str = "日付") -> Column:
    """A day."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.DATE)


def text(name: str, title: str, title_ja: str) -> Column:
    """A text."""
    return Column(name=name, title=title, title_ja=title_ja)


def yen(name: str, title: str, title_ja: str, *, asset_in: str = "") -> Column:
    """An amount in yen, or in the asset of the row's column `asset`, or of the one named."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.MONEY, asset_in=asset_in)


def whole(name: str, title: str, title_ja: str) -> Column:
    """A number of things."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.INTEGER)


def rate(name: str, title: str, title_ja: str) -> Column:
    """A price or a rate."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.RATE)


def instant(name: str, title: str, title_ja: str) -> Column:
    """An instant, shown in Asia/Tokyo."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.INSTANT)


def yes(value: bool) -> str:
    """Whether, as it is shown."""
    return "yes" if value else "no"


def days_between(since: date, until: date) -> int:
    """How many days lie between, both counted."""
    return (until - since).days + 1
