"""The token service, which gives phones numbers of their own (Device-PAN).

What is asked is asked under the device's id, and done once for it however often it comes. Each method raises NotSent,
when nothing was done, or Unanswered: inquire with `find`. A refusal is an answer. Numbers come as `Pan`, which nobody
sees by accident; whoever gets one puts it into the vault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec

from kessai.foundation.outbound import Answer, Destination, Outbound
from kessai.sdk.iso8583 import Pan
from kessai.services.nfc.api import DeviceAsk
from kessai.services.nfc.domain.devices import Told, last_day_of
from kessai.services.nfc.gateways.words import NETWORK, NOT_FOUND, at, opened, problem_of, unfit

EVENTS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldDevice:
    """A device as the token service tells of it, or its refusal."""

    state: Told
    pan: Pan | None = field(default=None, repr=False)
    expiry: str | None = None
    payload: Mapping[str, str] = field(default_factory=dict[str, str])
    refusal_code: str | None = None
    """Why it did not do what was asked; the rest says nothing then."""


@dataclass(frozen=True, slots=True)
class DeviceEvents:
    """Devices that changed beyond a position, and the position after them."""

    device_ids: Sequence[str]
    position: int


class TokenService(Protocol):
    """What the service needs of a token service."""

    async def provision(self, device_id: str, body: Mapping[str, object], now: datetime) -> ToldDevice:
        """Ask for a device."""
        ...

    async def ask(self, device_id: str, ask: DeviceAsk, now: datetime) -> ToldDevice | None:
        """Authenticate, suspend, resume or delete; None when it does not know the device."""
        ...

    async def find(self, device_id: str, now: datetime) -> ToldDevice | None:
        """How a device stands; None when the token service does not know it (so far); without effect."""
        ...

    async def events(self, after: int, now: datetime) -> DeviceEvents:
        """Which devices changed beyond a position; without effect."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class _Device(msgspec.Struct, frozen=True):
    id: str
    state: Told
    payload: dict[str, str] = {}
    device_pan: str | None = None
    device_expiry: str | None = None

    def __repr__(self) -> str:
        return f"_Device(id={self.id!r}, state={self.state!r})"


class _Event(msgspec.Struct, frozen=True):
    position: int
    id: str


class _Events(msgspec.Struct, frozen=True):
    after: int
    events: list[_Event]


class HttpTokens:
    """A token service over HTTP; the simulated card network is one."""

    def __init__(self, destination: Destination | None) -> None:
        self._outbound = None if destination is None else Outbound(destination)

    async def provision(self, device_id: str, body: Mapping[str, object], now: datetime) -> ToldDevice:
        """Ask for a device."""
        answer = await self._way.call("PUT", at(f"/v1/devices/{device_id}", now), dict(body))
        return _refusal(answer, device_id) if answer.refused else _told(answer, device_id)

    async def ask(self, device_id: str, ask: DeviceAsk, now: datetime) -> ToldDevice | None:
        """Authenticate, suspend, resume or delete."""
        body = {"method": "issuer_app"} if ask is DeviceAsk.AUTHENTICATE else {}
        answer = await self._way.call("POST", at(f"/v1/devices/{device_id}/{ask.value}", now), body)
        if not answer.refused:
            return _told(answer, device_id)
        return None if _missing(answer, device_id) else _refusal(answer, device_id)

    async def find(self, device_id: str, now: datetime) -> ToldDevice | None:
        """How a device stands."""
        answer = await self._way.call("GET", at(f"/v1/devices/{device_id}", now), safe=True)
        if not answer.refused:
            return _told(answer, device_id)
        if _missing(answer, device_id):
            return None
        raise unfit(answer)

    async def events(self, after: int, now: datetime) -> DeviceEvents:
        """Which devices changed."""
        path = at("/v1/device-events", now, after=after, limit=EVENTS_AT_ONCE)
        answer = await self._way.call("GET", path, safe=True)
        if answer.refused:
            raise unfit(answer)
        told = answer.decode(_Events)
        if told.after != after or any(each.position <= after for each in told.events):
            raise unfit(answer)
        return DeviceEvents([each.id for each in told.events], max([after, *(each.position for each in told.events)]))

    async def close(self) -> None:
        """Let the connections go."""
        if self._outbound is not None:
            await self._outbound.close()

    @property
    def _way(self) -> Outbound:
        return opened(self._outbound, NETWORK)


def _missing(answer: Answer, device_id: str) -> bool:
    return answer.status == NOT_FOUND and problem_of(answer, device_id) == "device_not_found"


def _refusal(answer: Answer, device_id: str) -> ToldDevice:
    return ToldDevice(state=Told.REQUESTED, refusal_code=problem_of(answer, device_id))


def _told(answer: Answer, device_id: str) -> ToldDevice:
    """In our own words; an answer with a number that is none says nothing at all."""
    told = answer.decode(_Device)
    if told.id != device_id or (told.device_pan is None) != (told.device_expiry is None):
        raise unfit(answer)
    try:
        pan = None if told.device_pan is None else Pan(told.device_pan)
        if told.device_expiry is not None:
            last_day_of(told.device_expiry)
    except ValueError:
        raise unfit(answer) from None
    if pan is None and told.state in (Told.ACTIVE, Told.SUSPENDED):
        raise unfit(answer)
    return ToldDevice(state=told.state, pan=pan, expiry=told.device_expiry, payload=told.payload)
