"""Business days of settlement (精算日), in Asia/Tokyo. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from kessai.foundation.clock import TOKYO

_INSTANT = timedelta(microseconds=1)


def first_after(day: date) -> datetime:
    """The first instant that is no longer of a day."""
    return datetime(day.year, day.month, day.day, tzinfo=TOKYO).astimezone(UTC) + timedelta(days=1)


def end_of(day: date) -> datetime:
    """A day's last instant."""
    return first_after(day) - _INSTANT


def feeds_told_all(day: date, seen: Iterable[datetime | None], *, quiet: bool, lag: timedelta) -> bool:
    """Whether everything up to a day's end was heard: nothing is on its way, or each feed is well past it."""
    return quiet or all(each is not None and each >= first_after(day) + lag for each in seen)
