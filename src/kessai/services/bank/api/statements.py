"""The bank's statement of our own account, day by day, and where ours differs from it (照合)."""

from __future__ import annotations

from datetime import date, datetime

from kessai.foundation.contract import Message, PageLimit


class GetStatementDay(Message):
    """Which day."""

    day: date


class ListStatementDays(Message):
    """A page of days, the newest first."""

    before: date | None = None
    """The earliest day of the page before."""
    limit: PageLimit = 50


class StatementDifference(Message):
    """One thing on which the bank's statement and our own rows do not agree."""

    about: str
    """An instruction's id; `opening`, `closing`, `statement`; or the bank's id of a line that is nothing of ours."""
    reason: str
    """`missing_there`, `missing_here`, `other_amount`, `unknown_line`, `opening_is_not_closing`, `does_not_add_up`,
    `not_ours`, `statement_changed`; `overdue`: it should have come to an end long ago."""
    ours_minor: int
    theirs_minor: int
    found_at: datetime
    resolved_at: datetime | None
    """When a later look found both sides alike."""


class StatementDay(Message):
    """A day of our account: the bank's figures, and ours. Whole yen; outgoing money is negative."""

    day: date
    opening_minor: int
    moved_minor: int
    """The sum of the statement's lines."""
    closing_minor: int
    ours_minor: int
    """The balance at the day's end by our own rows."""
    lines: int
    agrees: bool
    """Whether nothing is left to be explained."""
    imported_at: datetime
    looked_at: datetime
    """When it was last compared."""
    differences: list[StatementDifference]


class StatementDays(Message):
    """A page, the newest first, without their differences."""

    days: list[StatementDay]
