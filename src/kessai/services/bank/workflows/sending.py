"""Sending a file that is approved: once, under its own id. A lost reply is inquired, never answered by sending blindly.

That a file may be at the bank (SENDING) is written down before the bank can have heard of it, and after that it cannot
be rejected any more. A process that dies anywhere on the way leaves the same to be done: ask, then send if need be.
"""

from __future__ import annotations

from datetime import date, datetime

from msgspec.structs import replace

from kessai.foundation.clock import TOKYO
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import wake
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.bank import store
from kessai.services.bank.api import BankFile, FileState, LineState
from kessai.services.bank.domain import UNSENT, line_id
from kessai.services.bank.store import files as file_store
from kessai.services.bank.store.files import content_context
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.making import ENCODING
from kessai.services.bank.workflows.recalling import ask_for

PAUSE_S = 0.5
PAUSE_S_MAX = 10.0
"""Longest pause between two attempts while the bank is away."""


class FileOrder(Message, frozen=True):
    """Which file; what is in it stays sealed where it lies."""

    file_id: str
    content_sha256: str


class RecallOrder(Message, frozen=True):
    """Which line to call back."""

    file_id: str
    line: int


class FileNoted(Message, frozen=True):
    """The state that was written down, or was there already."""

    state: FileState


class RecallAsked(Message, frozen=True):
    """Whether the bank has the request; False: it says that it has no such line."""

    known: bool


@define("bank.send_file", version=1)
async def send_file(wf: Workflow[Deps], order: FileOrder) -> FileNoted:
    """Have the bank take an approved file, however long it is away."""
    begun = await wf.activity(begin_sending, order, tx=True)
    if begun.state is not FileState.SENDING:
        return begun  # it was discarded, sent long ago, or its day is over
    retry = Retry(delay_s=PAUSE_S, delay_s_max=PAUSE_S_MAX)
    await wf.activity(hand_over, order, retry=retry)
    return await wf.activity(note_sent, order, tx=True)


@define("bank.recall", version=1)
async def recall_line(wf: Workflow[Deps], order: RecallOrder) -> RecallAsked:
    """Ask the bank to call a transfer back, however long it is away; what it says of it is told with the results."""
    return await wf.activity(ask_back, order, retry=Retry(delay_s=PAUSE_S, delay_s_max=PAUSE_S_MAX))


# -- activities -------------------------------------------------------------------------------------------------


async def begin_sending(activity: Activity[Deps], order: FileOrder) -> FileNoted:
    """Write down that from here on the bank may have it."""
    deps, now = activity.deps, activity.deps.clock.now()
    file = (await file_store.load_files(activity.connection, [order.file_id]))[order.file_id]
    is_over = file.transfer_on < now.astimezone(TOKYO).date()
    if file.state is not FileState.APPROVED or is_over:  # then the next run of bank.send gives it up
        return FileNoted(state=file.state)
    after = replace(file, state=FileState.SENDING, version=file.version + 1)
    await _write(activity.connection, after, now)
    deps.untold.add(order.file_id)
    return FileNoted(state=after.state)


async def hand_over(activity: Activity[Deps], order: FileOrder) -> None:
    """Send the file, unless the bank has it, or has refused it meanwhile: then what is in it goes with another one."""
    deps, file_id = activity.deps, order.file_id

    async def read(connection: Connection) -> FileState:
        return (await file_store.load_files(connection, [file_id]))[file_id].state

    if await deps.database.transaction(store.ROLE, read) is not FileState.SENDING:
        return
    if file_id in deps.untold:
        deps.untold.discard(file_id)
    elif (found := await deps.files.find(file_id)) is not None:
        assert found == order.content_sha256, "the bank has another file under our id"
        return
    sealed = await file_store.sealed_content(deps.database, file_id)
    content = deps.vault.open(sealed, context=content_context(file_id)).encode(ENCODING)
    await deps.files.send(file_id, content, deps.clock.now())


async def note_sent(activity: Activity[Deps], order: FileOrder) -> FileNoted:
    """Write down that the bank has it; its own words may have come before."""
    deps, now, connection = activity.deps, activity.deps.clock.now(), activity.connection
    file = (await file_store.load_files(connection, [order.file_id]))[order.file_id]
    if file.state is not FileState.SENDING:
        return FileNoted(state=file.state)
    after = replace(file, state=FileState.SENT, version=file.version + 1, sent_at=now)
    await _write(connection, after, now)
    await file_store.move_lines(connection, file.file_id, LineState.APPROVED, LineState.SENT, now)
    wake(deps.database, store.SCHEMA.service)
    return FileNoted(state=after.state)


async def ask_back(activity: Activity[Deps], order: RecallOrder) -> RecallAsked:
    """Ask for it; under the line's own id, so that it is asked once."""
    return RecallAsked(known=await ask_for(activity.deps, (order.file_id, order.line)))


async def _write(connection: Connection, file: BankFile, now: datetime) -> None:
    if not await file_store.write_files(connection, [file], store.SCHEMA.service, now):
        raise Unavailable("contention", "The file was changed meanwhile; try again.")


# -- files that are not sent ------------------------------------------------------------------------------------


async def discard(connection: Connection, file: BankFile, day: date, *, caller: str, code: str, now: datetime) -> bool:
    """Give up a file that the bank has not heard of: its instructions wait for the files of a day.

    False when it has changed meanwhile (then roll back).
    """
    assert file.state in UNSENT
    after = replace(file, state=FileState.DISCARDED, version=file.version + 1, open_lines=0, code=code)
    if not await file_store.write_files(connection, [after], caller, now):
        return False
    lines = await file_store.lines_of(connection, file.file_id, 0, file.lines)
    await file_store.requeue(connection, lines, file.kind, day, sent=False)
    for was in (LineState.MADE, LineState.APPROVED):
        await file_store.move_lines(connection, file.file_id, was, LineState.DISCARDED, now)
    return True


def recall_id(file_id: str, line: int) -> str:
    """The id of the workflow that asks for a line to be called back."""
    return f"recall:{line_id(file_id, line)}"
