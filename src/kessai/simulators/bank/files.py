"""The simulated bank's desk for files: what is taken, what becomes of each line, and the feed that tells of it.

A file is taken once for its id. What becomes of its lines follows from the file, the fates that were theirs when it
came, and the accounts as they are then; so a line of the bank's own journal is one step of a whole file, however long.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from heapq import heapify, heappush
from typing import Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from kessai.foundation.calendar import next_business_day
from kessai.sdk import zengin
from kessai.simulators.bank.filing import EntryState, Filed, FiledLine, LineEntry, LineState, fated, line_id
from kessai.simulators.bank.lines import Account, Declined, FileFate, Line, LineFate, Words

CUT_OFF = time(15)
OPENING = time(9)
FATES_MAX = 10_000
_TOKYO = ZoneInfo("Asia/Tokyo")
_Fate = TypeVar("_Fate", LineFate, FileFate)


class Till(Protocol):
    """What the desk needs of the books: money, and where to write what it does."""

    client_balance: int

    def now(self) -> datetime:
        """Business time."""
        ...

    def write(self, line: Line) -> None:
        """Write a step down, and then take it."""
        ...

    def book(self, order_id: str, amount: int, words: Words, at: datetime, *, file_id: str, line: int) -> str:
        """Move the client's balance; gives the day in Tokyo."""
        ...

    def credit(self, account: Account, amount: int) -> None:
        """Move a holder's balance."""
        ...

    def wrong_with(self, account: Account) -> str | None:
        """Why nothing reaches an account."""
        ...

    def may_debit(self, account: Account, amount: int) -> str | None:
        """Why an account cannot be debited."""
        ...


class FileDesk:
    """Every file that the bank was handed."""

    def __init__(self, books: Till) -> None:
        self.files: dict[str, Filed] = {}
        self.feed: list[LineEntry] = []
        self._books = books
        self._contents: dict[str, str] = {}
        """The id of each content that was not refused."""
        self._orders = 0
        self._line_fates: list[LineFate] = []
        self._file_fates: list[FileFate] = []
        self._due: list[tuple[datetime, str, str]] = []

    # -- what clients do ----------------------------------------------------------------------------------------

    def take(self, file_id: str, content: bytes, refuse: str | None = None) -> Filed:
        """Take a file in, or refuse all of it with a code; the same id gives the same file.

        Raises Declined when it comes with other content.
        """
        known = self.files.get(file_id)
        if known is None:
            fate = _taken(self._file_fates, lambda each: each.about in (None, file_id)) or FileFate()
            line = Line(
                do="file",
                id=file_id,
                at=self._books.now(),
                content=content,
                file_fate=msgspec.structs.replace(fate, refuse=refuse or fate.refuse),
                line_fates=self._fates(file_id, content),
            )
            self._books.write(line)
            known = self.files[file_id]
        elif known.sha256 != _digest(content):
            raise Declined("id_reused", 409)
        return known

    def find(self, file_id: str) -> Filed:
        """A file; raises Declined `file_not_found`."""
        if (found := self.files.get(file_id)) is None:
            raise Declined("file_not_found", 404)
        return found

    def result_file(self, file_id: str) -> bytes:
        """A debit file with its results; raises Declined until there is one."""
        filed = self.find(file_id)
        if filed.kind != "debit" or not filed.closed:
            raise Declined("results_not_ready", 404)
        return filed.with_results()

    def line(self, name: str) -> tuple[Filed, FiledLine]:
        """A line by its own id; raises Declined `line_not_found`."""
        file_id, _, number = name.rpartition("-")
        filed = self.files.get(file_id)
        if filed is None or not re.fullmatch(r"[0-9]{6}", number) or not 0 < int(number) <= len(filed.lines):
            raise Declined("line_not_found", 404)
        return filed, filed.lines[int(number) - 1]

    def recall(self, name: str) -> None:
        """Call a line back; what becomes of it is an entry, once. Raises Declined."""
        filed, line = self.line(name)
        if line.number not in filed.recalls:
            self._books.write(Line(do="recall", id=filed.id, at=self._books.now(), line=line.number))

    # -- what is foreseen, and when it is due -------------------------------------------------------------------

    def foresee_line(self, fate: LineFate) -> None:
        """What is to become of the next lines that match; raises ValueError when there are too many."""
        _foreseen(self._line_fates, fate)

    def foresee_file(self, fate: FileFate) -> None:
        """What is to become of the next file that matches; raises ValueError when there are too many."""
        _foreseen(self._file_fates, fate)

    def say_again(self, file_id: str, number: int) -> None:
        """Put a line's last result into the feed once more; raises Declined."""
        _, line = self.line(line_id(file_id, number))
        if line.last is None:
            raise Declined("line_not_found", 404)
        self._books.write(Line(do="line_again", id=file_id, at=self._books.now(), line=number))

    @property
    def first_day(self) -> date | None:
        """The day in Tokyo on which the first file came."""
        first = next(iter(self.files.values()), None)
        return None if first is None else first.received_at.astimezone(_TOKYO).date()

    @property
    def due(self) -> datetime | None:
        """When the next step is due."""
        return self._due[0][0] if self._due else None

    def step(self) -> None:
        """Take the next step that is due."""
        at, file_id, what = self._due[0]
        self._books.write(Line(do="accept" if what == "accept" else "file_step", id=file_id, at=at))

    def _fates(self, file_id: str, content: bytes) -> dict[int, LineFate]:
        """The fates of lines that were foreseen; account numbers bring those of the others."""
        try:
            lines = _read(content, self._books.now()).lines
        except zengin.ZenginError:
            return {}
        found: dict[int, LineFate] = {}
        for number, said in enumerate(lines, start=1):
            if not self._line_fates:
                break
            fate = _taken(self._line_fates, lambda each, n=number, s=said: each.meets(file_id, n, s))
            if fate is not None:
                found[number] = fate
        return found

    # -- what was written ---------------------------------------------------------------------------------------

    def apply(self, line: Line) -> None:
        """Take a step that is written down."""
        match line.do:
            case "file":
                self._received(line)
            case "accept":
                self._forget((line.at, line.id, "accept"))
                self._accepted(self.files[line.id], line.at)
            case "file_step":
                self._forget((line.at, line.id, "step"))
                self._stepped(self.files[line.id], line.at)
            case "recall":
                filed = self.files[line.id]
                self._recalled(filed, filed.lines[line.line - 1], line.at)
            case "line_again":
                last = self.files[line.id].lines[line.line - 1].last
                assert last is not None
                self.feed.append(msgspec.structs.replace(last, position=len(self.feed) + 1))
            case _:
                raise AssertionError(line.do)

    def _received(self, line: Line) -> None:
        filed = Filed(
            id=line.id,
            sha256=_digest(line.content),
            received_at=line.at,
            fate=line.file_fate or FileFate(),
            said=None,
            lines=[],
        )
        self.files[line.id] = filed
        try:
            filed.said = _read(line.content, line.at)
        except zengin.ZenginError as no:
            filed.code, filed.line, filed.position = no.code, no.line, no.position
        else:
            filed.lines = [self._filed(n, said, line.line_fates) for n, said in enumerate(filed.said.lines, start=1)]
            filed.duplicate_of = self._contents.get(filed.sha256)
            filed.code = filed.fate.refuse or _untimely(filed) or ("duplicate_file" if filed.duplicate_of else None)
        if filed.code is None:
            self._contents[filed.sha256] = filed.id
        at = line.at + timedelta(seconds=filed.fate.after_s)
        if filed.fate.after_s:
            heappush(self._due, (at, filed.id, "accept"))
        else:
            self._accepted(filed, at)

    def _filed(self, number: int, said: zengin.Line, fates: dict[int, LineFate]) -> FiledLine:
        self._orders += 1
        fate = fates.get(number) or fated(said.account_number)
        return FiledLine(number=number, said=said, fate=fate, order_number=f"F{self._orders:09d}")

    def _accepted(self, filed: Filed, at: datetime) -> None:
        filed.state = "accepted" if filed.code is None else "refused"
        self._tell_file(filed, filed.state, _told_code(filed), at)
        if filed.state == "refused":
            return
        for line in filed.lines:
            if line.fate.state == "refused":
                line.state, line.code = "refused", line.fate.code or "other"
            self._tell(filed, line, line.state, at)
        assert filed.day is not None
        self._plan(filed, max(at, _moment(filed.day, OPENING)))

    def _stepped(self, filed: Filed, at: datetime) -> None:
        """Whatever is due of a file at a moment, line by line."""
        if any(line.state == "accepted" for line in filed.lines):
            self._begun(filed, at)
        for line in filed.lines:
            if line.state == "processing" and line.ended_at == at:
                self._ended(filed, line, at)
            elif line.state == "done" and _returns_at(filed, line) == at:
                state: LineState = "recalled" if line.fate.state == "recalled" else "returned"
                self._come_back(filed, line, state, line.fate.code or _because(state), at)
        self._close(filed, at)

    def _begun(self, filed: Filed, at: datetime) -> None:
        """The file's day has come. A debit file comes back whole, when the last of its lines has ended."""
        begun = [line for line in filed.lines if line.state == "accepted"]
        longest = max(line.fate.after_s for line in begun)
        for line in begun:
            after_s = longest if filed.kind == "debit" else line.fate.after_s
            line.state, line.ended_at = "processing", at + timedelta(seconds=after_s)
            if after_s:
                self._plan(filed, line.ended_at)

    def _ended(self, filed: Filed, line: FiledLine, at: datetime) -> None:
        """A line is done, which moves money, or has failed, which does not."""
        amount, on = line.said.amount, None
        line.code = self._failure(filed, line)
        line.state = "failed" if line.code else "done"
        if line.state == "done":
            taken, words = (amount, "file debit") if filed.kind == "debit" else (-amount, "file transfer")
            self._books.credit(line.account, -taken)
            on = self._book(filed, line, taken, words, at)
        if filed.kind == "transfer":
            self._tell(filed, line, line.state, at, on)
        if (returns_at := _returns_at(filed, line)) is not None:
            self._plan(filed, returns_at)

    def _failure(self, filed: Filed, line: FiledLine) -> str | None:
        """Why a line fails, now that its time has come; None when it is done."""
        if line.fate.state == "failed":
            return line.fate.code or "other"
        if filed.kind == "debit":
            return self._books.may_debit(line.account, line.said.amount)
        if line.said.amount > self._books.client_balance:
            return "insufficient_funds"
        return self._books.wrong_with(line.account)

    def _recalled(self, filed: Filed, line: FiledLine, at: datetime) -> None:
        may = filed.kind == "transfer" and filed.state == "accepted" and line.state in ("accepted", "done")
        comes = filed.recalls[line.number] = may and line.fate.recall == "done"
        if comes:
            self._come_back(filed, line, "recalled", "recalled", at)
            self._close(filed, at)
        else:
            self._tell(filed, line, "recall_refused", at)

    def _come_back(self, filed: Filed, line: FiledLine, state: LineState, code: str, at: datetime) -> None:
        """A transfer's amount comes back, if it had left."""
        on = None
        if line.state == "done":
            words: Words = "recalled file transfer" if state == "recalled" else "returned file transfer"
            self._books.credit(line.account, -line.said.amount)
            on = self._book(filed, line, line.said.amount, words, at)
        line.state, line.code = state, code
        self._tell(filed, line, state, at, on)

    def _book(self, filed: Filed, line: FiledLine, amount: int, words: Words, at: datetime) -> str:
        name = line_id(filed.id, line.number)
        return self._books.book(name, amount, words, at, file_id=filed.id, line=line.number)

    def _plan(self, filed: Filed, at: datetime) -> None:
        """Come back to a file then; once for all of its lines."""
        if (at, filed.id, "step") not in self._due:
            heappush(self._due, (at, filed.id, "step"))

    def _forget(self, due: tuple[datetime, str, str]) -> None:
        self._due.remove(due)
        heapify(self._due)

    def _close(self, filed: Filed, at: datetime) -> None:
        if filed.closed or any(line.state in ("accepted", "processing") for line in filed.lines):
            return
        filed.closed = True
        if filed.kind == "debit":
            self._tell_file(filed, "results", None, at, at.astimezone(_TOKYO).date().isoformat())

    def _tell_file(
        self, filed: Filed, state: EntryState, code: str | None, at: datetime, on: str | None = None
    ) -> None:
        position = len(self.feed) + 1
        self.feed.append(LineEntry(position=position, file_id=filed.id, line=0, state=state, code=code, at=at, on=on))

    def _tell(self, filed: Filed, line: FiledLine, state: EntryState, at: datetime, on: str | None = None) -> None:
        said = line.said
        line.last = LineEntry(
            position=len(self.feed) + 1,
            file_id=filed.id,
            line=line.number,
            customer_code_1=said.customer_code_1,
            customer_code_2=said.customer_code_2,
            edi=said.edi,
            amount=said.amount,
            state=state,
            code=line.code,
            number=line.order_number,
            at=at,
            on=on,
        )
        self.feed.append(line.last)


def _because(state: LineState) -> str:
    """Why a line came back of which no more was foreseen."""
    return "recalled" if state == "recalled" else "account_closed"


def _told_code(filed: Filed) -> str | None:
    """Why a file was refused, in the words of the feed; its standing says where it cannot be read."""
    if filed.position is None:
        return filed.code
    return "total_differs" if filed.code in ("count_differs", "total_differs") else "unreadable"


def _read(content: bytes, at: datetime) -> zengin.File:
    return zengin.read(content, near=at.astimezone(_TOKYO).date(), slash=True)


def _untimely(filed: Filed) -> str | None:
    """Why a file does not come in time."""
    assert filed.day is not None
    return "late" if filed.received_at >= _moment(filed.day, CUT_OFF) else None


def _moment(day: date, clock: time) -> datetime:
    return datetime.combine(day, clock, _TOKYO)


def _returns_at(filed: Filed, line: FiledLine) -> datetime | None:
    """When a line that is done comes back; None when it does not."""
    comes_back = filed.kind == "transfer" and line.fate.state in ("returned", "recalled")
    if line.state != "done" or line.ended_at is None or not comes_back:
        return None
    back_on = next_business_day(line.ended_at.astimezone(_TOKYO).date(), line.fate.return_after_days)
    return _moment(back_on, OPENING)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _foreseen(fates: list[_Fate], fate: _Fate) -> None:
    if len(fates) >= FATES_MAX:
        raise ValueError("too many fates")
    fates.append(fate)


def _taken(fates: list[_Fate], meets: Callable[[_Fate], bool]) -> _Fate | None:
    """The first fate that matches, and one time less of it."""
    for index, fate in enumerate(fates):
        if meets(fate):
            if fate.times == 1:
                del fates[index]
            elif fate.times > 1:
                fates[index] = msgspec.structs.replace(fate, times=fate.times - 1)
            return fate
    return None
