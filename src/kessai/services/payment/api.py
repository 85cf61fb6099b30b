"""The payment door: messages, published events, verbs and the errors of each in order of precedence.

Amounts are whole minor units of the payment's asset. Whatever the ledger refuses (`insufficient_funds`,
`account_frozen`, …) passes through with its own code, and the refusal's details name the payment.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Label, Message, PageLimit, Reference, verb

SOURCES_MAX = 8
METADATA_MAX = 16
DESCRIPTION_MAX = 256

Participant = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{3}_[0-9a-f]{32}$")]
Description = Annotated[str, msgspec.Meta(min_length=1, max_length=DESCRIPTION_MAX)]
Metadata = Annotated[dict[Label, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=METADATA_MAX)]
Sources = Annotated[list["FundingSource"], msgspec.Meta(max_length=SOURCES_MAX)]


class PaymentState(StrEnum):
    """Where a payment stands. UNKNOWN: the ledger's answer was lost and is being looked for."""

    PENDING = "PENDING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    AUTHORIZED = "AUTHORIZED"
    PARTIALLY_CAPTURED = "PARTIALLY_CAPTURED"
    CAPTURED = "CAPTURED"
    CANCELED = "CANCELED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


class RefundState(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    UNKNOWN = "UNKNOWN"


class Action(StrEnum):
    """What was done to a payment; one step of its history each."""

    CREATE = "create"
    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REFUND = "refund"
    REFUSE = "refuse"
    LOSE_TRACK = "lose_track"


# -- requests ---------------------------------------------------------------------------------------------------


class FundingSource(Message, frozen=True):
    """One of the customer's accounts to pay from, with the most that may come from it."""

    source: Label
    max_amount_minor: AmountMinor | None = None


class TopUp(Message, frozen=True):
    """Bring money in from a configured source, such as `bank_deposit`."""

    customer_id: Participant
    source: Label
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class CreateCharge(Message, frozen=True):
    """A customer pays a merchant: an authorization, or with `capture` a sale at once."""

    customer_id: Participant
    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    sources: Sources = []
    """In the customer's order of preference; each gives what it has, up to its maximum. Empty: the kind's order."""
    capture: bool = False
    expires_at: datetime | None = None
    """When the authorization lapses; None: the kind's own time."""
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class Transfer(Message, frozen=True):
    """Send funds to another customer."""

    customer_id: Participant
    """Who sends."""
    recipient_id: Participant
    """The customer who receives."""
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class CaptureCharge(Message, frozen=True):
    """Make an authorization final: what is left of it, or an amount."""

    charge_id: Id
    amount_minor: AmountMinor | None = None
    final: bool = True
    """Release what is left uncaptured; False keeps it for a further capture."""


class CancelCharge(Message, frozen=True):
    """Release what an authorization still holds."""

    charge_id: Id


class RefundCharge(Message, frozen=True):
    """Give captured value back to where it came from: what is left of it, or an amount."""

    charge_id: Id
    amount_minor: AmountMinor | None = None
    reason: Description | None = None


class GetPayment(Message, frozen=True):
    """Which payment, of any kind."""

    payment_id: Id


class ListPayments(Message, frozen=True):
    """A page of the payments that a customer (or merchant) took part in, newest first."""

    customer_id: Participant
    limit: PageLimit = 50
    cursor: str | None = None


class GetRefund(Message, frozen=True):
    """Which refund."""

    refund_id: Id


class ListRefunds(Message, frozen=True):
    """The refunds of a payment."""

    payment_id: Id


class GetHistory(Message, frozen=True):
    """The steps of a payment."""

    payment_id: Id


# -- answers ----------------------------------------------------------------------------------------------------


class Funding(Message, frozen=True):
    """What one source gave (or is held from it)."""

    source: str
    amount_minor: int


class PaymentRecord(Message, frozen=True):
    """A payment and how far it has come."""

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


class PaymentHistory(Message, frozen=True):
    """Every step, oldest first; nothing is ever removed."""

    payment_id: str
    steps: list[PaymentStep]


# -- events -----------------------------------------------------------------------------------------------------


class PaymentStateChanged(msgspec.Struct, frozen=True, kw_only=True, tag="payment.state_changed", tag_field="type"):
    """Published in `payment.payment` with every step of a payment."""

    event_id: str
    payment_id: str
    kind: str
    action: Action
    state: PaymentState
    amount_minor: int
    """What this step moved, held or released."""
    asset: str
    payer_id: str
    payee_id: str
    captured_minor: int
    refunded_minor: int
    exchange_id: str
    refund_id: str | None
    code: str | None
    processing_id: str
    version: int
    """The payment's version after this step."""
    occurred_at: datetime


TOPIC = "payment.payment"

# -- the door ---------------------------------------------------------------------------------------------------

_ACTION_ERRORS = ("charge_not_found", "payment_unresolved", "payment_busy")
_LEDGER_ERRORS = (
    "unknown_account_type", "account_not_found", "account_closed", "account_frozen", "insufficient_funds",
    "spending_cap_exceeded", "retention_cap_exceeded", "balance_overflow",
)  # fmt: skip


class Payment(Protocol):
    """決済処理: charges, top-ups and transfers."""

    @verb("POST /v1/top-ups", scope="payment:write", moves_value=True, status=201,
          errors=("unknown_source", "wrong_asset", "amount_above_limit", *_LEDGER_ERRORS))  # fmt: skip
    async def top_up(self, request: TopUp, /) -> PaymentRecord:
        """Bring money into a customer's funds."""
        ...

    @verb("POST /v1/charges", scope="payment:write", moves_value=True, status=201,
          errors=("wrong_asset", "amount_above_limit", "unknown_source", "duplicate_source", "sources_below_amount",
                  "expires_without_authorization", "expires_in_past", "expires_too_late", *_LEDGER_ERRORS))  # fmt: skip
    async def create_charge(self, request: CreateCharge, /) -> PaymentRecord:
        """Authorize a customer's payment to a merchant, or sell at once."""
        ...

    @verb("POST /v1/charges/{charge_id}/capture", scope="payment:write", moves_value=True,
          errors=(*_ACTION_ERRORS, "already_captured", "charge_not_authorized", "authorization_expired",
                  "capture_above_authorized", "captures_exhausted"))  # fmt: skip
    async def capture_charge(self, request: CaptureCharge, /) -> PaymentRecord:
        """Capture an authorization, whole or in part."""
        ...

    @verb("POST /v1/charges/{charge_id}/cancel", scope="payment:write", moves_value=True,
          errors=(*_ACTION_ERRORS, "already_canceled", "already_captured", "charge_not_authorized",
                  "authorization_expired"))  # fmt: skip
    async def cancel_charge(self, request: CancelCharge, /) -> PaymentRecord:
        """Release an authorization, or what is left of it."""
        ...

    @verb("POST /v1/charges/{charge_id}/refunds", scope="payment:write", moves_value=True, status=201,
          errors=(*_ACTION_ERRORS, "charge_not_captured", "refund_above_captured", "refunds_exhausted",
                  "account_closed"))  # fmt: skip
    async def refund_charge(self, request: RefundCharge, /) -> Refund:
        """Refund a charge, whole or in part."""
        ...

    @verb("POST /v1/transfers", scope="payment:write", moves_value=True, status=201,
          errors=("same_participant", "wrong_asset", "amount_above_limit", *_LEDGER_ERRORS))  # fmt: skip
    async def transfer(self, request: Transfer, /) -> PaymentRecord:
        """Send funds from one customer to another."""
        ...

    @verb("GET /v1/payments/{payment_id}", scope="payment:read", errors=("payment_not_found",))
    async def get_payment(self, request: GetPayment, /) -> PaymentRecord:
        """A payment of any kind."""
        ...

    @verb("GET /v1/payments", scope="payment:read", errors=("bad_cursor",))
    async def list_payments(self, request: ListPayments, /) -> PaymentPage:
        """A participant's payments, newest first."""
        ...

    @verb("GET /v1/payments/{payment_id}/history", scope="payment:read", errors=("payment_not_found",))
    async def get_history(self, request: GetHistory, /) -> PaymentHistory:
        """Every step of a payment, with its time."""
        ...

    @verb("GET /v1/payments/{payment_id}/refunds", scope="payment:read", errors=("payment_not_found",))
    async def list_refunds(self, request: ListRefunds, /) -> Refunds:
        """The refunds of a payment."""
        ...

    @verb("GET /v1/refunds/{refund_id}", scope="payment:read", errors=("refund_not_found",))
    async def get_refund(self, request: GetRefund, /) -> Refund:
        """A refund."""
        ...
