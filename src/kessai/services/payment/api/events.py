"""What the payment service publishes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from kessai.services.payment.api.words import Action, PaymentState

PAST: Mapping[Action, str] = {
    Action.AUTHORIZE: "authorized",
    Action.CAPTURE: "captured",
    Action.CANCEL: "canceled",
    Action.EXPIRE: "expired",
    Action.REFUND: "refunded",
    Action.REFUSE: "refused",
    Action.LOSE_TRACK: "lost_track_of",
    Action.REQUIRE_ACTION: "action_required",
    Action.SEND: "sent",
    Action.RETURN: "returned",
}
"""The last word of an event's type: what was done."""


def event_type(kind: str, action: Action) -> str:
    """The type of the event of a step, such as `payment.charge.captured`."""
    return f"payment.{kind}.{PAST[action]}"


class PaymentStateChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Published in `payment.payment` with every step of a payment."""

    type: str
    """`payment.<kind>.<what was done>`, such as `payment.charge.captured`."""
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
    beneficiary_id: str | None = None
    fee_minor: int = 0
    """Of an escrow's capture, what the marketplace keeps of the amount; of its refund, what it gives back of that (in
    proportion to the amount, rounded down over all refunds so far). The seller's part is the rest of the amount. So the
    marketplace's sales grow by this with a capture, and fall by it with a refund; what parks with it is not its own."""
    fee_total_minor: int = 0
    """The payment's fee after this step: what is taken on top of its amount; of an escrow, what was kept so far, less
    what was given back."""
    method: str | None = None
    """Of a charge or an escrow: `code` (one-time, static or scanned codes), `net` (net orders), else `direct`."""
    account_type: str | None = None
    """Of an adjustment: the account that was corrected."""
    reference: str | None = None
    """The caller's own name for the payment."""


TOPIC = "payment.payment"
