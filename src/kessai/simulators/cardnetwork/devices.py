"""The token service: devices, each with a number of its own, on phones of two makers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from kessai.simulators.cardnetwork.numbers import number_of
from kessai.simulators.cardnetwork.records import (
    Card,
    Declined,
    Device,
    DeviceBody,
    DeviceChanged,
    DeviceEvent,
    DeviceState,
    Entry,
)

METHODS: Final = ("issuer_app", "sms")
_OPAQUE: Final = re.compile(r"[A-Za-z0-9+/=_-]{1,4096}")
_GIVEN: Final = {
    "apple": ("nonce", "nonce_signature"),
    "android": ("client_wallet_account_id", "stable_hardware_id"),
}
_HANDED_OVER: Final = {
    "apple": ("activation_data", "encrypted_pass_data", "ephemeral_public_key"),
    "android": ("opaque_payment_card",),
}
_FROM: Final[dict[DeviceState, tuple[DeviceState, ...]]] = {
    "requested": (),
    "authenticated": ("requested",),
    "active": ("authenticated", "suspended"),
    "suspended": ("active",),
    "deleted": ("requested", "authenticated", "active", "suspended"),
}
"""From which states each can be come to."""


class TokenService:
    """Devices by our id."""

    def __init__(self, write: Callable[[Entry], None], cards: dict[str, Card], *, seed: int) -> None:
        self.devices: dict[str, Device] = {}
        self.events: list[DeviceEvent] = []
        self._write = write
        self._cards = cards
        self._seed = seed

    def provision(self, device_id: str, body: DeviceBody, now: datetime) -> Device:
        """Ask for a device; Declined `card_not_found`, `bad_wallet_data`, `id_reused`."""
        known = self.devices.get(device_id)
        if known is not None:
            if known.body != body:
                raise Declined("id_reused", 409)
            return known
        if body.card not in self._cards:
            raise Declined("card_not_found", 404)
        if not _is_whole(body):
            raise Declined("bad_wallet_data")
        self._write(DeviceChanged(id=device_id, at=now, state="requested", body=body))
        return self.devices[device_id]

    def authenticate(self, device_id: str, method: str, now: datetime) -> Device:
        """The client vouches for the customer."""
        if method not in METHODS:
            raise Declined("method_unknown")
        return self._move(device_id, "authenticated", now, authenticated_by=method)

    def activate(self, device_id: str, now: datetime) -> Device:
        """The phone takes the number up."""
        if self.find(device_id).state == "suspended":
            raise Declined("wrong_state", 409)
        return self._move(device_id, "active", now)

    def suspend(self, device_id: str, now: datetime) -> Device:
        """For now."""
        return self._move(device_id, "suspended", now)

    def resume(self, device_id: str, now: datetime) -> Device:
        """Active again."""
        if self.find(device_id).state not in ("suspended", "active"):
            raise Declined("wrong_state", 409)
        return self._move(device_id, "active", now)

    def delete(self, device_id: str, now: datetime) -> Device:
        """For good."""
        return self._move(device_id, "deleted", now)

    def _move(self, device_id: str, state: DeviceState, now: datetime, authenticated_by: str | None = None) -> Device:
        device = self.find(device_id)
        if device.state == state:
            return device
        if device.state not in _FROM[state]:
            raise Declined("wrong_state", 409)
        self._write(DeviceChanged(id=device_id, at=now, state=state, authenticated_by=authenticated_by))
        return device

    def find(self, device_id: str) -> Device:
        """A device; Declined `device_not_found`."""
        if device_id not in self.devices:
            raise Declined("device_not_found", 404)
        return self.devices[device_id]

    def pan_of(self, device: Device) -> str:
        """Its Device-PAN."""
        return number_of(device.place, seed=self._seed, of="device")

    def shown(self, device: Device) -> dict[str, Any]:
        """A device as the client is told of it."""
        has_number = device.state in ("active", "suspended")
        return {
            "id": device.id,
            "card": device.body.card,
            "platform": device.body.platform,
            "state": device.state,
            "authenticated_by": device.authenticated_by,
            "payload": {name: _opaque(device.id, name) for name in _HANDED_OVER[device.body.platform]},
            "device_pan": self.pan_of(device) if has_number else None,
            "device_expiry": device.expiry if has_number else None,
        }

    def apply(self, entry: DeviceChanged) -> None:
        """Take a step that was written."""
        if entry.body is not None:
            self.devices[entry.id] = Device(
                id=entry.id,
                place=len(self.devices) + 1,
                body=entry.body,
                state=entry.state,
                expiry=self._cards[entry.body.card].expiry,
            )
        device = self.devices[entry.id]
        device.state = entry.state
        device.authenticated_by = entry.authenticated_by or device.authenticated_by
        self.events.append(DeviceEvent(position=len(self.events) + 1, id=entry.id, state=entry.state, at=entry.at))


def _is_whole(body: DeviceBody) -> bool:
    """Whether the wallet gave all it must, and nothing of another maker's."""
    other = "android" if body.platform == "apple" else "apple"
    given = [getattr(body, name) for name in _GIVEN[body.platform]]
    if body.platform == "apple":
        given += body.certificates or [""]
    foreign = [getattr(body, name) for name in _GIVEN[other]] + ([] if body.platform == "apple" else body.certificates)
    return all(_OPAQUE.fullmatch(each) for each in given) and not any(foreign)


def _opaque(device_id: str, name: str) -> str:
    return base64.b64encode(hashlib.sha256(f"{device_id} {name}".encode()).digest()).decode()
