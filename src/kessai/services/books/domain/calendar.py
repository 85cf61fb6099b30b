"""Base dates (基準日) and deposit periods (算定期間) of the statutory books, in Asia/Tokyo. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from kessai.foundation.calendar import next_business_day

FUNDS_TRANSFER_BASE_DATES = ((3, 31), (6, 30), (9, 30), (12, 31))
"""資金移動業: reports on 未達債務 are made as of these days."""
PREPAID_BASE_DATES = ((3, 31), (9, 30))
"""前払式支払手段 (資金決済法 第3条第2項)."""
PERIOD_DAYS_MAX = 7
"""A deposit period (算定期間) is at most a week (資金決済法 第43条)."""


def is_base_date(day: date, base_dates: tuple[tuple[int, int], ...]) -> bool:
    """Whether a day is one of the base dates."""
    return (day.month, day.day) in base_dates


def last_base_date(day: date, base_dates: tuple[tuple[int, int], ...]) -> date:
    """The latest base date up to a day."""
    dates = (date(year, month, number) for year in (day.year, day.year - 1) for month, number in base_dates)
    return max(each for each in dates if each <= day)


@dataclass(frozen=True, slots=True)
class Period:
    """A deposit period, both days included. Its last day is its base date (基準日)."""

    since: date
    until: date

    def due_on(self, business_days: int) -> date:
        """By when what it requires must be deposited: so many business days after its last day."""
        return next_business_day(self.until, business_days)


def period_of(day: date, *, first: date, days: int) -> Period:
    """The period a day is in, of periods of `days` days each that run on from `first`."""
    since = day - timedelta(days=(day - first).days % days)
    return Period(since, since + timedelta(days=days - 1))
