"""What the statutory reports are made of: columns by what they hold, rows in chunks, how long a book is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date

import asyncpg

from kessai.services.books.domain.statutory.rules import StatutoryRules
from kessai.services.books.domain.table import Cell, Column, Kind, Row

Fact = tuple[str, str, Cell]


async def chunks_of(rows: Sequence[Row]) -> AsyncIterator[list[Row]]:
    """Few rows, as the one chunk they are."""
    if rows:
        yield list(rows)


async def as_rows(pages: AsyncIterator[list[asyncpg.Record]], columns: int) -> AsyncIterator[list[Row]]:
    """Pages of records whose first columns are the report's."""
    async for page in pages:
        yield [record[:columns] for record in page]


def retention(rules: StatutoryRules, name: str) -> Fact:
    """How long the book is kept; nothing removes it before."""
    return ("Kept for (years)", "保存期間 (年)", str(rules.retention_years[name]))


def day_column(name: str = "day", title: str = "Day", title_ja: str = "日付") -> Column:
    """A day."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.DATE)


def text(name: str, title: str, title_ja: str) -> Column:
    """A text."""
    return Column(name=name, title=title, title_ja=title_ja)


def yen(name: str, title: str, title_ja: str) -> Column:
    """An amount in yen, or in the asset of the row's column `asset`."""
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.MONEY)


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
