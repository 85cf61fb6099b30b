"""What the nfc service publishes of cards. A later event of the same card has a higher version."""

from __future__ import annotations

from datetime import date, datetime

import msgspec

from kessai.services.nfc.api.words import DeviceState, LockReason, PrepaidCardState, StepKind

TOPIC_CARD = "nfc.card"


class CardChanged(msgspec.Struct, frozen=True, kw_only=True, tag="nfc.card", tag_field="type"):  # fmt: skip
    """Published in `nfc.card` with every step of a card, its phone number or a device."""

    event_id: str
    card_id: str
    customer_id: str
    version: int
    kind: StepKind
    state: PrepaidCardState
    """Of the card, after the step."""
    lock_reason: LockReason | None
    last_four: str | None
    expires_on: date | None
    device_id: str | None
    device_state: DeviceState | None
    """After the step."""
    occurred_at: datetime
