"""Files to the bank in the bank schema: what waits for one, the files, their lines and steps, approvals, results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time

import asyncpg

from kessai.foundation.clock import TOKYO
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.events import outbox_insert
from kessai.foundation.ids import bare
from kessai.sdk.processing.announce import touched_row
from kessai.services.bank.api import (
    BankFile,
    FailureCode,
    FileApproval,
    FileLine,
    FileState,
    FileStep,
    Instruction,
    InstructionKind,
    InstructionState,
    LineState,
    LineStep,
    RecallState,
    UnmatchedResult,
)
from kessai.services.bank.domain import Change, FilesDoubt, LineChange, Unmatched, prefix_of
from kessai.services.bank.store import ROLE, SCHEMA, instruction_of, new_row

_SQL = load_queries("kessai.services.bank", file="sql/files.sql")
_OUTBOX_INSERT = outbox_insert(SCHEMA.service)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file with its content, sealed."""

    file: BankFile
    content: bytes = field(repr=False)
    lines: Sequence[FileLine]


def content_context(file_id: str) -> str:
    """What a file's sealed content is bound to."""
    return f"bank.transfer_file/{file_id}/content"


# -- what waits -------------------------------------------------------------------------------------------------


async def insert_waiting(connection: Connection, instruction: Instruction, caller: str) -> bool:
    """A new instruction that waits for a file; False when its id is taken."""
    row = (*new_row(instruction, caller), instruction.asked_on, instruction.transfer_on)
    if not await connection.fetch(_SQL["insert_waiting"], *([value] for value in row)):
        return False
    told = touched_row([instruction.processing_id], instruction.created_at)
    await connection.execute(_OUTBOX_INSERT, *([value] for value in told))
    return True


async def waiting(connection: Connection, kind: InstructionKind, until: date, limit: int) -> list[Instruction]:
    """Instructions that wait for files of days up to `until`, by day."""
    return [
        instruction_of(row) for row in await connection.fetch(_SQL["waiting_instructions"], kind.value, until, limit)
    ]


async def count_waiting(database: Database, kind: InstructionKind, until: date) -> tuple[int, int]:
    """How many instructions wait for files of days up to `until`, and what they come to."""
    (row,) = await database.fetch(ROLE, _SQL["count_waiting"], kind.value, until)
    return row["instructions"], row["total_minor"]


async def files_in_doubt(database: Database, now: datetime) -> FilesDoubt:
    """Instructions by file of days up to today's that have no end; `now` is business time."""
    (row,) = await database.fetch(ROLE, _SQL["files_in_doubt"], now.astimezone(TOKYO).date())
    oldest_on = row["oldest_on"]
    oldest_s = 0.0 if oldest_on is None else (now - datetime.combine(oldest_on, time(), TOKYO)).total_seconds()
    return FilesDoubt(row["instructions"], oldest_on, oldest_s)


async def hold_waiting(connection: Connection, instruction: Instruction) -> bool:
    """Keep an instruction from going into a file until the transaction's end; False when it does not wait any more."""
    held = await connection.fetch(_SQL["hold_waiting"], [bare(instruction.instruction_id)], instruction.kind.value)
    return bool(held)


async def requeue(
    connection: Connection, lines: Sequence[FileLine], kind: InstructionKind, day: date, *, sent: bool
) -> int:
    """Let the instructions of lines wait for a file of another day; gives how many do.

    Of a file that was not `sent` the attempt was none.
    """
    rows = await connection.fetch(
        _SQL["requeue_instructions"],
        [bare(each.instruction_id) for each in lines],
        [kind.value] * len(lines),
        [bare(each.file_id) for each in lines],
        [day] * len(lines),
        [each.attempt if sent else each.attempt - 1 for each in lines],
    )
    return len(rows)


# -- files ------------------------------------------------------------------------------------------------------


async def insert_file(connection: Connection, new: NewFile, now: datetime) -> bool:
    """A new file with its lines; False when one of its instructions does not wait any more (then roll back)."""
    file, lines = new.file, new.lines
    kind, numbers = file.kind.value, [each.line for each in lines]
    ids, instructions = [bare(file.file_id)] * len(lines), [bare(each.instruction_id) for each in lines]
    attempts = [each.attempt for each in lines]
    rows = await connection.fetch(
        _SQL["assign_instructions"],
        *(instructions, [kind] * len(lines), [file.transfer_on] * len(lines), ids, numbers, attempts),
    )
    if len(rows) != len(lines):
        return False
    file_row = (
        *(bare(file.file_id), kind, file.transfer_on, file.state.value, file.lines, file.total_minor),
        *(file.approvals_needed, new.content, bytes.fromhex(file.content_sha256), file.maker, file.made_at),
    )
    await connection.execute(_SQL["insert_files"], *([value] for value in file_row))
    await _insert_file_steps(connection, [file], file.maker, now)
    await connection.execute(
        _SQL["insert_lines"],
        *(ids, numbers, instructions, [kind] * len(lines)),
        *([each.customer_code_1 for each in lines], [each.customer_code_2 for each in lines]),
        *([each.amount_minor for each in lines], attempts, [each.state.value for each in lines], [now] * len(lines)),
    )
    await _insert_line_steps(connection, [LineChange(each, each.state) for each in lines], new=True)
    return True


async def load_files(connection: Connection, file_ids: Collection[str]) -> dict[str, BankFile]:
    """Those of the files that exist, without approvals and steps."""
    rows = await connection.fetch(_SQL["load_files"], [bare(each) for each in file_ids])
    return {file.file_id: file for file in map(_file, rows)}


async def unsent_files(connection: Connection) -> list[BankFile]:
    """Files that the bank is not known to have, by id."""
    return [_file(row) for row in await connection.fetch(_SQL["unsent_files"])]


async def open_debit_files(database: Database, day: date) -> list[BankFile]:
    """Debit files of days up to one whose results are still to come, by id."""
    return [_file(row) for row in await database.fetch(ROLE, _SQL["open_debit_files"], day)]


async def list_files(database: Database, before: str, day: date | None, limit: int) -> list[BankFile]:
    """Files with ids below `before`, the newest first."""
    return [_file(row) for row in await database.fetch(ROLE, _SQL["list_files"], before, day, limit)]


async def sealed_content(database: Database, file_id: str) -> bytes:
    """A file's content, sealed."""
    (row,) = await database.fetch(ROLE, _SQL["file_content"], bare(file_id))
    return row["content_sealed"]


async def write_files(connection: Connection, files: Sequence[BankFile], caller: str, now: datetime) -> bool:
    """Files after one step each; False when one of them has changed meanwhile (then roll back)."""
    rows = await connection.fetch(
        _SQL["change_files"],
        *([bare(each.file_id) for each in files], [each.state.value for each in files]),
        *([each.version for each in files], [each.open_lines for each in files]),
        *([each.approved for each in files], [each.code for each in files]),
        *([each.sent_at for each in files], [now] * len(files)),
        *([each.paid_lines for each in files], [each.paid_minor for each in files]),
        *([each.unpaid_lines for each in files], [each.unpaid_minor for each in files]),
    )
    if len(rows) != len(files):
        return False
    await _insert_file_steps(connection, files, caller, now)
    return True


async def _insert_file_steps(connection: Connection, files: Sequence[BankFile], caller: str, now: datetime) -> None:
    await connection.execute(
        _SQL["insert_file_steps"],
        *([bare(each.file_id) for each in files], [each.version for each in files]),
        *([each.state.value for each in files], [each.code for each in files]),
        *([caller] * len(files), [now] * len(files)),
    )


async def insert_approval(connection: Connection, file_id: str, approver: str, now: datetime) -> bool:
    """One more approval; False when this key approved already."""
    return bool(await connection.fetch(_SQL["insert_approvals"], [bare(file_id)], [approver], [now]))


async def approvals_of(connection: Connection, file_id: str) -> list[FileApproval]:
    """Who approved a file, the first one first."""
    rows = await connection.fetch(_SQL["approvals_of"], bare(file_id))
    return [FileApproval(approver=row["approver"], approved_at=row["approved_at"]) for row in rows]


async def steps_of_file(connection: Connection, file_id: str) -> list[FileStep]:
    """A file's steps, the oldest first."""
    return [
        FileStep(
            sequence=row["sequence"],
            state=FileState(row["state"]),
            caller=row["caller"],
            code=row["code"],
            recorded_at=row["recorded_at"],
        )
        for row in await connection.fetch(_SQL["steps_of_file"], bare(file_id))
    ]


# -- lines ------------------------------------------------------------------------------------------------------


async def load_lines(connection: Connection, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], FileLine]:
    """Those of the lines (file, number) that exist."""
    ids, numbers = [bare(file_id) for file_id, _ in places], [number for _, number in places]
    rows = await connection.fetch(_SQL["load_lines"], ids, numbers)
    return {(line.file_id, line.line): line for line in map(_line, rows)}


async def lines_of(connection: Connection, file_id: str, after: int, limit: int) -> list[FileLine]:
    """Lines of a file beyond a number, in order."""
    return [_line(row) for row in await connection.fetch(_SQL["lines_of_file"], bare(file_id), after, limit)]


async def lines_to_recall(connection: Connection, after: tuple[str, int], limit: int) -> list[FileLine]:
    """Lines that the bank has still to say about whether they are called back, by file and number beyond `after`."""
    return [_line(row) for row in await connection.fetch(_SQL["lines_to_recall"], *after, limit)]


async def write_lines(connection: Connection, changes: Sequence[LineChange]) -> bool:
    """Lines after one step each; False when one has changed meanwhile (then roll back)."""
    after = [each.line for each in changes]
    rows = await connection.fetch(
        _SQL["change_lines"],
        *([bare(each.file_id) for each in after], [each.line for each in after]),
        *([each.state.value for each in after], [each.failure_code for each in after]),
        *([each.booked_on for each in after], [each.recall for each in after]),
        *([each.version for each in after], [each.updated_at for each in after]),
    )
    if len(rows) != len(after):
        return False
    await _insert_line_steps(connection, changes)
    return True


async def _insert_line_steps(connection: Connection, changes: Sequence[LineChange], *, new: bool = False) -> None:
    after = [each.line for each in changes]
    await connection.execute(
        _SQL["insert_line_steps"],
        *([bare(each.file_id) for each in after], [each.line for each in after]),
        *([each.version for each in after], [each.state.value for each in after]),
        [None if new else each.was.value for each in changes],
        *([each.failure_code for each in after], [each.updated_at for each in after]),
    )


async def move_lines(connection: Connection, file_id: str, was: LineState, to: LineState, now: datetime) -> int:
    """Every line of a file that is in one state into another; gives how many."""
    return len(await connection.fetch(_SQL["move_lines"], bare(file_id), was.value, to.value, now))


async def steps_of_line(connection: Connection, file_id: str, line: int) -> list[LineStep]:
    """A line's steps, the oldest first."""
    return [
        LineStep(
            sequence=row["sequence"],
            state=LineState(row["state"]),
            failure_code=row["failure_code"] and FailureCode(row["failure_code"]),
            recorded_at=row["recorded_at"],
        )
        for row in await connection.fetch(_SQL["steps_of_line"], bare(file_id), line)
    ]


# -- results ----------------------------------------------------------------------------------------------------


async def files_position(connection: Connection) -> int:
    """How far the bank's entries about files are known here."""
    return await connection.fetchval(_SQL["files_position"])


async def move_files(connection: Connection, was: int, to: int) -> bool:
    """Go on to a position; False when another process did (then roll back)."""
    return await connection.fetchval(_SQL["move_files"], was, to) is not None


async def note_unmatched(connection: Connection, unmatched: Sequence[Unmatched], now: datetime) -> None:
    """Set entries aside that fit none of our lines."""
    entries = [each.entry for each in unmatched]
    await connection.execute(
        _SQL["note_unmatched"],
        *([each.position for each in entries], [each.part for each in unmatched]),
        *([each.file_id for each in entries], [each.line for each in entries]),
        *([each.word for each in entries], [each.code for each in entries]),
        *([each.amount_minor for each in entries], [each.reason for each in unmatched], now),
    )


async def list_unmatched(database: Database, before: int, limit: int) -> list[UnmatchedResult]:
    """What was set aside, the newest first."""
    return [
        UnmatchedResult(
            position=row["position"],
            file_id=row["file_id"],
            line=row["line"],
            state=row["state"],
            code=row["code"],
            amount_minor=row["amount_minor"],
            reason=row["reason"],
            met_at=row["met_at"],
        )
        for row in await database.fetch(ROLE, _SQL["list_unmatched"], before, limit)
    ]


# -- accounts that fail -----------------------------------------------------------------------------------------


async def count_failures(
    connection: Connection, changes: Sequence[Change], codes: Collection[FailureCode], limit: int, now: datetime
) -> list[str]:
    """Count what failed because of its account, anew after what was done; gives the accounts that are frozen now."""
    anew: set[str] = set()
    failures: Counter[str] = Counter()
    for each in changes:
        account_id = each.instruction.account_id
        if each.state is InstructionState.DONE:
            anew.add(account_id)
            failures.pop(account_id, None)
        elif each.instruction.failure_code in codes:
            failures[account_id] += 1
    told = sorted(anew | failures.keys())
    if not told:
        return []
    columns = ([bare(each) for each in told], [each in anew for each in told], [failures[each] for each in told])
    rows = await connection.fetch(_SQL["count_failures"], *columns, limit, now)
    return [f"bac_{row['account_id'].hex}" for row in rows if row["frozen_at"] == now]


async def thaw_accounts(connection: Connection, account_ids: Sequence[str]) -> None:
    """Let accounts be named again; their count begins anew."""
    await connection.fetch(_SQL["thaw_accounts"], [bare(each) for each in account_ids])


# -- keys -------------------------------------------------------------------------------------------------------


async def files_under_old_keys(database: Database, head: bytes, after: str, limit: int) -> list[tuple[str, bytes]]:
    """Files (id, sealed content) not sealed under the newest key, by id beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["files_under_old_keys"], after, head, limit)
    return [(f"btf_{row['file_id'].hex}", row["content_sealed"]) for row in rows]


async def reseal_files(connection: Connection, files: Sequence[tuple[str, bytes]]) -> None:
    """Write what was sealed anew."""
    ids, contents = [bare(file_id) for file_id, _ in files], [content for _, content in files]
    await connection.execute(_SQL["reseal_files"], ids, contents)


def _file(row: asyncpg.Record) -> BankFile:
    return BankFile(
        file_id=f"btf_{row['file_id'].hex}",
        kind=InstructionKind(row["kind"]),
        transfer_on=row["transfer_on"],
        state=FileState(row["state"]),
        version=row["version"],
        lines=row["lines"],
        total_minor=row["total_minor"],
        open_lines=row["open_lines"],
        content_sha256=row["content_sha256"].hex(),
        approvals_needed=row["approvals_needed"],
        approved=row["approvals"],
        code=row["code"],
        maker=row["maker"],
        made_at=row["made_at"],
        sent_at=row["sent_at"],
        paid_lines=row["paid_lines"],
        paid_minor=row["paid_minor"],
        unpaid_lines=row["unpaid_lines"],
        unpaid_minor=row["unpaid_minor"],
        approvals=[],
        steps=[],
    )


def _line(row: asyncpg.Record) -> FileLine:
    return FileLine(
        file_id=f"btf_{row['file_id'].hex}",
        line=row["line"],
        instruction_id=prefix_of(InstructionKind(row["kind"])) + row["instruction_id"].hex,
        customer_code_1=row["customer_code_1"],
        customer_code_2=row["customer_code_2"],
        amount_minor=row["amount_minor"],
        attempt=row["attempt"],
        state=LineState(row["state"]),
        failure_code=row["failure_code"] and FailureCode(row["failure_code"]),
        booked_on=row["booked_on"],
        recall=row["recall"] and RecallState(row["recall"]),
        version=row["version"],
        updated_at=row["updated_at"],
    )
