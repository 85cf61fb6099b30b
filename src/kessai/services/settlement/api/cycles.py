"""Cycles (精算サイクル): sales summaries (SalesSummaries), and with them the verbs of payouts, claims, statements."""

from __future__ import annotations

from datetime import date, datetime
from typing import Protocol

from kessai.foundation.contract import Message, PageLimit, verb
from kessai.services.settlement.api.claims import Claims
from kessai.services.settlement.api.payouts import Payouts
from kessai.services.settlement.api.statements import Statements
from kessai.services.settlement.api.words import CycleId, OwnerId

READ = "settlement:read"


class ListSalesSummaries(Message):
    """A page of a payee's cycles, newest first."""

    payee_id: OwnerId
    before: date | None = None
    """Cycles that ended before this day; of the next page: the last day of the last one told."""
    limit: PageLimit = 50


class GetSalesSummary(Message):
    """Which cycle."""

    payee_id: OwnerId
    cycle_id: CycleId


class SalesSummary(Message):
    """What a payee's cycle came to."""

    payee_id: str
    cycle_id: str
    first_day: date
    last_day: date
    sales_minor: int
    refunds_minor: int
    fees_minor: int
    fee_refunds_minor: int
    added_minor: int
    """By adjustments; `taken_minor`: taken by them."""
    taken_minor: int
    net_minor: int
    cleared_minor: int
    """Of shops whose net is positive: what becomes settled sales."""
    shortfall_minor: int
    """Of shops whose net is negative (赤残): what becomes a claim."""
    transactions: int
    made_at: datetime


class SalesSummaries(Message):
    """Newest first."""

    summaries: list[SalesSummary]


class ListPayeesWithoutTerms(Message):
    """Payees that have something to be paid, and no contract by which it could be."""

    limit: PageLimit = 100
    cursor: OwnerId | None = None
    """The last payee of the page before."""


class PayeeWithoutTerms(Message):
    """It is in no cycle until it has a contract of its own; its children's sales (入金集約) pile up with it."""

    payee_id: str
    since: date | None
    """The first day of what is in no cycle yet; None: only earlier payouts wait that were not paid."""
    net_minor: int
    """What is in no cycle yet."""
    transactions: int


class PayeesWithoutTerms(Message):
    """By id; `next_cursor` is None on the last page."""

    payees: list[PayeeWithoutTerms]
    next_cursor: str | None = None


class Summaries(Protocol):
    """売上集計."""

    @verb("GET /v1/settlement/sales-summaries", scope=READ)
    async def list_sales_summaries(self, request: ListSalesSummaries, /) -> SalesSummaries:
        """A payee's cycles."""
        ...

    @verb("GET /v1/settlement/sales-summaries/{cycle_id}", scope=READ, errors=("sales_summary_not_found",))
    async def get_sales_summary(self, request: GetSalesSummary, /) -> SalesSummary:
        """One cycle of a payee."""
        ...

    @verb("GET /v1/settlement/payees-without-terms", scope=READ)
    async def list_payees_without_terms(self, request: ListPayeesWithoutTerms, /) -> PayeesWithoutTerms:
        """Who would be paid, had it a contract."""
        ...


class Cycles(Summaries, Payouts, Claims, Statements, Protocol):
    """精算サイクル, 入金, 請求, 明細."""
