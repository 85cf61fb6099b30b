"""Files to the bank: shown, approved by different persons' keys, rejected; transfers called back; what does not fit."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import TOKYO, Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused, Unavailable
from kessai.foundation.events import wake
from kessai.foundation.ids import bare
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Engine
from kessai.services.bank import store
from kessai.services.bank.api import (
    ApproveFile,
    BankFile,
    BankFiles,
    FailureCode,
    FileLine,
    FileLines,
    FileState,
    GetFile,
    GetLineHistory,
    Instruction,
    InstructionState,
    LineHistory,
    LineState,
    ListFileLines,
    ListFiles,
    ListUnmatched,
    RecallInstruction,
    RecallState,
    RejectFile,
    UnmatchedResults,
)
from kessai.services.bank.domain import AT_BANK, UNSENT, LineChange, Report, advanced
from kessai.services.bank.gateways.persons import Persons
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows import (
    Deps,
    FileOrder,
    Overtaken,
    RecallOrder,
    discard,
    recall_id,
    recall_line,
    send_file,
    write_steps,
)
from kessai.services.identity.api import ShareHands

T = TypeVar("T")

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 8
RESEALED_AT_ONCE = 8
"""Files may be large."""
KEY_PREFIX = "key_"
"""How callers that are API keys begin: only such a one approves."""
RECALLABLE = frozenset({LineState.SENT, LineState.ACCEPTED, LineState.DONE})
_NEWEST = "f" * 32
_NEWEST_POSITION = 2**63 - 1
_FILE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class _Hands:
    """Other keys that approved a file before, and those of them that whoever approves now may hold as well."""

    others: frozenset[str]
    shared: frozenset[str]


class FileDesk:
    """What the verbs about files do."""

    _database: Database
    _clock: Clock
    _vault: Vault
    _deps: Deps
    _engine: Engine[Deps]
    _persons: Persons | None

    async def list_files(self, request: ListFiles, /) -> BankFiles:
        """Files to the bank, the newest first."""
        before = _NEWEST if request.cursor is None else _position(request.cursor)
        found = await file_store.list_files(self._database, before, request.transfer_on, request.limit + 1)
        page = found[: request.limit]
        cursor = base64.urlsafe_b64encode(bare(page[-1].file_id).encode()).decode() if len(found) > len(page) else None
        return BankFiles(files=page, next_cursor=cursor)

    async def get_file(self, request: GetFile, /) -> BankFile:
        """A file with its approvals and steps."""
        return await self._database.transaction(store.ROLE, lambda connection: _whole(connection, request.file_id))

    async def list_file_lines(self, request: ListFileLines, /) -> FileLines:
        """A file's lines in their order."""

        async def read(connection: Connection) -> list[FileLine]:
            await _file(connection, request.file_id)
            return await file_store.lines_of(connection, request.file_id, request.after, request.limit)

        return FileLines(lines=await self._database.transaction(store.ROLE, read))

    async def get_line_history(self, request: GetLineHistory, /) -> LineHistory:
        """Every step of a line, with its time."""
        steps = await self._database.transaction(
            store.ROLE, lambda connection: file_store.steps_of_line(connection, request.file_id, request.line)
        )
        if not steps:
            raise NotFound("file_line_not_found", "There is no such line.", file_id=request.file_id, line=request.line)
        return LineHistory(file_id=request.file_id, line=request.line, steps=steps)

    async def list_unmatched(self, request: ListUnmatched, /) -> UnmatchedResults:
        """What the bank told of files that fits none of our lines, or contradicts it."""
        before = _NEWEST_POSITION if request.before is None else request.before
        return UnmatchedResults(results=await file_store.list_unmatched(self._database, before, request.limit))

    # -- approvals ----------------------------------------------------------------------------------------------

    async def approve_file(self, request: ApproveFile, /) -> BankFile:
        """Approve a file; it is sent once as many keys of different persons as it needs have."""
        by = current_call().caller
        hands = _Hands(frozenset(), frozenset())

        async def look() -> None:
            nonlocal hands
            hands = await self._hands(request.file_id, by)

        async def write(connection: Connection, now: datetime) -> BankFile:
            file = await _file(connection, request.file_id)
            _require_may_approve(file, request, by)
            approvers = {each.approver for each in await file_store.approvals_of(connection, file.file_id)}
            if by in approvers:
                return file
            if not approvers <= hands.others:
                raise Overtaken  # somebody approved it just now: whose hands that was is to be looked at
            _require_other_hands(hands)
            _require_approvable(file, now)
            return await self._approve(connection, file, by, now)

        file = await self._changed(write, look)
        if file.state is FileState.APPROVED:
            await self._send(file)
        return await self.get_file(GetFile(file_id=request.file_id))

    async def _hands(self, file_id: str, by: str) -> _Hands:
        """Who approved the file before, and which of their keys may be in the same hands."""
        found = await self._database.transaction(
            store.ROLE, lambda connection: file_store.approvals_of(connection, file_id)
        )
        others = frozenset(each.approver for each in found) - {by}
        if self._persons is None or not others or not by.startswith(KEY_PREFIX):
            return _Hands(others, frozenset())
        shared = await self._persons.share_hands(ShareHands(key_id=by, others=sorted(others)))
        return _Hands(others, frozenset(shared.key_ids))

    async def _approve(self, connection: Connection, file: BankFile, by: str, now: datetime) -> BankFile:
        """One more approval; with the last one the file and its lines are APPROVED."""
        approved = file.approved + 1
        state = FileState.APPROVED if approved >= file.approvals_needed else FileState.MADE
        after = replace(file, approved=approved, state=state, version=file.version + 1)
        await file_store.insert_approval(connection, file.file_id, by, now)
        if not await file_store.write_files(connection, [after], by, now):
            raise Overtaken
        if state is FileState.APPROVED:
            await file_store.move_lines(connection, file.file_id, LineState.MADE, LineState.APPROVED, now)
        return after

    async def _send(self, file: BankFile) -> None:
        """Begin to send it; where that cannot be begun just now, the next run of the job does."""
        order = FileOrder(file_id=file.file_id, content_sha256=file.content_sha256)
        try:
            await self._engine.start(send_file, order, workflow_id=file.file_id)
        except Unavailable as error:
            log.warning("bank_file_waits", file_id=file.file_id, error=error.code)

    async def reject_file(self, request: RejectFile, /) -> BankFile:
        """Reject a file that was not sent; its instructions wait for the next one."""
        by = current_call().caller

        async def write(connection: Connection, now: datetime) -> None:
            file = await _file(connection, request.file_id)
            if file.state is FileState.DISCARDED:
                return
            if file.state not in UNSENT:
                raise Conflict("file_not_rejectable", "The bank may have this file already.", state=file.state)
            day = self._deps.terms.day_for(file.kind, file.transfer_on, now)
            if not await discard(connection, file, day, caller=by, code="rejected", now=now):
                raise Overtaken

        await self._changed(write)
        return await self.get_file(GetFile(file_id=request.file_id))

    # -- recalls ------------------------------------------------------------------------------------------------

    async def recall(self, request: RecallInstruction, /) -> Instruction:
        """Call a transfer by file back: one that waits FAILED at once, of another the bank decides."""

        async def write(connection: Connection, now: datetime) -> tuple[Instruction, FileLine | None]:
            found = await store.load_instructions(connection, [request.instruction_id])
            if not found:
                raise NotFound(
                    "instruction_not_found", "There is no such instruction.", instruction_id=request.instruction_id
                )
            if found[0].file_id is None or found[0].line is None:
                return await self._take_back(connection, found[0], now), None
            place = (found[0].file_id, found[0].line)
            line = (await file_store.load_lines(connection, [place]))[place]
            file = await _file(connection, line.file_id)
            return found[0], await _asked_back(connection, file, line, now)

        instruction, line = await self._changed(write)
        if line is not None and line.recall is RecallState.ASKED:
            await self._ask_back(line)
        return instruction

    async def _take_back(self, connection: Connection, instruction: Instruction, now: datetime) -> Instruction:
        """What waits for a file goes into none any more."""
        if instruction.state is InstructionState.FAILED and instruction.failure_code is FailureCode.RECALLED:
            return instruction
        report = Report(state=InstructionState.FAILED, failure_code=FailureCode.RECALLED)
        change = advanced(instruction, report, now)
        if instruction.transfer_on is None or change is None:
            raise Refused("recall_not_possible", "Only a transfer by file that has not failed can be called back.")
        if not await file_store.hold_waiting(connection, instruction):
            raise Overtaken
        if not await write_steps(self._deps, connection, [change]):
            raise Overtaken
        return change.instruction

    async def _ask_back(self, line: FileLine) -> None:
        order = RecallOrder(file_id=line.file_id, line=line.line)
        await self._engine.start(recall_line, order, workflow_id=recall_id(line.file_id, line.line))

    # -- parts --------------------------------------------------------------------------------------------------

    async def _changed(
        self,
        write: Callable[[Connection, datetime], Awaitable[T]],
        look: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Write in a transaction; once more where something was changed meanwhile. `look` comes before each time."""
        for _ in range(ATTEMPTS_MAX):
            if look is not None:
                await look()
            now = self._clock.now()
            try:
                done = await self._database.transaction(store.ROLE, lambda connection, now=now: write(connection, now))
            except Overtaken:
                continue
            wake(self._database, store.SCHEMA.service)
            return done
        raise Unavailable("contention", "Too many concurrent changes to the same file; try again.")

    async def reseal_files(self) -> int:
        """Seal files that lie under an old key of the vault anew, under the newest; gives how many those were."""
        done, after, vault = 0, store.FIRST, self._vault
        if not vault.configured:
            return done
        while page := await file_store.files_under_old_keys(self._database, vault.head, after, RESEALED_AT_ONCE):
            anew = [(file_id, _resealed(vault, file_id, content)) for file_id, content in page]
            await self._database.transaction(
                store.ROLE, lambda connection, anew=anew: file_store.reseal_files(connection, anew)
            )
            done, after = done + len(page), bare(page[-1][0])
        return done


async def _file(connection: Connection, file_id: str) -> BankFile:
    found = await file_store.load_files(connection, [file_id])
    if file_id not in found:
        raise NotFound("file_not_found", "There is no such file.", file_id=file_id)
    return found[file_id]


async def _whole(connection: Connection, file_id: str) -> BankFile:
    return replace(
        await _file(connection, file_id),
        approvals=await file_store.approvals_of(connection, file_id),
        steps=await file_store.steps_of_file(connection, file_id),
    )


def _require_may_approve(file: BankFile, request: ApproveFile, by: str) -> None:
    if not by.startswith(KEY_PREFIX):
        raise Refused("approver_not_a_key", "A file is approved by a person's own API key.")
    if by == file.maker:
        raise Refused("approver_is_maker", "Who made a file does not approve it.")
    if request.content_sha256 != file.content_sha256:
        raise Conflict("other_file_content", "The file has another content than the one that is approved here.")


def _require_other_hands(hands: _Hands) -> None:
    if hands.shared:
        raise Refused("approver_not_independent", "The same person may hold the key that approved this file before.")


def _require_approvable(file: BankFile, now: datetime) -> None:
    if file.state is not FileState.MADE:
        raise Conflict("file_not_approvable", "The file does not wait for approvals.", state=file.state)
    if file.transfer_on < now.astimezone(TOKYO).date():
        raise Refused("file_too_late", "Its day is over: what is in it goes with the next files.")


async def _asked_back(connection: Connection, file: BankFile, line: FileLine, now: datetime) -> FileLine:
    """The line with its recall noted; asking again changes nothing."""
    if line.recall in (RecallState.ASKED, RecallState.DONE):
        return line
    if file.state not in AT_BANK:
        raise Conflict("instruction_not_sent", "It is in a file that was not sent: reject that file instead.")
    if line.recall is RecallState.REFUSED or line.state not in RECALLABLE:
        raise Refused("recall_not_possible", "The bank refused to call it back, or it has come to another end.")
    after = replace(line, recall=RecallState.ASKED, version=line.version + 1, updated_at=now)
    if not await file_store.write_lines(connection, [LineChange(after, line.state)]):
        raise Overtaken
    return after


def _resealed(vault: Vault, file_id: str, content: bytes) -> bytes:
    context = file_store.content_context(file_id)
    return vault.seal(vault.open(content, context=context), context=context)


def _position(cursor: str) -> str:
    try:
        place = base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError:
        place = ""
    if not _FILE.fullmatch(place):
        raise Invalid("bad_cursor", "This cursor does not come from a page of this list.", field="$.cursor")
    return place
