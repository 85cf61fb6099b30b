"""The sender of text messages. Each goes under an id of ours and is sent once for it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from kessai.foundation.outbound import Destination, Outbound
from kessai.services.nfc.gateways.words import DECLINED, NOT_FOUND, SMS, opened, problem_of, unfit


class SmsSender(Protocol):
    """What the service needs of a sender. Raises NotSent, when nothing was done, or Unanswered: inquire."""

    async def send(self, message_id: str, number: str, text: str) -> bool:
        """Send a text; False when the number cannot be reached."""
        ...

    async def was_taken(self, message_id: str) -> bool:
        """Whether the sender has taken a message; False when it never saw it (so far); without effect."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class _Message(msgspec.Struct, frozen=True):
    id: str
    state: str


class HttpSms:
    """A sender over HTTP; the simulated one is such."""

    def __init__(self, destination: Destination | None) -> None:
        self._outbound = None if destination is None else Outbound(destination)

    async def send(self, message_id: str, number: str, text: str) -> bool:
        """Send a text."""
        answer = await self._way.call("PUT", f"/v1/messages/{message_id}", {"to": number, "text": text})
        if not answer.refused:
            if answer.decode(_Message).id != message_id:
                raise unfit(answer)
            return True
        problem_of(answer, message_id)
        if answer.status != DECLINED:
            raise unfit(answer)
        return False

    async def was_taken(self, message_id: str) -> bool:
        """Whether the sender has taken a message."""
        answer = await self._way.call("GET", f"/v1/messages/{message_id}", safe=True)
        if answer.status == NOT_FOUND and problem_of(answer, message_id) == "message_not_found":
            return False
        if answer.refused or answer.decode(_Message).id != message_id:
            raise unfit(answer)
        return True

    async def close(self) -> None:
        """Let the connections go."""
        if self._outbound is not None:
            await self._outbound.close()

    @property
    def _way(self) -> Outbound:
        return opened(self._outbound, SMS)
