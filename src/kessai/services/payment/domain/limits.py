"""What one customer may move in a day and a month, in Japan's calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from kessai.foundation.errors import Refused
from kessai.services.payment.domain.kinds import Limits, PaymentKind

ZONE = ZoneInfo("Asia/Tokyo")


@dataclass(frozen=True, slots=True)
class Period:
    """The day and the month that an instant lies in, by their beginnings."""

    day_from: datetime
    month_from: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """What a customer moved by payments of a kind; `version` is raised by each new one."""

    version: int
    day_minor: int
    month_minor: int
    period: Period

    def and_also(self, amount_minor: int) -> Usage:
        """With one more payment."""
        return Usage(self.version + 1, self.day_minor + amount_minor, self.month_minor + amount_minor, self.period)


def period_of(now: datetime) -> Period:
    """The day and month of an instant."""
    day = now.astimezone(ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(day, day.replace(day=1))


def has_limits(limits: Limits) -> bool:
    """Whether there is anything to count."""
    return limits.day_minor_max is not None or limits.month_minor_max is not None


def limited_customer(kind: PaymentKind, payer_id: str, payee_id: str) -> str | None:
    """Whose limits a payment counts against: the customer who pays, else the one who is paid."""
    if kind.payer == "customer":
        return payer_id
    return payee_id if kind.payee == "customer" else None


def check_limits(amount_minor: int, usage: Usage, limits: Limits) -> None:
    """Raises `daily_limit_exceeded`, `monthly_limit_exceeded`."""
    for code, limit, used in (
        ("daily_limit_exceeded", limits.day_minor_max, usage.day_minor),
        ("monthly_limit_exceeded", limits.month_minor_max, usage.month_minor),
    ):
        if limit is not None and used + amount_minor > limit:
            raise Refused(code, f"At most {limit} in all; {used} is used.", limit_minor=limit, used_minor=used)
