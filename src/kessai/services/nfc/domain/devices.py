"""How a device changes by what the token service says of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from kessai.services.nfc.api import DeviceAsk, DeviceState, PrepaidCardState, SuspendedBy
from kessai.services.nfc.domain.cards import Card, Device, DeviceNumber


class Told(StrEnum):
    """A device's state in the token service's words."""

    REQUESTED = "requested"
    AUTHENTICATED = "authenticated"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a device stands with the token service; its number is known by its token already."""

    state: Told
    number: DeviceNumber | None = None
    payload: dict[str, str] = field(default_factory=dict[str, str])


DONE: dict[DeviceAsk, tuple[Told, ...]] = {
    DeviceAsk.PROVISION: tuple(Told),
    DeviceAsk.AUTHENTICATE: (Told.AUTHENTICATED, Told.ACTIVE, Told.SUSPENDED, Told.DELETED),
    DeviceAsk.SUSPEND: (Told.SUSPENDED, Told.DELETED),
    DeviceAsk.RESUME: (Told.ACTIVE, Told.DELETED),
    DeviceAsk.DELETE: (Told.DELETED,),
}
"""In which states what was asked is done."""


def heard(card: Card, device: Device, told: Standing, now: datetime, asked_at: datetime) -> Device:
    """A device after the token service has said how it stands; the same one when that is nothing new."""
    after = replace(device, number=told.number or device.number)
    if after.pending is not None and told.state in DONE[after.pending]:
        after = _asked(after, None, asked_at)
    after = _taken_over(after, told.state, resumed=device.pending is DeviceAsk.RESUME, asked_at=asked_at)
    after = _kept_from_paying(card, after, asked_at)
    return device if after == device else replace(after, updated_at=now)


def _taken_over(device: Device, told: Told, *, resumed: bool, asked_at: datetime) -> Device:
    """Their state as ours, except where we have said something since that they have not heard."""
    if told is Told.DELETED:
        return replace(_asked(device, None, asked_at), state=DeviceState.DELETED, suspended_by=None)
    if device.state is DeviceState.DELETED:
        return device if device.pending else _asked(device, DeviceAsk.DELETE, asked_at)
    match told:
        case Told.REQUESTED:
            return device
        case Told.AUTHENTICATED:
            early = device.state is DeviceState.REQUESTED
            return replace(device, state=DeviceState.AUTHENTICATED) if early else device
        case Told.SUSPENDED:
            if device.state is DeviceState.SUSPENDED or device.number is None:
                return device
            return replace(device, state=DeviceState.SUSPENDED, suspended_by=SuspendedBy.WALLET)
        case Told.ACTIVE:
            return _active(device, resumed=resumed, asked_at=asked_at)


def _active(device: Device, *, resumed: bool, asked_at: datetime) -> Device:
    if device.number is None or device.pending is DeviceAsk.SUSPEND:
        return device
    if device.suspended_by in (SuspendedBy.LOCK, SuspendedBy.CUSTOMER) and not resumed:  # not by who has the phone
        return _asked(device, DeviceAsk.SUSPEND, asked_at)
    return replace(device, state=DeviceState.ACTIVE, suspended_by=None)


def _kept_from_paying(card: Card, device: Device, asked_at: datetime) -> Device:
    """No device of a card that does not pay becomes active."""
    if card.state is PrepaidCardState.CLOSED and device.state is not DeviceState.DELETED:
        return _asked(replace(device, state=DeviceState.DELETED, suspended_by=None), DeviceAsk.DELETE, asked_at)
    if card.state is PrepaidCardState.LOCKED and device.state is DeviceState.ACTIVE:
        stopped = replace(device, state=DeviceState.SUSPENDED, suspended_by=SuspendedBy.LOCK)
        return _asked(stopped, DeviceAsk.SUSPEND, asked_at)
    return device


def refused(device: Device, code: str, now: datetime) -> Device:
    """A device after the token service declined what was asked; the same one when it did so before.

    A request has failed, and is over. What makes a device pay is not asked again; what keeps it from paying is.
    """
    match device.pending:
        case None:
            return device
        case DeviceAsk.PROVISION:
            after = replace(_asked(device, None, now), state=DeviceState.DELETED, refusal_code=code)
        case DeviceAsk.AUTHENTICATE | DeviceAsk.RESUME:
            after = replace(_asked(device, None, now), refusal_code=code)
        case DeviceAsk.SUSPEND | DeviceAsk.DELETE:
            after = replace(device, refusal_code=code)
    return device if after == device else replace(after, updated_at=now)


def never_arrived(device: Device, now: datetime, real_now: datetime, within_s: int) -> Device:
    """A device that the token service does not know: given up once what was sent cannot be on its way any more."""
    if device.asked_at is None or real_now - device.asked_at < timedelta(seconds=within_s):
        return device
    code = device.refusal_code if device.pending is DeviceAsk.DELETE else "never_arrived"
    return replace(
        device,
        state=DeviceState.DELETED,
        pending=None,
        asked_at=None,
        suspended_by=None,
        refusal_code=code,
        updated_at=now,
    )


def _asked(device: Device, ask: DeviceAsk | None, asked_at: datetime) -> Device:
    return replace(device, pending=ask, asked_at=None if ask is None else asked_at)


def last_day_of(expiry: str) -> date:
    """The last day of an expiry, YYMM (ISO 8583 field 14); ValueError when there is no such month."""
    if len(expiry) != 4 or not (expiry.isascii() and expiry.isdigit()):
        raise ValueError("not an expiry")
    year, month = 2000 + int(expiry[:2]), int(expiry[2:])
    first = date(year, month, 1)
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def expiry_of(day: date) -> str:
    """YYMM of a card's last day."""
    return f"{day.year % 100:02d}{day.month:02d}"
