"""Cycles (精算サイクル): which days one covers, and when it is paid. Pure.

Monthly: closed at the month's end. Twice a month: the 1st to the 15th, and the 16th to the month's end. Weekly: closed
on one weekday. Daily: each day by itself. What is paid on a day when banks are closed moves to the business day before
or after it, by contract.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import assert_never

import msgspec

from kessai.foundation.calendar import (
    ONE_DAY,
    business_day_on_or_after,
    business_day_on_or_before,
    month_end,
    months_after,
    next_business_day,
    previous_business_day,
)

MID_MONTH = 15
LAST_OF_MONTH = 31
WEEK_DAYS = 7


class CycleKind(StrEnum):
    """How often a payee is settled."""

    MONTHLY = "monthly"
    TWICE_MONTHLY = "twice_monthly"
    WEEKLY = "weekly"
    DAILY = "daily"


class HolidayShift(StrEnum):
    """Where a payment moves that would fall on a day when banks are closed."""

    PREVIOUS = "previous"
    NEXT = "next"


class BelowMinimum(StrEnum):
    """What becomes of a payout below the minimum."""

    CARRY_OVER = "carry_over"
    BEAR_FEE = "bear_fee"
    PAY = "pay"


class PayeeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a payee's contract says of its settlement, as it is kept with each cycle."""

    payee_id: str
    name: str = ""
    state: str = "active"
    cycle: CycleKind = CycleKind.MONTHLY
    cycle_day: int = 6
    """Of a weekly cycle: the weekday it closes on, 0 is Monday."""
    months_after: int = 1
    pay_day: int = LAST_OF_MONTH
    """Day of that month; 31 is its last. Two cycles a month are paid at the month's end, and on the next 15th."""
    days_after: int | None = None
    """Paid so many days after the cycle's last day instead; of weekly and daily cycles."""
    holiday: HolidayShift = HolidayShift.PREVIOUS
    minimum_minor: int = 0
    below_minimum: BelowMinimum = BelowMinimum.CARRY_OVER
    transfer_fee_minor: int = 0
    merchant_bears_fee: bool = False
    instruct_days_before: int = 0
    """Business days before the payment on which the bank is instructed."""
    bank_account_id: str | None = None
    registration_number: str | None = None

    @property
    def closing(self) -> bool:
        """The merchant has left: nothing is carried over any more."""
        return self.state == "closed"


def last_day_of(terms: PayeeTerms, day: date) -> date:
    """The last day of the cycle that a day belongs to."""
    match terms.cycle:
        case CycleKind.MONTHLY:
            return month_end(day)
        case CycleKind.TWICE_MONTHLY:
            return day.replace(day=MID_MONTH) if day.day <= MID_MONTH else month_end(day)
        case CycleKind.WEEKLY:
            return day + timedelta(days=(terms.cycle_day - day.weekday()) % WEEK_DAYS)
        case CycleKind.DAILY:
            return day
        case _:
            assert_never(terms.cycle)


def first_day_of(terms: PayeeTerms, day: date) -> date:
    """The first day of the cycle that a day belongs to."""
    match terms.cycle:
        case CycleKind.MONTHLY:
            return day.replace(day=1)
        case CycleKind.TWICE_MONTHLY:
            return day.replace(day=1 if day.day <= MID_MONTH else MID_MONTH + 1)
        case CycleKind.WEEKLY:
            return last_day_of(terms, day) - timedelta(days=WEEK_DAYS - 1)
        case CycleKind.DAILY:
            return day
        case _:
            assert_never(terms.cycle)


def ends_on(terms: PayeeTerms, day: date) -> bool:
    """Whether one of a payee's cycles ends on a day."""
    return last_day_of(terms, day) == day


def next_last_day(terms: PayeeTerms, last_day: date) -> date:
    """The last day of the cycle after the one that ends on a day."""
    return last_day_of(terms, last_day + ONE_DAY)


def pay_day_of(terms: PayeeTerms, last_day: date) -> date:
    """The business day on which a cycle is paid: after its last day, whichever way a holiday shifts it."""
    nominal = _nominal(terms, last_day)
    if terms.holiday is HolidayShift.PREVIOUS and (shifted := business_day_on_or_before(nominal)) > last_day:
        return shifted
    return business_day_on_or_after(nominal)


def _nominal(terms: PayeeTerms, last_day: date) -> date:
    """Before the shift; a rule that would pay before the cycle is over pays a month later."""
    if terms.cycle is CycleKind.TWICE_MONTHLY:
        return month_end(last_day) if last_day.day <= MID_MONTH else _numbered(last_day + ONE_DAY, MID_MONTH)
    if terms.days_after is not None:
        return last_day + timedelta(days=max(1, terms.days_after))
    month = months_after(last_day.replace(day=1), terms.months_after)
    found = _numbered(month, terms.pay_day)
    return found if found > last_day else _numbered(months_after(month, 1), terms.pay_day)


def _numbered(month: date, number: int) -> date:
    return month.replace(day=min(number, month_end(month).day))


def instruct_day_of(terms: PayeeTerms, pay_on: date) -> date:
    """The business day on which the bank is instructed to pay on a day."""
    return previous_business_day(pay_on, terms.instruct_days_before)


def soonest_pay_day(terms: PayeeTerms, pay_on: date, today: date) -> date:
    """The day itself, or the first on which the bank can still pay what it is instructed today."""
    return max(pay_on, next_business_day(business_day_on_or_after(today), terms.instruct_days_before))
