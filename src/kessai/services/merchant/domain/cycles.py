"""On which days a cycle ends (締め日). Pure."""

from __future__ import annotations

from datetime import date
from typing import assert_never

from kessai.foundation.calendar import month_end
from kessai.services.merchant.api import Cycle

MIDDLE = 15


def closes(cycle: Cycle, cycle_day: int | None, day: date) -> bool:
    """Whether a cycle ends on a day, banks open or not."""
    match cycle:
        case Cycle.MONTHLY:
            return day == month_end(day)
        case Cycle.TWICE_MONTHLY:
            return day.day == MIDDLE or day == month_end(day)
        case Cycle.WEEKLY:
            return day.weekday() == cycle_day
        case Cycle.DAILY:
            return True
        case _:
            assert_never(cycle)
