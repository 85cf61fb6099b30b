"""The issuer of cards: request files go in under their id, the issuer's files come out.

`send` and `find` raise NotSent, when nothing was done, or Unanswered: ask again, a file is taken once for its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from kessai.foundation.outbound import Answer, Destination, Outbound
from kessai.services.nfc.gateways.words import FILES, NOT_FOUND, at, opened, problem_of, unfit


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """How a request file stands with the issuer."""

    state: Literal["received", "issued", "refused"]
    code: str | None = None
    """Why it was refused."""


class CardIssuer(Protocol):
    """What the service needs of an issuer."""

    @property
    def configured(self) -> bool:
        """Whether there is an issuer to ask."""
        ...

    async def send(self, file_id: str, content: bytes, now: datetime) -> Issuance:
        """Hand a request file over; handing over the same again changes nothing."""
        ...

    async def find(self, file_id: str, now: datetime) -> Issuance | None:
        """How a request stands; None when it never arrived (so far); without effect."""
        ...

    async def issued(self, file_id: str, now: datetime) -> bytes | None:
        """The issuer's file for a request; None while it is not there."""
        ...

    async def lying(self) -> Sequence[str]:
        """Requests whose issued files lie where we are to clear them away; none where that is the issuer's matter."""
        ...

    async def remove(self, file_id: str) -> None:
        """Clear the issuer's file away, if it is ours to: what it held lies in the vault, and nowhere else."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class _Standing(msgspec.Struct, frozen=True):
    id: str
    state: Literal["received", "issued", "refused"]
    code: str | None = None


class HttpIssuer:
    """An issuer over HTTP; the simulated card network is one."""

    def __init__(self, destination: Destination | None) -> None:
        self._outbound = None if destination is None else Outbound(destination)

    @property
    def configured(self) -> bool:
        """Whether there is an issuer to ask."""
        return self._outbound is not None

    async def send(self, file_id: str, content: bytes, now: datetime) -> Issuance:
        """Hand a request file over."""
        answer = await self._way.call("PUT", at(f"/v1/issue-requests/{file_id}", now), msgspec.Raw(content), safe=True)
        if answer.refused:
            return Issuance(state="refused", code=problem_of(answer, file_id))
        return _standing(answer, file_id)

    async def find(self, file_id: str, now: datetime) -> Issuance | None:
        """How a request stands."""
        answer = await self._way.call("GET", at(f"/v1/issue-requests/{file_id}", now), safe=True)
        return None if _missing(answer, file_id, "file_not_found") else _standing(answer, file_id)

    async def issued(self, file_id: str, now: datetime) -> bytes | None:
        """The issuer's file; who reads it sees which request it is for."""
        answer = await self._way.call("GET", at(f"/v1/issued-files/{file_id}", now), safe=True)
        return None if _missing(answer, file_id, "file_not_found", "file_not_ready") else answer.body

    async def lying(self) -> Sequence[str]:
        """None: the issuer keeps its files."""
        return ()

    async def remove(self, file_id: str) -> None:
        """It is the issuer's."""

    async def close(self) -> None:
        """Let the connections go."""
        if self._outbound is not None:
            await self._outbound.close()

    @property
    def _way(self) -> Outbound:
        return opened(self._outbound, FILES)


def _missing(answer: Answer, file_id: str, *codes: str) -> bool:
    if not answer.refused:
        return False
    if answer.status == NOT_FOUND and problem_of(answer, file_id) in codes:
        return True
    raise unfit(answer)


def _standing(answer: Answer, file_id: str) -> Issuance:
    if answer.refused:
        raise unfit(answer)
    told = answer.decode(_Standing)
    if told.id != file_id:
        raise unfit(answer)
    return Issuance(state=told.state, code=told.code)
