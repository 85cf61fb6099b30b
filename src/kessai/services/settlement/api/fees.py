"""Fees (手数料): what each sale costs the merchant, and what comes back with a refund."""

from __future__ import annotations

from datetime import date, datetime

from kessai.foundation.contract import Message, PageLimit
from kessai.services.settlement.api.words import Cursor, FeeState, OwnerId, TransactionKind


class FeeRecord(Message):
    """A fee or the return of one."""

    owner_id: str
    fee_id: str
    kind: TransactionKind
    """`fee` or `fee_refund`."""
    unit: str
    """Worked out for each `transaction`, a `day`'s total or a `cycle`'s."""
    origin_id: str
    """The sale that it is for; of a return, the refund; of a day's or cycle's fee, an id of that total."""
    returns_id: str | None
    """Of a return: the fee of which it gives back a part."""
    method: str
    base_minor: int
    """What it was worked out on."""
    amount_minor: int
    """Tax included."""
    tax_minor: int
    tax_rate_bps: int
    schedule: str
    """JSON: the contract, its version and the terms."""
    payment_id: str
    """The payment that moved it; of a return, the one that it refunds."""
    state: FeeState
    code: str | None
    """Why its payment was refused."""
    given_back_minor: int
    business_date: date
    recorded_at: datetime


class ListFees(Message):
    """An owner's fees, by id."""

    owner_id: OwnerId
    state: FeeState | None = None
    limit: PageLimit = 100
    cursor: Cursor | None = None


class FeePage(Message):
    """A page; `next_cursor` is None on the last one."""

    fees: list[FeeRecord]
    next_cursor: str | None = None


class WaitingSale(Message):
    """A sale or refund whose fee cannot be worked out yet."""

    owner_id: str
    transaction_id: str
    kind: TransactionKind
    method: str
    amount_minor: int
    payment_id: str
    occurred_at: datetime
    reason: str
    """`merchant_unknown`, `merchant_not_active`, `no_contract`, `method_not_accepted`; empty: not looked at yet."""


class ListWaitingSales(Message):
    """Sales and refunds whose fee waits for terms, by owner and id. Each day's run looks at them again."""

    limit: PageLimit = 100
    cursor: Cursor | None = None


class WaitingSales(Message):
    """A page; `next_cursor` is None on the last one."""

    sales: list[WaitingSale]
    next_cursor: str | None = None
