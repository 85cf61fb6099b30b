"""The messages that were sent, as phones have them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

MESSAGES_MAX: Final = 100_000
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
UNREACHABLE: Final = "+819000000001"
LOST: Final = "+819000000002"
"""Accepted, and never arrives."""


class Declined(Exception):
    """The sender says no: a stable code, and the HTTP status it goes with."""

    def __init__(self, code: str, status: int = 422) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class SmsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """To whom, and what."""

    to: str
    text: str


class Sms(msgspec.Struct, frozen=True, kw_only=True):
    """A message."""

    id: str
    to: str
    text: str
    at: datetime


class Inbox:
    """Every phone's messages; kept in memory alone, since they hold codes."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._messages: dict[str, Sms] = {}

    def send(self, message_id: str, body: SmsBody) -> Sms:
        """Take a message, once for its id; Declined `invalid_number`, `unreachable`, `id_reused`, `inbox_full`."""
        known = self._messages.get(message_id)
        if known is not None:
            if (known.to, known.text) != (body.to, body.text):
                raise Declined("id_reused", 409)
            return known
        if not _NUMBER.fullmatch(body.to):
            raise Declined("invalid_number")
        if body.to == UNREACHABLE:
            raise Declined("unreachable")
        if len(self._messages) >= MESSAGES_MAX:
            raise Declined("inbox_full", 503)
        self._messages[message_id] = Sms(id=message_id, to=body.to, text=body.text, at=self._now())
        return self._messages[message_id]

    def find(self, message_id: str) -> Sms:
        """A message that was taken; Declined `message_not_found`."""
        if message_id not in self._messages:
            raise Declined("message_not_found", 404)
        return self._messages[message_id]

    def to(self, number: str | None = None) -> list[Sms]:
        """What has arrived at a number, or at all, oldest first."""
        arrived = (each for each in self._messages.values() if each.to != LOST)
        return [each for each in arrived if number in (None, each.to)]

    def clear(self) -> None:
        """Empty it."""
        self._messages.clear()
