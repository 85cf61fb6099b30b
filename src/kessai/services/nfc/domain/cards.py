"""A customer's card with its phone number and its devices, and how each may change. Ids are bare: 32 digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import msgspec

from kessai.foundation.errors import Conflict, NotFound, Refused
from kessai.services.nfc.api import (
    CodeDelivery,
    DeviceAsk,
    DeviceState,
    LockReason,
    Platform,
    PrepaidCardState,
    StepKind,
    SuspendedBy,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCard:
    """A card of the pool: its names, never its number."""

    reference: str
    token: str
    last_four: str
    expires_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A customer's card."""

    card_id: str
    customer_id: str
    state: PrepaidCardState
    lock_reason: LockReason | None = None
    number: PoolCard | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """The verification of a phone number."""

    sealed: bytes
    fingerprint: bytes
    last_four: str
    code_digest: bytes
    sends: int
    attempts: int
    delivery: CodeDelivery
    sent_at: datetime
    expires_at: datetime
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNumber:
    """A Device-PAN by its token."""

    token: str
    last_four: str
    expires_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A phone with a number of its own."""

    device_id: str
    platform: Platform
    state: DeviceState
    pending: DeviceAsk | None = None
    asked_at: datetime | None = None
    suspended_by: SuspendedBy | None = None
    number: DeviceNumber | None = None
    refusal_code: str | None = None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A card with everything that belongs to it: what is looked at and written as one."""

    card: Card
    phone: Phone
    devices: Mapping[str, Device] = field(default_factory=dict[str, Device])

    def device(self, device_id: str) -> Device:
        """NotFound `device_not_found` unless it is the card's."""
        if (found := self.devices.get(device_id)) is None:
            raise NotFound("device_not_found", "This card has no such device.", device_id=f"dev_{device_id}")
        return found

    def with_device(self, device: Device) -> Holding:
        """With a device as it is now."""
        return replace(self, devices={**self.devices, device.device_id: device})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is done."""

    kind: StepKind
    detail: Mapping[str, object] = field(default_factory=dict[str, object])
    device_id: str | None = None

    @property
    def detail_json(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(dict(self.detail)).decode()


@dataclass(frozen=True, slots=True)
class Change:
    """A holding as it is after some steps."""

    after: Holding
    steps: Sequence[Step]


# -- what may be done ---------------------------------------------------------------------------------------------


def require_open(card: Card) -> None:
    """Conflict `card_closed` of a card that has ended."""
    if card.state is PrepaidCardState.CLOSED:
        raise Conflict(
            "card_closed", "This card is closed.", replaced_by=card.replaced_by and f"vpc_{card.replaced_by}"
        )


def require_issued(card: Card) -> None:
    """Refused `card_not_active` until the phone is verified; Conflict `card_closed`."""
    require_open(card)
    if card.state is PrepaidCardState.PENDING:
        raise Refused("card_not_active", "The phone number must be verified first.")


def require_active(card: Card) -> None:
    """Refused `card_not_active` of a card that pays nothing just now."""
    require_issued(card)
    if card.state is not PrepaidCardState.ACTIVE:
        raise Refused("card_not_active", "This card is locked.")


def given_number(change: Change, number: PoolCard, now: datetime) -> Change:
    """A change, and after it a card of the pool: the card is active."""
    after = change.after
    card = replace(after.card, state=PrepaidCardState.ACTIVE, number=number, updated_at=now)
    return Change(replace(after, card=card), [*change.steps, Step(kind=StepKind.ASSIGNED)])


def lock(holding: Holding, reason: LockReason, now: datetime, asked_at: datetime) -> Change:
    """Stop a card, and suspend its active devices; a stolen one stays stolen."""
    card = holding.card
    require_issued(card)
    if card.lock_reason is LockReason.STOLEN:
        reason = LockReason.STOLEN
    card = replace(card, state=PrepaidCardState.LOCKED, lock_reason=reason, updated_at=now)
    change = Change(replace(holding, card=card), [Step(kind=StepKind.LOCKED, detail={"reason": reason.value})])
    for each in holding.devices.values():
        if each.state is DeviceState.ACTIVE or each.pending is DeviceAsk.RESUME:
            change = then(change, suspended(each, SuspendedBy.LOCK, now, asked_at))
    return change


def unlock(holding: Holding, now: datetime, asked_at: datetime) -> Change:
    """Let a locked card pay again; what its lock suspended is to be resumed."""
    card = holding.card
    require_open(card)
    if card.state is not PrepaidCardState.LOCKED:
        raise Refused("card_not_locked", "This card is not locked.")
    if card.lock_reason is LockReason.STOLEN:
        raise Refused("card_stolen", "A stolen card is reissued or closed.")
    card = replace(card, state=PrepaidCardState.ACTIVE, lock_reason=None, updated_at=now)
    change = Change(replace(holding, card=card), [Step(kind=StepKind.UNLOCKED)])
    for each in holding.devices.values():
        if each.suspended_by is SuspendedBy.LOCK:
            change = then(change, replace(each, pending=DeviceAsk.RESUME, asked_at=asked_at, updated_at=now))
    return change


def close(holding: Holding, now: datetime, asked_at: datetime, *, why: str, replaced_by: str | None = None) -> Change:
    """End a card, and delete its devices."""
    require_open(holding.card)
    card = replace(holding.card, state=PrepaidCardState.CLOSED, replaced_by=replaced_by, updated_at=now)
    detail = {"why": why} | ({"replaced_by": f"vpc_{replaced_by}"} if replaced_by else {})
    kind = StepKind.REISSUED if replaced_by else StepKind.CLOSED
    change = Change(replace(holding, card=card), [Step(kind=kind, detail=detail)])
    for each in holding.devices.values():
        if each.state is not DeviceState.DELETED:
            change = then(change, deleted(each, now, asked_at))
    return change


def suspended(device: Device, by: SuspendedBy, now: datetime, asked_at: datetime) -> Device:
    """A device that pays nothing from now on; the token service is yet to be told."""
    return replace(
        device,
        state=DeviceState.SUSPENDED,
        suspended_by=by,
        pending=DeviceAsk.SUSPEND,
        asked_at=asked_at,
        updated_at=now,
    )


def deleted(device: Device, now: datetime, asked_at: datetime) -> Device:
    """A device that has ended; the token service is yet to be told."""
    return replace(
        device,
        state=DeviceState.DELETED,
        suspended_by=None,
        pending=DeviceAsk.DELETE,
        asked_at=asked_at,
        updated_at=now,
    )


def then(change: Change, device: Device) -> Change:
    """A change, and after it a device as it is then."""
    return Change(change.after.with_device(device), [*change.steps, device_step(device)])


def device_step(device: Device) -> Step:
    """What a history says of a device's change."""
    detail: dict[str, object] = {"state": device.state.value}
    if device.pending is not None:
        detail["asked"] = device.pending.value
    if device.suspended_by is not None:
        detail["suspended_by"] = device.suspended_by.value
    if device.refusal_code is not None:
        detail["refusal_code"] = device.refusal_code
    return Step(kind=StepKind.DEVICE, device_id=device.device_id, detail=detail)
