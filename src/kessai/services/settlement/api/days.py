"""Days (精算日) and daily summaries (日次精算データ)."""

from __future__ import annotations

from datetime import date, datetime

from kessai.foundation.contract import Message, PageLimit
from kessai.services.settlement.api.words import Cursor, OwnerId


class SettlementDay(Message):
    """A day that is closed; it is never opened again."""

    day: date
    closed_at: datetime
    transactions: int
    """That settle on it, late ones included."""
    net_minor: int
    left_open: int
    """Of the day or before, not proved when it closed; they settle on the next open day once they are."""


class GetSettlementDay(Message):
    """One day."""

    day: date


class ListSettlementDays(Message):
    """Closed days, in their order."""

    since: date
    until: date


class SettlementDays(Message):
    """Days in their order."""

    days: list[SettlementDay]


class DailySummary(Message):
    """What a merchant sold on a day by one method, from reconciled transactions only."""

    payee_id: str
    """Who is paid for it (入金集約)."""
    day: date
    merchant_id: str
    owner_id: str
    method: str
    sales_minor: int
    refunds_minor: int
    fees_minor: int
    fee_refunds_minor: int
    added_minor: int
    """Adjustments to the merchant."""
    taken_minor: int
    """Adjustments from the merchant."""
    net_minor: int
    transactions: int
    late: int
    """How many of them are of an earlier day."""
    cycle_id: str | None
    """The cycle that took it up."""


class ListDailySummaries(Message):
    """A payee's summaries of some days, by day, merchant, owner and method."""

    payee_id: OwnerId
    since: date
    until: date
    limit: PageLimit = 100
    cursor: Cursor | None = None


class DailySummaries(Message):
    """A page; `next_cursor` is None on the last one."""

    summaries: list[DailySummary]
    next_cursor: str | None = None
