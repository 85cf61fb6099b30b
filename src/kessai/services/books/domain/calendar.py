"""Business days (営業日), base dates (基準日) and deposit periods, in Asia/Tokyo. Pure.

Banks and deposit offices are closed on Saturdays, Sundays, national holidays (国民の祝日に関する法律) and from 12-31 to
01-03 (銀行法施行令 第5条).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import jpholiday

ONE_DAY = timedelta(days=1)
SATURDAY = 5
FUNDS_TRANSFER_BASE_DATES = ((3, 31), (6, 30), (9, 30), (12, 31))
"""資金移動業: reports on 未達債務 are made as of these days."""
PREPAID_BASE_DATES = ((3, 31), (9, 30))
"""前払式支払手段 (資金決済法 第3条第2項)."""
PERIOD_DAYS_MAX = 7
"""A deposit period (算定期間) is at most a week (資金決済法 第43条)."""


@lru_cache(maxsize=16_384)
def is_business_day(day: date) -> bool:
    """Whether banks are open."""
    new_year = (day.month, day.day) in ((12, 31), (1, 1), (1, 2), (1, 3))
    return not (day.weekday() >= SATURDAY or new_year or jpholiday.is_holiday(day))


def next_business_day(day: date, count: int = 1) -> date:
    """The `count`-th business day after a day."""
    while count:
        day += ONE_DAY
        count -= is_business_day(day)
    return day


def business_day_on_or_after(day: date) -> date:
    """The day itself, or the first business day after it."""
    return day if is_business_day(day) else next_business_day(day)


def is_base_date(day: date, base_dates: tuple[tuple[int, int], ...]) -> bool:
    """Whether a day is one of the base dates."""
    return (day.month, day.day) in base_dates


def last_base_date(day: date, base_dates: tuple[tuple[int, int], ...]) -> date:
    """The latest base date up to a day."""
    dates = (date(year, month, number) for year in (day.year, day.year - 1) for month, number in base_dates)
    return max(each for each in dates if each <= day)


def months_after(day: date, months: int) -> date:
    """The day with the same number so many months later; the month's last day counts as the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    ends = day.day == calendar.monthrange(day.year, day.month)[1]
    return date(year, month + 1, last if ends else min(day.day, last))


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
