"""A report as everybody gets it: columns, rows in chunks, totals. The forms (CSV, Excel, PDF …) know nothing else.

Amounts are whole minor units with their asset's exponent applied only when a form prints them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import TypeAlias

Cell: TypeAlias = str | int | date | datetime | None
"""An amount or a quantity is an int of minor units; a rate a str."""
Row: TypeAlias = tuple[Cell, ...]


class Kind(StrEnum):
    """What a column's cells are."""

    TEXT = "text"
    MONEY = "money"
    """Minor units of the asset that stands in the row, see `Column.asset_in`, or else of the column's own."""
    INTEGER = "integer"
    RATE = "rate"
    DATE = "date"
    INSTANT = "instant"
    """Printed in Asia/Tokyo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; `name` is stable and English, for programs, the titles are for people."""

    name: str
    title: str
    title_ja: str
    kind: Kind = Kind.TEXT
    asset: str = "JPY"
    asset_in: str = ""
    """Of amounts: the column in which the row names their asset; empty: the one called `asset`, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report, read once: `chunks` gives its rows in order, some thousands at a time."""

    name: str
    """`trial_balance`: what it is asked for by."""
    title: str
    title_ja: str
    since: date
    until: date
    """The days it covers, both included; the same day twice for a report as of a day."""
    columns: tuple[Column, ...]
    chunks: AsyncIterator[list[Row]]
    totals: tuple[Row, ...] = ()
    """Rows that a form sets off at the end; known before the rows are read."""
    facts: tuple[tuple[str, str, Cell], ...] = field(default=())
    """Figures beside the table: English, Japanese, value (an int is yen)."""
    basis: str = ""
    """The law, ordinance or standard that asks for it."""
