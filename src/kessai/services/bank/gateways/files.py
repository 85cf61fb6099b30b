"""What the service needs of a bank that takes files, and the words in which the bank tells of them.

A file goes under our own id, and is taken once for it however often it comes. `send` and `recall` raise NotSent, when
nothing was done, or Unanswered: inquire with `find`, or ask again under the same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

import msgspec
import structlog

from kessai.foundation.errors import Unavailable
from kessai.foundation.outbound import Unanswered
from kessai.services.bank.api import FileLine
from kessai.services.bank.domain import FileEntry, line_id

log = structlog.get_logger(__name__)

NAME = "bank"
ENTRIES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class FileEntries:
    """What the bank tells of files, and the position after it."""

    entries: Sequence[FileEntry]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BankLine:
    """One line of the statement of our account; outgoing money is negative."""

    position: int
    bank_id: str
    """An online instruction's own id, or a file line's (`line_id`); anything else is nothing of ours."""
    amount_minor: int
    balance_minor: int
    """After it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankStatement:
    """A day of our account."""

    day: date
    opening_minor: int
    closing_minor: int
    lines: Sequence[BankLine] = field(default=())


class BankFiles(Protocol):
    """A bank that takes files."""

    @property
    def configured(self) -> bool:
        """Whether there is one at all."""
        ...

    async def send(self, file_id: str, content: bytes, at: datetime) -> None:
        """Hand a file over, under its id, as of business time `at`; handing over the same again changes nothing."""
        ...

    async def find(self, file_id: str) -> str | None:
        """The SHA-256 (hexadecimal) of what the bank has under an id, None when it never saw it; without effect."""
        ...

    async def entries(self, after: int, at: datetime) -> FileEntries:
        """What the bank tells of files beyond a position, as of business time `at`; without effect."""
        ...

    async def results(self, file_id: str) -> bytes:
        """The result file of a debit file; without effect."""
        ...

    async def recall(self, line: FileLine) -> bool:
        """組戻依頼: ask for a transfer to be called back, under its line's id; False when the bank has no such line."""
        ...

    async def statement(self, day: date, at: datetime) -> BankStatement | None:
        """A day of our account, None while it is not over there; without effect."""
        ...

    async def close(self) -> None:
        """Let go of what is held open."""
        ...


class NoFiles:
    """No bank that takes files: everything waits."""

    @property
    def configured(self) -> bool:
        """Never."""
        return False

    async def send(self, file_id: str, content: bytes, at: datetime) -> None:
        """Not possible."""
        raise _none(file_id, len(content), at)

    async def find(self, file_id: str) -> str | None:
        """Not possible."""
        raise _none(file_id)

    async def entries(self, after: int, at: datetime) -> FileEntries:
        """Not possible."""
        raise _none(after, at)

    async def results(self, file_id: str) -> bytes:
        """Not possible."""
        raise _none(file_id)

    async def recall(self, line: FileLine) -> bool:
        """Not possible."""
        raise _none(line.file_id)

    async def statement(self, day: date, at: datetime) -> BankStatement | None:
        """Not possible."""
        raise _none(day, at)

    async def close(self) -> None:
        """Nothing is open."""


def _none(*_: object) -> Unavailable:
    return Unavailable("bank_unavailable", "No bank that takes files is configured.")


# -- the bank's own words ---------------------------------------------------------------------------------------


class EntryWords(msgspec.Struct, frozen=True):
    """An entry as the bank writes it."""

    position: int
    file_id: str
    line: int
    state: str
    amount: int = 0
    customer_code_1: str = ""
    customer_code_2: str = ""
    code: str | None = None
    number: str = ""
    on: date | None = None


class EntriesWords(msgspec.Struct, frozen=True):
    """A page of entries as the bank writes it."""

    entries: list[EntryWords]
    after: int = 0


class LineWords(msgspec.Struct, frozen=True):
    """A line of a statement as the bank writes it."""

    position: int
    id: str
    amount: int
    balance: int


class StatementWords(msgspec.Struct, frozen=True):
    """A day's statement as the bank writes it."""

    date: date
    opening: int
    closing: int
    lines: list[LineWords]


class RecallWords(msgspec.Struct, frozen=True):
    """What is called back, as the bank reads it."""

    id: str
    customer_code_1: str
    customer_code_2: str
    amount: int


def entries_of(told: Sequence[EntryWords], after: int) -> FileEntries:
    """A page in our own words."""
    entries = [
        FileEntry(
            position=each.position,
            file_id=each.file_id,
            line=each.line,
            codes=(each.customer_code_1, each.customer_code_2),
            amount_minor=each.amount,
            word=each.state,
            code=each.code,
            booked_on=each.on,
        )
        for each in told
    ]
    return FileEntries(entries, max([after, *(each.position for each in entries)]))


def statement_of(told: StatementWords) -> BankStatement:
    """A day in our own words."""
    lines = [
        BankLine(position=each.position, bank_id=each.id, amount_minor=each.amount, balance_minor=each.balance)
        for each in told.lines
    ]
    return BankStatement(day=told.date, opening_minor=told.opening, closing_minor=told.closing, lines=lines)


def recall_of(line: FileLine) -> RecallWords:
    """What the bank has to know of a line that is called back."""
    return RecallWords(line_id(line.file_id, line.line), line.customer_code_1, line.customer_code_2, line.amount_minor)


def unreadable(what: str) -> Unanswered:
    """An answer that says nothing is no answer."""
    return Unanswered("answer_unreadable", f"The bank gave {what} that cannot be read.", destination=NAME)
