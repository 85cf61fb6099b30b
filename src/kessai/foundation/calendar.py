"""Business days (営業日) of Japan's banks, in Asia/Tokyo. Pure.

Banks are closed on Saturdays, Sundays, national holidays (国民の祝日に関する法律) and from 12-31 to 01-03
(銀行法施行令 第5条).
"""

from __future__ import annotations

import calendar
from datetime import date, timedelta
from functools import lru_cache

import jpholiday

ONE_DAY = timedelta(days=1)
SATURDAY = 5


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


def previous_business_day(day: date, count: int = 1) -> date:
    """The `count`-th business day before a day."""
    while count:
        day -= ONE_DAY
        count -= is_business_day(day)
    return day


def business_day_on_or_after(day: date) -> date:
    """The day itself, or the first business day after it."""
    return day if is_business_day(day) else next_business_day(day)


def business_day_on_or_before(day: date) -> date:
    """The day itself, or the last business day before it."""
    return day if is_business_day(day) else previous_business_day(day)


def month_end(day: date) -> date:
    """The last day of a day's month."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def months_after(day: date, months: int) -> date:
    """The day with the same number so many months later; the month's last day counts as the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    ends = day.day == calendar.monthrange(day.year, day.month)[1]
    return date(year, month + 1, last if ends else min(day.day, last))
