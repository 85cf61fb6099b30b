"""Transaction data (取引データ): money to and from a merchant, one a payment's step."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Message, PageLimit
from kessai.services.settlement.api.words import Cursor, OwnerId, TransactionKind, TransactionState


class Transaction(Message):
    """One movement of a merchant's unsettled sales."""

    owner_id: str
    transaction_id: str
    """UUID, derived from the event that told of it."""
    kind: TransactionKind
    from_id: str
    to_id: str
    """`platform` where the platform is the other side."""
    amount_minor: int
    method: str
    """By which payment method: `code`, `net`, `direct`; of a fee, that of what it is for."""
    payment_id: str
    origin_id: str | None
    """Of a fee or its return: the sale, or the day's total, that the fee is for."""
    processing_id: str
    occurred_at: datetime
    business_date: date
    recorded_at: datetime
    state: TransactionState
    reason: str | None
    """Why it is held: `not_proved:…`, `not_in_books`, `merchant_unknown`, `no_contract` …"""
    merchant_id: str | None
    """Once it is reconciled: the merchant master's id."""
    payee_id: str | None
    """Once it is reconciled: who is paid for it (入金集約)."""
    settles_on: date | None
    """The day whose summary it is in; later than its own where it came late."""


class ListTransactions(Message):
    """An owner's transactions, by id; those of some days, or in one state only, where asked."""

    owner_id: OwnerId
    since: date | None = None
    """The first business date."""
    until: date | None = None
    """The last one."""
    state: TransactionState | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class ListOpenTransactions(Message):
    """What is not reconciled yet, of all merchants, oldest day first: held ones with their reason."""

    until: date | None = None
    """Of business dates up to this one."""
    limit: PageLimit = 100
    cursor: Cursor | None = None


class TransactionPage(Message):
    """A page; `next_cursor` is None on the last one."""

    transactions: list[Transaction]
    next_cursor: str | None = None


class GetTransactionsOfPayment(Message):
    """All that a payment came to."""

    payment_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
