"""`HttpFiles`: a bank that takes files over HTTP; the simulator is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from kessai.foundation.errors import KeyReused
from kessai.foundation.outbound import Answer, Destination, NotSent, Outbound
from kessai.services.bank.api import FileLine
from kessai.services.bank.gateways.files import (
    ENTRIES_AT_ONCE,
    NAME,
    BankStatement,
    EntriesWords,
    FileEntries,
    StatementWords,
    entries_of,
    recall_of,
    statement_of,
    unreadable,
)

T = TypeVar("T")

NOT_FOUND, CONFLICT = 404, 409
TIMEOUT_S = 30.0
CALLS_MAX = 4
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""A day's statement, or the result of a file of 999,999 lines."""


class _Problem(msgspec.Struct, frozen=True):
    code: str
    id: str


class _Received(msgspec.Struct, frozen=True):
    id: str


class _Found(msgspec.Struct, frozen=True):
    id: str
    sha256: str


def files_destination(online: Destination) -> Destination:
    """The way for files to a bank that is also spoken to online: slower, larger, with slots of its own."""
    headers = {**online.headers, "content-type": "application/octet-stream"}
    return replace(
        online,
        name="bank-files",
        headers=headers,
        timeout_s=max(online.timeout_s, TIMEOUT_S),
        concurrency_max=CALLS_MAX,
        answer_bytes_max=ANSWER_BYTES_MAX,
    )


class HttpFiles:
    """Files over HTTP."""

    def __init__(self, destination: Destination | None) -> None:
        self._open_way = None if destination is None else Outbound(destination)

    @property
    def configured(self) -> bool:
        """Whether there is a bank at all."""
        return self._open_way is not None

    async def send(self, file_id: str, content: bytes, at: datetime) -> None:
        """Hand a file over, under its id."""
        query = urlencode({"at": at.isoformat()})
        answer = await self._way.call("PUT", f"/v1/files/{file_id}?{query}", msgspec.Raw(content))
        if answer.status == CONFLICT and _problem(answer, file_id):
            raise KeyReused
        if _understood(answer, _Received).id != file_id:
            raise unreadable("an answer")

    async def find(self, file_id: str) -> str | None:
        """The digest of what the bank has under an id, None when it never saw it."""
        answer = await self._way.call("GET", f"/v1/files/{file_id}", safe=True)
        if answer.status == NOT_FOUND and _problem(answer, file_id) == "file_not_found":
            return None
        found = _understood(answer, _Found)
        if found.id != file_id:
            raise unreadable("an answer")
        return found.sha256

    async def entries(self, after: int, at: datetime) -> FileEntries:
        """What the bank tells of files beyond a position."""
        query = urlencode({"after": after, "limit": ENTRIES_AT_ONCE, "at": at.isoformat()})
        told = _understood(await self._way.call("GET", f"/v1/file-entries?{query}", safe=True), EntriesWords)
        if told.after != after:
            raise unreadable("an answer")
        return entries_of(told.entries, after)

    async def results(self, file_id: str) -> bytes:
        """The result file of a debit file."""
        answer = await self._way.call("GET", f"/v1/files/{file_id}/results", safe=True)
        if answer.refused:
            raise unreadable("no result file")
        return answer.body

    async def recall(self, line: FileLine) -> bool:
        """Ask for a transfer to be called back."""
        words = recall_of(line)
        answer = await self._way.call("PUT", f"/v1/recalls/{words.id}", words)
        if answer.status == NOT_FOUND and _problem(answer, words.id) == "line_not_found":
            return False
        if _understood(answer, _Received).id != words.id:
            raise unreadable("an answer")
        return True

    async def statement(self, day: date, at: datetime) -> BankStatement | None:
        """A day of our account, None while it is not over there."""
        query = urlencode({"at": at.isoformat()})
        answer = await self._way.call("GET", f"/v1/statements/{day.isoformat()}?{query}", safe=True)
        if answer.status == NOT_FOUND and _problem(answer, day.isoformat()) == "statement_not_ready":
            return None
        told = _understood(answer, StatementWords)
        if told.date != day:
            raise unreadable("a statement")
        return statement_of(told)

    async def close(self) -> None:
        """Let the connections go."""
        if self._open_way is not None:
            await self._open_way.close()

    @property
    def _way(self) -> Outbound:
        if self._open_way is None:
            raise NotSent("destination_unreachable", "No bank is configured.", destination=NAME)
        return self._open_way


def _understood(answer: Answer, kind: type[T]) -> T:
    if answer.refused:
        raise unreadable("an answer")
    return answer.decode(kind)


def _problem(answer: Answer, about: str) -> str:
    """The code of a refusal, which has to name what it is about."""
    problem = answer.decode(_Problem)
    if problem.id != about:
        raise unreadable("an answer")
    return problem.code
