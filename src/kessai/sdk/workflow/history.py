"""Recorded histories: a workflow's whole journal as a file, and its rehearsal against the code of today."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import msgspec

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import Invalid, NotFound, PaymentError
from kessai.sdk.workflow.archive import ArchivedStep, read_archive
from kessai.sdk.workflow.branch import label_of, path_of
from kessai.sdk.workflow.compensation import Undo
from kessai.sdk.workflow.course import encoded
from kessai.sdk.workflow.definition import definition_of, name_of
from kessai.sdk.workflow.executor import call_of
from kessai.sdk.workflow.host import Host, operations
from kessai.sdk.workflow.model import Forgotten
from kessai.sdk.workflow.outcome import decode, decode_error, digest_of
from kessai.sdk.workflow.run import History, Workflow
from kessai.sdk.workflow.sealing import Payloads
from kessai.sdk.workflow.steps import UNDONE, Entry, Row, Step, shown

QUIET_TURNS = 200
_encoder = msgspec.json.Encoder(order="deterministic")


class RecordedHistory(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A workflow as it was journalled; payloads are in the clear."""

    name: str
    version: int
    workflow_id: str
    digest: str
    request: msgspec.Raw
    call: msgspec.Raw
    started_at: datetime
    finished: bool
    compensating: bool = False
    failed: bool = False
    outcome: msgspec.Raw = msgspec.Raw(b"null")
    steps: list[ArchivedStep] = []

    def to_json(self) -> bytes:
        """As it is kept in a file, readable in a diff."""
        return msgspec.json.format(_encoder.encode(self), indent=1) + b"\n"

    def as_steps(self) -> list[Step]:
        """Its steps as a run takes them."""
        return [
            Step(
                self.workflow_id,
                each.seq,
                each.kind,
                each.name,
                bytes.fromhex(each.argument_hash),
                each.failed,
                bytes(each.outcome),
                each.recorded_at,
                each.writes,
            )
            for each in self.steps
        ]

    def steps_to(self, label: str) -> list[Step]:
        """The steps up to one of the function's own, with those of branches begun by then; raises Invalid."""
        steps = [step for step in self.as_steps() if step.kind != UNDONE]
        if not label.isdigit() or (label != "0" and not any(step.seq == int(label) for step in steps)):
            raise Invalid("no_such_step", f"It has no step {label}.")
        return [step for step in steps if path_of(step.seq)[0] <= int(label)]


async def load_history(
    database: Database, service: str, workflow_id: str, payloads: Payloads | None = None
) -> RecordedHistory:
    """The history of an open or finished workflow; raises NotFound `workflow_not_found`, Forgotten."""
    queries, role, payloads = operations(service), role_of(service), payloads or Payloads(None)
    rows = await database.fetch(role, queries["log_of"], workflow_id)
    steps = [_step_of(row) for row in rows]
    for done in await database.fetch(role, queries["done_one"], workflow_id):
        archive = read_archive(workflow_id, done["steps"])
        if archive is None:
            raise Forgotten
        request, call, last = archive
        return _history(done, request, call, [*steps, *last], payloads, finished=True)
    for row in await database.fetch(role, queries["open_one"], workflow_id):
        return _history(row, row["request"], row["call"], steps, payloads, finished=False)
    if await database.fetch(role, queries["taken_one"], workflow_id):
        raise Forgotten
    raise NotFound("workflow_not_found", "There is no workflow of this id.")


def _step_of(row: asyncpg.Record) -> Step:
    first = (row["workflow_id"], row["seq"], row["kind"], row["name"], row["argument_hash"], row["failed"])
    return Step(*first, row["outcome"], row["recorded_at"], row["writes"])


def _history(
    row: asyncpg.Record, request: bytes, call: bytes, steps: list[Step], payloads: Payloads, *, finished: bool
) -> RecordedHistory:
    return RecordedHistory(
        name=row["name"],
        version=row["version"],
        workflow_id=row["workflow_id"],
        digest=row["digest"].hex(),
        request=msgspec.Raw(payloads.open(request)),
        call=msgspec.Raw(call),
        started_at=row["started_at"],
        finished=finished,
        compensating=False if finished else row["compensating"],
        failed=row["failed"] if finished else False,
        outcome=msgspec.Raw(payloads.open(row["outcome"]) if finished else b"null"),
        steps=[
            ArchivedStep(
                step.seq,
                step.kind,
                step.name,
                step.argument_hash.hex(),
                step.failed,
                msgspec.Raw(payloads.open(step.outcome)),
                step.writes,
                step.recorded_at,
            )
            for step in sorted(steps, key=lambda each: (each.seq, each.kind))
        ],
    )


def read_histories(folder: Path) -> dict[str, RecordedHistory]:
    """Every history in a folder, by the name of its file; raises msgspec.DecodeError for one that is none."""
    return {
        str(file.relative_to(folder)): msgspec.json.decode(file.read_bytes(), type=RecordedHistory)
        for file in sorted(folder.rglob("*.json"))
    }


# -- rehearsal --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of replaying a history."""

    agrees: bool
    reason: str
    """Why it does not; how far it went where it does."""
    run: Workflow[Any] | None = None


class _Book:
    """Takes down what the run would journal."""

    stopped = False

    def __init__(self) -> None:
        self.finish: Row | None = None
        self.mark: Row | None = None

    async def submit(self, entry: Entry) -> bool:
        self.finish = entry.finish or self.finish
        self.mark = entry.mark or self.mark
        return True


class _RehearsedWorkflow(Workflow[Any]):
    """Replays, and stands still where the history ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.reached: list[Step] = []
        self._attention = True

    async def _attend(self, step: Step, *, tried: bool = False) -> None:
        await self._stand(step)

    async def _stand(self, step: Step) -> NoReturn:
        self.reached.append(step)
        await self._never()

    async def _undone(self, undo: Undo) -> None:
        name = name_of(undo.function)
        digest = digest_of(encoded(undo.argument, name))
        step = Step(self.workflow_id, undo.seq, UNDONE, name, digest, False, b"", self._now, argument=undo.argument)
        if self._recorded(step) is None:
            await self._stand(step)

    @property
    def replayed(self) -> int:
        """Steps replayed so far."""
        return self._consumed


async def rehearse(history: RecordedHistory, deps: Any = None) -> Rehearsal:
    """Replay a history: no activity is attempted and nothing is written. It agrees when the code takes every recorded
    step in its place and comes to the recorded outcome, or stands still where an unfinished history ends."""
    definition = definition_of(history.name, history.version)
    if definition is None:
        return Rehearsal(False, f"this program has no workflow {history.name} of version {history.version}")
    book = _Book()
    host: Host[Any] = Host(service="rehearsal", deps=deps, clock=SandboxClock())
    host.writer = book
    start = (history.workflow_id, history.name, history.version, bytes.fromhex(history.digest))
    start = (*start, bytes(history.request), bytes(history.call), 0, history.started_at, None)
    steps = history.as_steps()
    past = History(steps, max((step.writes for step in steps), default=0), history.compensating)
    request = decode(bytes(history.request), definition.request_type)
    run = _RehearsedWorkflow(host, definition, request, start=start, call=call_of(bytes(history.call)), history=past)
    await _replayed(run)
    return _verdict(history, run, book)


async def _replayed(run: _RehearsedWorkflow) -> None:
    task = asyncio.create_task(run.run())
    quiet, seen = 0, -1
    while not task.done() and quiet < QUIET_TURNS:
        quiet = quiet + 1 if run.replayed == seen else 0
        seen = run.replayed
        await asyncio.sleep(0)
    run._engine.closing = True  # pyright: ignore[reportPrivateUsage]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _verdict(history: RecordedHistory, run: _RehearsedWorkflow, book: _Book) -> Rehearsal:
    if book.mark is not None and book.mark[2] is not None:
        return Rehearsal(False, book.mark[2], run)
    if book.finish is None:
        return _unfinished(history, run)
    failed, outcome = book.finish[4], book.finish[5]
    if not history.finished:
        return Rehearsal(True, f"{run.replayed} steps, and an end", run)
    if failed != history.failed or not _same(outcome, bytes(history.outcome), failed, _result_type(history)):
        recorded = bytes(history.outcome).decode()
        return Rehearsal(False, f"it ended with {recorded}, but the code now ends with {outcome.decode()}", run)
    return Rehearsal(True, f"{run.replayed} steps and its outcome", run)


def _unfinished(history: RecordedHistory, run: _RehearsedWorkflow) -> Rehearsal:
    here = ", ".join(f"{label_of(step.seq)} {shown(step)}" for step in run.reached) or "nothing"
    if history.finished:
        return Rehearsal(False, f"it had ended, but the code now calls {here}", run)
    return Rehearsal(True, f"{run.replayed} steps; it stands before {here}", run)


def _result_type(history: RecordedHistory) -> Any:
    definition = definition_of(history.name, history.version)
    return None if definition is None else definition.result_type


def _same(one: bytes, other: bytes, failed: bool, kind: Any) -> bool:
    """Whether two outcomes mean the same today: one of them may be older than a field of it."""
    if not failed:
        return decode(one, kind) == decode(other, kind)
    errors: list[PaymentError] = [decode_error(one), decode_error(other)]
    return errors[0].code == errors[1].code
