"""Holds in bulk: many customers' payments to one of the platform's own accounts, authorized at once."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kessai.foundation.contract import AmountMinor, Label, Message, Reference
from kessai.services.payment.api.words import Id, Metadata, Participant, PaymentState

HOLDS_MAX = 200
"""Holds of one call."""


class Hold(Message):
    """One payment to be authorized, under an id of its own.

    The same id with the same content is the same payment, in whichever call it comes.
    """

    payment_id: Id
    """Chosen by the caller: the kind's prefix and 32 hexadecimal digits, such as `idc_…`."""
    customer_id: Participant
    amount_minor: AmountMinor
    reference: Reference | None = None
    metadata: Metadata = {}
    processing_id: Id | None = None
    """The processing that it is part of, where the platform itself asks; None: that of the call, or one of its own."""


class HoldPayments(Message):
    """Up to 200 payments of a kind, each of which stands or falls by itself."""

    kind: Label
    """One whose payer is a customer and whose payee is internal, with nothing besides."""
    holds: Annotated[list[Hold], msgspec.Meta(min_length=1, max_length=HOLDS_MAX)]


class HoldOutcome(Message):
    """How one payment stands."""

    payment_id: str
    state: PaymentState
    """AUTHORIZED or REFUSED, or what became of it since; of one that another call is still at, PENDING or UNKNOWN: ask
    again with the same id."""
    code: str | None = None
    """Why it was refused."""


class HeldPayments(Message):
    """One outcome a hold, in the order in which they were asked for."""

    outcomes: list[HoldOutcome]
