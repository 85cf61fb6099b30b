"""The desk of what comes in: transaction data, fees, days and daily summaries."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import date
from typing import TypeVar
from uuid import UUID

import msgspec

from kessai.foundation.errors import Invalid, NotFound
from kessai.services.settlement.api import (
    DailySummaries,
    FeePage,
    GetSettlementDay,
    GetTransactionsOfPayment,
    ListDailySummaries,
    ListFees,
    ListOpenTransactions,
    ListSettlementDays,
    ListTransactions,
    ListWaitingSales,
    SettlementDay,
    SettlementDays,
    Transaction,
    TransactionPage,
    WaitingSales,
)
from kessai.services.settlement.store import days, fees, transactions
from kessai.services.settlement.store.days import SummaryPlace
from kessai.services.settlement.store.transactions import FIRST, START, Place
from kessai.services.settlement.workflows import Deps

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

DAYS_MAX = 400
LAST_DAY = date(9999, 12, 31)


class IntakeDesk:
    """Its verbs only read: everything here is written by the feeds and the day's run."""

    _deps: Deps

    async def list_transactions(self, request: ListTransactions, /) -> TransactionPage:
        """An owner's transactions."""
        after = _place(request.cursor, tuple[UUID], (FIRST,))[0]
        found = await transactions.of_owner(
            self._deps.database,
            request.owner_id,
            request.since,
            request.until,
            request.state,
            after,
            request.limit + 1,
        )
        page, cursor = _cut(found, request.limit, lambda last: (last.transaction_id,))
        return TransactionPage(transactions=page, next_cursor=cursor)

    async def list_open_transactions(self, request: ListOpenTransactions, /) -> TransactionPage:
        """What does not settle yet, with its reason."""
        after = Place(*_place(request.cursor, tuple[date, str, UUID], START))
        until = request.until or LAST_DAY
        found = await transactions.open_ones(self._deps.database, until, after, request.limit + 1)

        def place(last: Transaction) -> tuple[object, ...]:
            return last.business_date, last.owner_id, last.transaction_id

        page, cursor = _cut(found, request.limit, place)
        return TransactionPage(transactions=page, next_cursor=cursor)

    async def transactions_of_payment(self, request: GetTransactionsOfPayment, /) -> TransactionPage:
        """The transactions that a payment came to."""
        return TransactionPage(transactions=await transactions.of_payment(self._deps.database, request.payment_id))

    async def list_fees(self, request: ListFees, /) -> FeePage:
        """An owner's fees and their returns."""
        (after,) = _place(request.cursor, tuple[UUID], (FIRST,))
        found = await fees.of_owner(self._deps.database, request.owner_id, request.state, after, request.limit + 1)
        page, cursor = _cut(found, request.limit, lambda last: (last.fee_id,))
        return FeePage(fees=page, next_cursor=cursor)

    async def list_waiting_sales(self, request: ListWaitingSales, /) -> WaitingSales:
        """Sales and refunds whose fee cannot be worked out yet, with the reason."""
        after = _place(request.cursor, tuple[str, UUID], ("", FIRST))
        found = await fees.waiting_sales(self._deps.database, after, request.limit + 1)
        page, cursor = _cut(found, request.limit, lambda last: (last.owner_id, last.transaction_id))
        return WaitingSales(sales=page, next_cursor=cursor)

    async def get_settlement_day(self, request: GetSettlementDay, /) -> SettlementDay:
        """A closed day."""
        found = await days.load(self._deps.database, request.day)
        if found is None:
            raise NotFound("settlement_day_not_found", f"{request.day} is not closed.", day=request.day.isoformat())
        return found

    async def list_settlement_days(self, request: ListSettlementDays, /) -> SettlementDays:
        """Closed days."""
        _check_range(request.since, request.until)
        return SettlementDays(days=await days.between(self._deps.database, request.since, request.until))

    async def list_daily_summaries(self, request: ListDailySummaries, /) -> DailySummaries:
        """What was sold for a payee, by day."""
        _check_range(request.since, request.until)
        after = SummaryPlace(*_place(request.cursor, tuple[date, str, str, str], (START.day, "", "", "")))
        found = await days.summaries(
            self._deps.database, request.payee_id, request.since, request.until, after, request.limit + 1
        )
        page, cursor = _cut(found, request.limit, lambda last: (last.day, last.merchant_id, last.owner_id, last.method))
        return DailySummaries(summaries=page, next_cursor=cursor)


def _check_range(since: date, until: date) -> None:
    if until < since:
        raise Invalid("range_reversed", "The range ends before it begins.")
    if (until - since).days >= DAYS_MAX:
        raise Invalid("range_too_long", f"A range has at most {DAYS_MAX} days.")


def _cut(found: Sequence[R], limit: int, place: Callable[[R], tuple[object, ...]]) -> tuple[list[R], str | None]:
    """A page and the cursor of the next one."""
    page = list(found[:limit])
    if len(found) <= limit:
        return page, None
    return page, base64.urlsafe_b64encode(msgspec.json.encode(place(page[-1]))).decode()


def _place(cursor: str | None, kind: type[P], first: P) -> P:
    """Where a page begins; raises Invalid `bad_cursor`."""
    if cursor is None:
        return first
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise Invalid("bad_cursor", "This cursor does not come from a page of this list.", field="$.cursor") from None
