"""What the payment service answers."""

from __future__ import annotations

from datetime import date, datetime
from typing import ClassVar

from kessai.foundation.contract import Message
from kessai.services.payment.api.words import Action, Metadata, NextAction, PaymentState, RefundState


class Funding(Message, frozen=True):
    """What one source gave (or is held from it), and got back."""

    source: str
    amount_minor: int
    returned_minor: int = 0
    """Of it, what was given back so far."""


class PaymentRecord(Message, frozen=True):
    """A payment and how far it has come."""

    appended: ClassVar = ("method", "account_type", "pay_on")

    payment_id: str
    kind: str
    state: PaymentState
    amount_minor: int
    asset: str
    payer_id: str
    payee_id: str
    captured_minor: int
    refunded_minor: int
    funding: list[Funding]
    """How the amount was split over the sources; empty until the ledger has answered."""
    refusal_code: str | None
    reference: str | None
    description: str | None
    metadata: Metadata
    exchange_id: str
    """The ledger exchange that carries the value."""
    processing_id: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    """When an authorization lapses."""
    captures: int
    refunds: int
    version: int
    """Grows with every change."""
    fee_minor: int = 0
    """What the platform took on top of the amount, or the marketplace kept of it, so far."""
    beneficiary_id: str | None = None
    """The seller, of an escrow."""
    instrument_id: str | None = None
    """The card or bank account that takes part."""
    next_action: NextAction | None = None
    """What has to happen before it goes on, in REQUIRES_ACTION."""
    capture_at_once: bool = True
    """Whether it is captured as soon as every source has given its part."""
    method: str | None = None
    """How a customer came to pay a merchant: `code` (one-time, static or scanned), `net` (an order), else `direct`."""
    account_type: str | None = None
    """Of an adjustment: the account that it corrects."""
    pay_on: date | None = None
    """Of a payout: the day on which the bank is to pay; None: at once."""


class PaymentPage(Message, frozen=True):
    """A page; `next_cursor` is None on the last one."""

    payments: list[PaymentRecord]
    next_cursor: str | None


class Refund(Message, frozen=True):
    """Captured value given back, wholly or in part."""

    refund_id: str
    payment_id: str
    state: RefundState
    amount_minor: int
    asset: str
    reason: str | None
    refusal_code: str | None
    exchange_id: str
    """The ledger exchange that reverses (part of) the payment's."""
    processing_id: str
    created_at: datetime
    updated_at: datetime


class Refunds(Message, frozen=True):
    """In the order in which they were made."""

    refunds: list[Refund]


class PaymentStep(Message, frozen=True):
    """One entry of a payment's history."""

    sequence: int
    action: Action
    state: PaymentState
    """The payment's state after it."""
    amount_minor: int
    code: str | None
    """Why it was refused, where it was."""
    processing_id: str
    caller: str
    recorded_at: datetime
    exchange_id: str | None = None
    """A further ledger exchange that this step made, such as the one that paid an escrow's seller."""
    fee_minor: int = 0
    """Of the amount, what was kept as a fee."""


class PaymentHistory(Message, frozen=True):
    """Every step, oldest first; nothing is ever removed."""

    payment_id: str
    steps: list[PaymentStep]
