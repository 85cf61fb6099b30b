"""Which months are open, what may be closed, locked and reopened, and where late events go: by rule alone."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.services.books.api.accounting import PeriodState
from kessai.services.books.api.statements import Month
from kessai.services.books.api.statutory import UnitPrice
from kessai.services.books.domain.periods import (
    ClosingFacts,
    Standing,
    month_end,
    month_of,
    months_between,
    next_month,
    refuse_closing,
    refuse_locking,
    refuse_reopening,
)

DAYS = st.dates(date(2020, 1, 1), date(2030, 12, 31))
APRIL, MAY, JUNE = date(2026, 4, 1), date(2026, 5, 1), date(2026, 6, 1)


def facts(
    today: date = date(2026, 7, 10), *, first: date | None = date(2026, 4, 15), unposted: int = 0
) -> ClosingFacts:
    return ClosingFacts(today=today, first_day=first, unposted=unposted)


def code(refusal: Exception | None) -> str | None:
    return None if refusal is None else str(refusal).split(":", 1)[0]


@given(DAYS)
def test_a_month_begins_and_ends_where_the_next_one_begins(day: date) -> None:
    assert month_of(day) <= day <= month_end(day) < next_month(day) == month_end(day) + timedelta(days=1)
    assert months_between(day, next_month(day)) == [month_of(day), next_month(day)]


@given(DAYS, DAYS, st.booleans())
def test_an_event_is_booked_on_its_own_day_or_on_the_first_open_one_after_it(
    event_on: date, closed: date, locked: bool
) -> None:
    closed = month_of(closed)
    standing = Standing(closed, closed if locked else None)
    booked = standing.booking_day(event_on)
    assert booked >= event_on
    assert standing.state_of(booked) is PeriodState.OPEN
    assert standing.refusal_of(booked) is None
    assert booked == event_on or all(
        standing.state_of(event_on + timedelta(days=n)) is not PeriodState.OPEN for n in range((booked - event_on).days)
    )


def test_a_month_before_a_closed_one_is_closed_too() -> None:
    standing = Standing(closed_through=MAY, locked_through=APRIL)
    states = [standing.state_of(each) for each in (date(2019, 1, 1), date(2026, 4, 30), date(2026, 5, 31), JUNE)]
    assert states == [PeriodState.LOCKED, PeriodState.LOCKED, PeriodState.CLOSED, PeriodState.OPEN]
    assert code(standing.refusal_of(date(2026, 4, 30))) == "period_locked"
    assert code(standing.refusal_of(date(2026, 5, 31))) == "period_closed"


@pytest.mark.parametrize(
    ("standing", "month", "known", "refused"),
    [
        (Standing(), APRIL, facts(), None),
        (Standing(), APRIL, facts(date(2026, 4, 30)), "period_not_ended"),
        (Standing(), APRIL, facts(date(2026, 5, 1)), None),
        (Standing(), MAY, facts(), "earlier_period_open"),
        (Standing(), MAY, facts(first=None), "period_before_books"),
        (Standing(), MAY, facts(first=None, unposted=1), "unposted_events"),
        (Standing(), APRIL, facts(first=MAY), "period_before_books"),
        (Standing(date(1900, 1, 1), date(1900, 1, 1)), date(1900, 2, 1), facts(), "period_before_books"),
        (Standing(date(1900, 1, 1), date(1900, 1, 1)), APRIL, facts(), None),
        (Standing(date(1900, 1, 1), date(1900, 1, 1)), MAY, facts(), "earlier_period_open"),
        (Standing(APRIL), MAY, facts(), None),
        (Standing(APRIL), JUNE, facts(), "earlier_period_open"),
        (Standing(), APRIL, facts(unposted=1), "unposted_events"),
        (Standing(), JUNE, facts(date(2026, 6, 1), unposted=1), "period_not_ended"),
        (Standing(), MAY, facts(unposted=1), "earlier_period_open"),
    ],
)
def test_closing_names_the_first_thing_in_the_way(
    standing: Standing, month: date, known: ClosingFacts, refused: str | None
) -> None:
    assert code(refuse_closing(standing, month, known)) == refused


@pytest.mark.parametrize(
    ("standing", "month", "reopening", "locking"),
    [
        (Standing(MAY), MAY, None, None),
        (Standing(MAY), APRIL, "later_period_closed", None),
        (Standing(MAY, APRIL), APRIL, "period_locked", None),
        (Standing(MAY, MAY), MAY, "period_locked", None),
        (Standing(MAY), JUNE, None, "period_open"),
    ],
)
def test_what_is_reopened_and_locked(
    standing: Standing, month: date, reopening: str | None, locking: str | None
) -> None:
    assert code(refuse_reopening(standing, month)) == reopening
    assert code(refuse_locking(standing, month)) == locking


@pytest.mark.parametrize(("kind", "text"), [(Month, "20２6-04"), (UnitPrice, "１"), (UnitPrice, "1.５")])
def test_full_width_digits_are_no_figures(kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, kind)
