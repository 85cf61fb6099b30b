"""The processor's clearing files, its totals and its records of authorizations. All is read; nothing has an effect.

Each method raises NotSent, when the processor was not reached, or Unanswered, when its answer is no use: ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

import msgspec

from kessai.foundation.outbound import Answer, Destination, Outbound, Unanswered
from kessai.services.nfc.domain.reconciling import TheirFigure, TheirRecord, TheirTotals
from kessai.services.nfc.gateways.words import FILES, NOT_FOUND, at, opened, problem_of, unfit

RECORDS_AT_ONCE = 500
_BEYOND_ANY_SIZE, _OK = "answer_unreadable", 200
"""What the way says of a body that is longer than FILE_BYTES_MAX; of a file nothing else is read there."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that the processor has for us."""

    file_id: str
    sequence: int
    sha256: bytes


class FileTooLarge(Exception):
    """A clearing file is larger than any may be: it is not read."""


class ClearingNetwork(Protocol):
    """What the service needs of a processor for clearing."""

    @property
    def configured(self) -> bool:
        """Whether there is a processor to ask."""
        ...

    async def files_after(self, sequence: int, now: datetime) -> Sequence[ListedFile]:
        """Files beyond a sequence, in its order."""
        ...

    async def file(self, file_id: str, now: datetime) -> bytes | None:
        """A file's bytes; None when there is none under that id (any more). Raises FileTooLarge."""
        ...

    async def totals(self, day: date, now: datetime) -> TheirTotals:
        """What the processor says that a day comes to."""
        ...

    async def records(self, keys: Sequence[str], now: datetime) -> dict[str, TheirRecord]:
        """The authorizations under these keys (at most RECORDS_AT_ONCE), as the processor has them; one that it does
        not know is left out."""
        ...

    async def records_after(self, position: int, now: datetime) -> Sequence[TheirRecord]:
        """Its authorizations beyond a position, oldest first, RECORDS_AT_ONCE at most."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...


class _File(msgspec.Struct, frozen=True):
    id: str
    sequence: int
    sha256: str


class _Files(msgspec.Struct, frozen=True):
    files: list[_File]


class _Figure(msgspec.Struct, frozen=True):
    count: int
    amount: int


class _Totals(msgspec.Struct, frozen=True):
    date: date
    closed: bool
    authorized: _Figure
    declined: _Figure
    reversed: _Figure
    sales: _Figure
    refunds: _Figure
    reversals: _Figure
    net: int


class _Record(msgspec.Struct, frozen=True):
    key: str
    kind: str
    processing: str
    state: str
    approved: bool
    amount: int
    reversed: int
    at: datetime


class _Records(msgspec.Struct, frozen=True):
    records: list[_Record]
    ids: list[str] = []
    after: int = -1


class HttpClearing:
    """A processor over HTTP; the simulated card network is one. `destination`: the way for files."""

    def __init__(self, destination: Destination | None) -> None:
        self._outbound = None if destination is None else Outbound(destination)

    @property
    def configured(self) -> bool:
        """Whether there is a processor to ask."""
        return self._outbound is not None

    async def files_after(self, sequence: int, now: datetime) -> Sequence[ListedFile]:
        """Files beyond a sequence."""
        answer = await self._get(at("/v1/clearing-files", now, after=sequence))
        found = answer.decode(_Files).files
        try:
            listed = [ListedFile(each.id, each.sequence, bytes.fromhex(each.sha256)) for each in found]
        except ValueError as error:
            raise unfit(answer) from error
        if any(each.sequence <= sequence for each in listed):
            raise unfit(answer)
        return sorted(listed, key=lambda each: each.sequence)

    async def file(self, file_id: str, now: datetime) -> bytes | None:
        """A file's bytes."""
        try:
            answer = await self._way.call("GET", at(f"/v1/clearing-files/{file_id}", now), safe=True)
        except Unanswered as error:
            if error.code == _BEYOND_ANY_SIZE and error.details.get("status") == _OK:
                raise FileTooLarge(file_id) from error
            raise
        if not answer.refused:
            return answer.body
        if answer.status == NOT_FOUND and problem_of(answer, file_id) == "file_not_found":
            return None
        raise unfit(answer)

    async def totals(self, day: date, now: datetime) -> TheirTotals:
        """A day's totals."""
        answer = await self._get(at(f"/v1/totals/{day.isoformat()}", now))
        told = answer.decode(_Totals)
        if told.date != day:
            raise unfit(answer)
        figures = {
            name: TheirFigure(figure.count, figure.amount)
            for name in ("authorized", "declined", "reversed", "sales", "refunds", "reversals")
            for figure in [getattr(told, name)]
        }
        lines = told.sales.count + told.refunds.count + told.reversals.count
        return TheirTotals(closed=told.closed, figures={**figures, "net": TheirFigure(lines, told.net)})

    async def records(self, keys: Sequence[str], now: datetime) -> dict[str, TheirRecord]:
        """The authorizations under these keys."""
        asked = list(keys)
        answer = await self._way.call("POST", at("/v1/records", now), {"ids": asked}, safe=True)
        told = _decoded(answer, _Records)
        if told.ids != asked:
            raise unfit(answer)
        return {each.key: _record(each) for each in told.records}

    async def records_after(self, position: int, now: datetime) -> Sequence[TheirRecord]:
        """Its authorizations beyond a position."""
        answer = await self._get(at("/v1/records", now, after=position, limit=RECORDS_AT_ONCE))
        told = answer.decode(_Records)
        if told.after != position:
            raise unfit(answer)
        return [_record(each) for each in told.records]

    async def close(self) -> None:
        """Let the connections go."""
        if self._outbound is not None:
            await self._outbound.close()

    async def _get(self, path: str) -> Answer:
        answer = await self._way.call("GET", path, safe=True)
        if answer.refused:
            raise unfit(answer)
        return answer

    @property
    def _way(self) -> Outbound:
        return opened(self._outbound, FILES)


def _decoded(answer: Answer, kind: type[_Records]) -> _Records:
    if answer.refused:
        raise unfit(answer)
    return answer.decode(kind)


def _record(told: _Record) -> TheirRecord:
    return TheirRecord(
        key=told.key,
        state=told.state,
        approved=told.approved,
        purchase=told.processing == "purchase",
        amount_minor=told.amount,
        stands_minor=told.amount - told.reversed if told.approved else 0,
        at=told.at,
    )
