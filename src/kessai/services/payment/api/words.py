"""Words that all parts of the payment door share: ids, states, actions, sources."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.contract import AmountMinor, Instant, Label, Message

SOURCES_MAX = 8
METADATA_MAX = 16
DESCRIPTION_MAX = 256
SETTLEMENT_MOVE = "settlement:move"
"""The scope of whatever moves merchants' money with no customer in it."""

Participant = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{3}_[0-9a-f]{32}$")]
Description = Annotated[str, msgspec.Meta(min_length=1, max_length=DESCRIPTION_MAX)]
Metadata = Annotated[dict[Label, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=METADATA_MAX)]
SourceNames = Annotated[list[Label], msgspec.Meta(max_length=2 * SOURCES_MAX)]
Url = Annotated[str, msgspec.Meta(min_length=1, max_length=2048, pattern=r"^https?://")]


class PaymentState(StrEnum):
    """Where a payment stands. UNKNOWN: an answer was lost and is being looked for."""

    PENDING = "PENDING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    """Something outside has to happen first: see the payment's `next_action`."""
    AUTHORIZED = "AUTHORIZED"
    """The sources are held (仮売上); of an escrow: the marketplace keeps the money (預かり中)."""
    PARTIALLY_CAPTURED = "PARTIALLY_CAPTURED"
    CAPTURED = "CAPTURED"
    CANCELED = "CANCELED"
    REFUSED = "REFUSED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"
    IN_FLIGHT = "IN_FLIGHT"
    """The bank has it (手続中); what comes of it follows."""
    RETURNED = "RETURNED"
    """The money had left, and came back (組戻)."""


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
    REQUIRE_ACTION = "require_action"
    SEND = "send"
    RETURN = "return"


class NextActionType(StrEnum):
    """What has to happen before a payment goes on."""

    REDIRECT = "redirect"
    """Send the customer to `url` (3-D Secure), then complete the payment."""
    PAY_CASH = "pay_cash"
    """The customer pays at a store or an ATM under `code`; the store's notice completes the payment."""
    WAIT_FOR_BANK = "wait_for_bank"
    """The bank's result completes it; nothing is to be done."""


class NextAction(Message):
    """What has to happen before a payment goes on."""

    type: NextActionType
    url: str | None = None
    code: str | None = None
    authorized_until: Instant | None = None
    """When the authorization will lapse once it stands; `expires_at` of the payment is when the time to act is over."""


class PointsUse(StrEnum):
    """Where points come in the default order of sources."""

    FIRST = "first"
    LAST = "last"
    NONE = "none"


class PaymentMethod(StrEnum):
    """How a customer came to pay a merchant; what contracts with merchants distinguish."""

    CODE = "code"
    """By a code that either of them showed: one-time, static or scanned."""
    NET = "net"
    """By confirming a shop's order."""
    DIRECT = "direct"
    """Any other way."""


class Direction(StrEnum):
    """Which way value goes."""

    IN = "in"
    OUT = "out"


class FundingSource(Message, frozen=True):
    """One of the customer's accounts to pay from, with the most that may come from it."""

    source: Label
    max_amount_minor: AmountMinor | None = None
    instrument_id: Id | None = None
    """Which card (`crd_…`) or bank account (`bac_…`), where the source is one."""


Sources = Annotated[list[FundingSource], msgspec.Meta(max_length=SOURCES_MAX)]
