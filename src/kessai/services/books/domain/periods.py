"""Accounting periods (会計期間): calendar months, closed in order, so that what is closed is always the beginning.

A month up to the last closed one counts as closed even where nobody closed it by name: an entry in it would change the
opening balances of a month that is closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from kessai.foundation.errors import Conflict, PaymentError, Refused
from kessai.services.books.api.accounting import PeriodState

MONTH_MAX = date(9998, 12, 1)


def month_of(day: date) -> date:
    """The first day of a day's month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after a day's."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def month_end(day: date) -> date:
    """The last day of a day's month."""
    return next_month(day) - timedelta(days=1)


def months_between(since: date, until: date) -> list[date]:
    """The months from one day's to another's, both included."""
    found: list[date] = []
    month, last = month_of(since), month_of(until)
    while month <= last:
        found.append(month)
        month = next_month(month)
    return found


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the books are closed and locked: the last such month (its first day), or None."""

    closed_through: date | None = None
    locked_through: date | None = None

    def state_of(self, day: date) -> PeriodState:
        """Of the month of a day."""
        month = month_of(day)
        if self.locked_through is not None and month <= self.locked_through:
            return PeriodState.LOCKED
        if self.closed_through is not None and month <= self.closed_through:
            return PeriodState.CLOSED
        return PeriodState.OPEN

    def booking_day(self, event_on: date) -> date:
        """Where an event of a day is booked: that day, or the first of the first open month after it."""
        if self.closed_through is None or month_of(event_on) > self.closed_through:
            return event_on
        return next_month(self.closed_through)

    def refusal_of(self, day: date) -> PaymentError | None:
        """Why somebody's own journal may not be booked on a day; None where it may."""
        match self.state_of(day):
            case PeriodState.LOCKED:
                return Conflict("period_locked", f"The books of {day:%Y-%m} are locked.", month=f"{day:%Y-%m}")
            case PeriodState.CLOSED:
                return Conflict("period_closed", f"The books of {day:%Y-%m} are closed.", month=f"{day:%Y-%m}")
            case PeriodState.OPEN:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingFacts:
    """What is known when a month is to be closed."""

    today: date
    first_day: date | None
    """Of all entries."""
    unposted: int
    """Events up to the month's end that no rule has booked."""


def refuse_closing(standing: Standing, month: date, facts: ClosingFacts) -> PaymentError | None:
    """Why a month cannot be closed; None where it can. One that is closed already is not asked about."""
    if (early := refuse_early(month, facts.today)) is not None:
        return early
    if (earlier := _first_open(standing, facts)) is not None and earlier < month:
        return Conflict("earlier_period_open", f"{earlier:%Y-%m} has to be closed first.", month=f"{earlier:%Y-%m}")
    if facts.unposted:
        return Conflict(
            "unposted_events", f"{facts.unposted} events up to {month:%Y-%m} are not booked.", events=facts.unposted
        )
    return refuse_before_books(month, facts.first_day)


def refuse_early(month: date, today: date) -> PaymentError | None:
    """Why a month cannot be closed yet; None once it is over."""
    if month_end(month) < today:
        return None
    return Refused("period_not_ended", f"{month:%Y-%m} has not ended.", month=f"{month:%Y-%m}")


def refuse_before_books(month: date, first_day: date | None) -> PaymentError | None:
    """Why a month has nothing to close or to accrue; None from the month of the first entry on.

    Were one closed, every month from it to the first entry would have to be, too.
    """
    if first_day is not None and month >= month_of(first_day):
        return None
    return Refused("period_before_books", f"Nothing is booked up to {month:%Y-%m}.", month=f"{month:%Y-%m}")


def _first_open(standing: Standing, facts: ClosingFacts) -> date | None:
    """The first month that has to be closed: none before the first entry, whatever was closed there."""
    first = None if facts.first_day is None else month_of(facts.first_day)
    if standing.closed_through is None or first is None:
        return first
    return max(first, next_month(standing.closed_through))


def refuse_locking(standing: Standing, month: date) -> PaymentError | None:
    """Why a month cannot be locked; None where it can. One that is locked already is not asked about."""
    if standing.state_of(month) is PeriodState.OPEN:
        return Conflict("period_open", f"{month:%Y-%m} has to be closed first.", month=f"{month:%Y-%m}")
    return None


def refuse_reopening(standing: Standing, month: date) -> PaymentError | None:
    """Why a month cannot be reopened; None where it can. One that is open is not asked about."""
    if standing.state_of(month) is PeriodState.LOCKED:
        return Conflict("period_locked", f"The books of {month:%Y-%m} are locked for good.", month=f"{month:%Y-%m}")
    if standing.closed_through is not None and standing.closed_through > month:
        later = standing.closed_through
        return Conflict("later_period_closed", f"{later:%Y-%m} has to be reopened first.", month=f"{later:%Y-%m}")
    return None
