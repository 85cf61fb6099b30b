"""Hearing what the bank tells of files: each entry becomes a step of its line and of its instruction, once.

Entries, steps, events and how far we have read are written in one transaction. What fits no line, or contradicts what
is known, is set aside and listed; nothing is changed by it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from typing import TypeVar

import structlog
from msgspec.structs import replace

from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.events import wake
from kessai.sdk import zengin
from kessai.services.bank import store
from kessai.services.bank.api import BankFile, FileLine, FileState, Instruction, LineState
from kessai.services.bank.domain import (
    AT_BANK,
    ENDED,
    RESULT_CODES,
    Change,
    FileEntry,
    LineChange,
    Unmatched,
    advanced,
    is_retried,
    judged,
    misfit_of_file,
    recall_of_refused,
    refusal_of,
    report_of,
)
from kessai.services.bank.gateways import FileEntries
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.instructing import Overtaken, write_steps

T = TypeVar("T")

log = structlog.get_logger(__name__)

OVERTAKEN_MAX = 8
READ_ATTEMPTS_MAX = 3
_OURS = re.compile(r"btf_[0-9a-f]{32}")


async def collect_files(deps: Deps) -> int:
    """Read what the bank tells of files to its end; gives how many entries were new."""
    heard, overtaken = 0, 0
    while deps.files.configured and overtaken < OVERTAKEN_MAX:
        was = await deps.database.transaction(store.ROLE, file_store.files_position)
        told = await deps.files.entries(was, deps.clock.now())
        if not told.entries:
            break
        try:
            await _take(deps, told, was)
        except Overtaken:
            overtaken += 1  # another process has read on, or something was just changed: look again
        else:
            heard, overtaken = heard + len(told.entries), 0
    return heard


async def recover_results(deps: Deps, day: date) -> int:
    """Ask for the result files of debits of days up to one that were told of, and could not be had then; gives how many
    files have come to an end by it."""
    closed = 0
    for file in await file_store.open_debit_files(deps.database, day):
        try:
            content = await _result_file(deps, file.file_id)
        except (Unavailable, Unknown):
            continue  # it is not there yet: that it is, we are told
        entry = FileEntry(position=0, file_id=file.file_id, line=0, word="results")

        async def write(connection: Connection, entry: FileEntry = entry, content: bytes = content) -> bool:
            hearing = Hearing(deps.clock.now())
            await hearing.load(connection, [entry])
            hearing.hear(entry, content)
            await hearing.write(deps, connection)
            return hearing.changed

        closed += await deps.database.transaction(store.ROLE, write)
    wake(deps.database, store.SCHEMA.service)
    return closed


async def count_told(deps: Deps) -> int:
    """How many entries the bank has for us that we have not heard; writes nothing."""
    after, heard = await deps.database.transaction(store.ROLE, file_store.files_position), 0
    while deps.files.configured and (told := await deps.files.entries(after, deps.clock.now())).entries:
        heard, after = heard + len(told.entries), told.position
    return heard


async def _take(deps: Deps, told: FileEntries, was: int) -> None:
    results = [each for each in told.entries if _is_result(each)]
    contents = {each.position: await _content(deps, each) for each in results}

    async def write(connection: Connection) -> None:
        now = deps.clock.now()
        if not await file_store.move_files(connection, was, told.position):
            raise Overtaken
        hearing = Hearing(now)
        await hearing.load(connection, told.entries)
        for entry in told.entries:
            hearing.hear(entry, contents.get(entry.position))
        await hearing.write(deps, connection)

    await deps.database.transaction(store.ROLE, write)
    wake(deps.database, store.SCHEMA.service)


def _is_result(entry: FileEntry) -> bool:
    return entry.line == 0 and entry.word == "results" and _OURS.fullmatch(entry.file_id) is not None


async def _content(deps: Deps, entry: FileEntry) -> bytes | None:
    try:
        return await _result_file(deps, entry.file_id)
    except Unknown:
        log.exception("bank_result_file_unread", file_id=entry.file_id)
        return None


async def _result_file(deps: Deps, file_id: str) -> bytes:
    """A result file; asked for again where it makes no sense: it says nothing of which file it is."""
    content = b""
    for _ in range(READ_ATTEMPTS_MAX):
        content = await deps.files.results(file_id)
        try:
            zengin.read(content)
        except zengin.ZenginError:
            continue
        break
    return content


class Hearing:
    """A page of entries, taken one after the other; then everything that follows from them is written at once."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._files: dict[str, BankFile] = {}
        self._lines: dict[tuple[str, int], FileLine] = {}
        self._touched: set[str] = set()
        self._changes: list[LineChange] = []
        self._unmatched: list[Unmatched] = []

    @property
    def changed(self) -> bool:
        """Whether any line took a step."""
        return bool(self._changes)

    async def load(self, connection: Connection, entries: Iterable[FileEntry]) -> None:
        """Files and lines that entries are about; every line of a file that one tells of as a whole."""
        ours = [each for each in entries if _OURS.fullmatch(each.file_id)]
        self._files = await file_store.load_files(connection, {each.file_id for each in ours})
        places = {(each.file_id, each.line) for each in ours if each.line}
        self._lines = await file_store.load_lines(connection, places)
        for file_id in {each.file_id for each in ours if not each.line and each.word in ("refused", "results")}:
            if (file := self._files.get(file_id)) is not None:
                lines = await file_store.lines_of(connection, file_id, 0, file.lines)
                self._lines |= {(each.file_id, each.line): each for each in lines}

    # -- what an entry does -------------------------------------------------------------------------------------

    def hear(self, entry: FileEntry, content: bytes | None = None) -> None:
        """What one entry makes of its file or line."""
        if entry.line:
            self._apply(entry)
            return
        file = self._files.get(entry.file_id)
        if file is None or file.state not in (*AT_BANK, FileState.REFUSED):
            self._set_aside(entry, "unknown_file" if file is None else "not_sent")
        elif entry.word == "accepted":
            if file.state in (FileState.SENDING, FileState.SENT):
                self._change_file(replace(file, state=FileState.ACCEPTED, sent_at=file.sent_at or self._now))
        elif entry.word == "refused":
            self._refuse(file, entry)
        elif entry.word == "results":
            self._settle(file, entry, content)
        else:
            self._set_aside(entry, "unknown_word")

    def _apply(self, entry: FileEntry, part: int = 0) -> None:
        place = (entry.file_id, entry.line)
        found = judged(self._files.get(entry.file_id), self._lines.get(place), entry, self._now)
        if isinstance(found, str):
            self._set_aside(entry, found, part)
        elif found is not None:
            self._change_line(found)

    def _refuse(self, file: BankFile, entry: FileEntry) -> None:
        """The bank did not take the whole file: none of its lines."""
        if file.state is FileState.REFUSED:
            return
        if file.state not in (FileState.SENDING, FileState.SENT):
            self._set_aside(entry, "contradicts")
            return
        code = refusal_of(entry.code)
        for line in self._of(file):
            if line.state in (LineState.APPROVED, LineState.SENT):
                after = replace(
                    line,
                    state=LineState.REFUSED,
                    failure_code=code,
                    recall=recall_of_refused(line),
                    version=line.version + 1,
                    updated_at=self._now,
                )
                self._change_line(LineChange(after, line.state))
        self._change_file(replace(self._files[file.file_id], state=FileState.REFUSED, code=entry.code or "not_taken"))

    def _settle(self, file: BankFile, entry: FileEntry, content: bytes | None) -> None:
        """A debit file has come back, with a result in each of its lines."""
        try:
            told = zengin.read(content or b"", near=file.transfer_on)
        except zengin.ZenginError as error:
            log.error("bank_result_file_unread", file_id=file.file_id, line=error.line, code=error.code)
            self._set_aside(entry, "result_file_unreadable")
            return
        if (reason := misfit_of_file(file, told)) is not None:
            self._set_aside(entry, reason)
            return
        for number, record in enumerate(told.lines, 1):
            self._apply(_result_of(entry, number, record), number)
        trailer = told.trailer
        counted = replace(
            self._files[file.file_id],
            paid_lines=trailer.settled_count,
            paid_minor=trailer.settled_total,
            unpaid_lines=trailer.failed_count,
            unpaid_minor=trailer.failed_total,
        )
        if counted != self._files[file.file_id]:
            self._change_file(counted)

    def _of(self, file: BankFile) -> list[FileLine]:
        return [line for (file_id, _), line in self._lines.items() if file_id == file.file_id]

    def _change_file(self, after: BankFile) -> None:
        self._files[after.file_id] = after
        self._touched.add(after.file_id)

    def _change_line(self, change: LineChange) -> None:
        line = change.line
        self._lines[line.file_id, line.line] = line
        self._changes.append(change)
        if line.state in ENDED and change.was not in ENDED:
            file = self._files[line.file_id]
            left = file.open_lines - 1
            state = FileState.CLOSED if not left else file.state
            self._change_file(replace(file, open_lines=left, state=state, sent_at=file.sent_at or self._now))

    def _set_aside(self, entry: FileEntry, reason: str, part: int = 0) -> None:
        log.error(
            "bank_result_unmatched", file_id=entry.file_id, line=entry.line, position=entry.position, reason=reason
        )
        self._unmatched.append(Unmatched(entry, reason, part))

    # -- writing ------------------------------------------------------------------------------------------------

    async def write(self, deps: Deps, connection: Connection) -> None:
        """Everything that follows; raises Overtaken where something has changed meanwhile (then roll back)."""
        for wave in _waves(self._changes, lambda each: (each.line.file_id, each.line.line)):
            if not await file_store.write_lines(connection, wave):
                raise Overtaken
        await self._write_instructions(deps, connection)
        files = [
            replace(each, version=each.version + 1) for each in map(self._files.__getitem__, sorted(self._touched))
        ]
        if files and not await file_store.write_files(connection, files, store.SCHEMA.service, self._now):
            raise Overtaken
        if told := [each for each in self._unmatched if each.entry.position]:
            await file_store.note_unmatched(connection, told, self._now)

    async def _write_instructions(self, deps: Deps, connection: Connection) -> None:
        ids = {each.line.instruction_id for each in self._changes}
        known = {each.instruction_id: each for each in await store.load_instructions(connection, sorted(ids))}
        changes: list[Change] = []
        again: list[FileLine] = []
        for each in self._changes:
            if each.line.state is each.was:  # only its recall
                continue
            if is_retried(each.line, deps.terms.retry):
                again.append(each.line)
                continue
            change = advanced(known[each.line.instruction_id], report_of(each.line), self._now)
            if change is not None:
                known[each.line.instruction_id] = change.instruction
                changes.append(change)
        for wave in _waves(changes, lambda each: each.instruction.instruction_id):
            if not await write_steps(deps, connection, wave):
                raise Overtaken
        await self._requeue(deps, connection, again, known)

    async def _requeue(
        self, deps: Deps, connection: Connection, lines: Sequence[FileLine], known: dict[str, Instruction]
    ) -> None:
        """Lines that the bank did not take go into the next file that can still be made."""
        by_file: dict[str, list[FileLine]] = defaultdict(list)
        for each in lines:
            by_file[each.file_id].append(each)
        for file_id, group in by_file.items():
            file = self._files[file_id]
            day = deps.terms.day_for(file.kind, file.transfer_on, self._now)
            if await file_store.requeue(connection, group, file.kind, day, sent=True) != len(group):
                states = [known[each.instruction_id].state for each in group]
                log.error("bank_line_not_retried", file_id=file_id, states=states)


def _result_of(entry: FileEntry, number: int, record: zengin.Line) -> FileEntry:
    """A record of a result file, in the words of the other entries."""
    assert record.result is not None, "a file without results is set aside"
    code = RESULT_CODES.get(record.result)
    return FileEntry(
        position=entry.position,
        file_id=entry.file_id,
        line=number,
        codes=(record.customer_code_1, record.customer_code_2),
        amount_minor=record.amount,
        word="done" if record.result == zengin.DebitResult.PAID else "failed",
        code=code and code.value,
        booked_on=entry.booked_on if record.result == zengin.DebitResult.PAID else None,
    )


def _waves(changes: Iterable[T], place: Callable[[T], object]) -> list[list[T]]:
    """Changes in rounds that have each place once, in their order: a statement changes a row once."""
    waves: list[list[T]] = []
    met: dict[object, int] = defaultdict(int)
    for each in changes:
        number = met[place(each)]
        met[place(each)] += 1
        if number == len(waves):
            waves.append([])
        waves[number].append(each)
    return waves
