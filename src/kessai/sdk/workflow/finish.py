"""How a run ends: with its result, with its refusal, parked for an operator, or left where it stands."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar, cast

import structlog

from kessai.foundation.errors import PaymentError, Refused, Unavailable
from kessai.sdk.workflow.archive import archived
from kessai.sdk.workflow.compensation import Compensation
from kessai.sdk.workflow.course import encoded
from kessai.sdk.workflow.ending import Interrupted, Park, Stop, parked_error
from kessai.sdk.workflow.model import Cancelled, Conflicted, StartUnknown, Terminated, Write
from kessai.sdk.workflow.outcome import decode_error, encode_error
from kessai.sdk.workflow.steps import OUTCOME, Entry, Step, shown
from kessai.sdk.workflow.tracing import run_span

D = TypeVar("D")
E = TypeVar("E", bound=BaseException)

log = structlog.get_logger(__name__)


class Finish(Compensation[D]):
    """The end of a run."""

    _unguarded: Step | None = None
    """A step whose outcome is unknown and that nothing can undo."""
    _torn: Step | None = None
    """A step that its own code cut off in the middle, and that nothing can undo."""
    _failed_step: Step | None = None

    async def run(self) -> None:
        """Carry the function to its end, or as far as this executor can."""
        self._numbering.enter()
        try:
            if self._engine.tracer is None:
                await self._carry()
            else:
                with run_span(self._engine.tracer, self._definition.name, self.workflow_id, resumed=self._resumed):
                    await self._carry()
        except Stop:
            self.ended.put(None, Interrupted())
        except Park as park:
            await self._park(park)
        except asyncio.CancelledError:
            await self._cut_off()
        except Exception as error:  # noqa: BLE001  (kept for an operator, with its error)
            await self._park(Park(repr(error)))
        except BaseExceptionGroup as group:  # a TaskGroup's
            if (park := _first(group, Park)) is not None:
                await self._park(park)
        finally:
            self._closed = True
            self._numbering.leave()
            self.answer_nobody()

    def answer_nobody(self) -> None:
        """Whoever still waits for its start or its end is told that this executor does not carry it any further."""
        if not self.started.known:
            unsent = Unavailable("executor_stopped", "This process is stopping; send the request again.")
            self.started.put(None, StartUnknown() if self._sent else unsent)
        if not self.ended.known:
            self.ended.put(None, Interrupted())

    def _end_branches(self) -> None:
        for branch in self._numbering.branches:
            if branch.task is not None and not branch.task.done():
                branch.task.cancel()

    async def _cut_off(self) -> None:
        if self.left:
            self._end_branches()
        if self.left or self._journal.stopped or self._engine.closing:
            return
        if self.terminated is None:
            await self._park(Park("it was cancelled from within"))
            return
        try:
            await self._terminate(Terminated(self.terminated))
        except (Stop, Park):
            self.ended.put(None, Interrupted())

    async def _terminate(self, error: Terminated) -> None:
        """End it where it stands: nothing is undone, and its rows that were not durable are not made."""
        self._end_branches()
        while self._flushing is not None:
            await self._flushing.get()
        self.entry.writes, self.entry.events, self.entry.mark = [], [], None
        self._known.clear()
        await self._finish(True, encode_error(error))
        self.ended.put((True, error))

    async def _carry(self) -> None:
        if self.terminated is not None:
            await self._terminate(Terminated(self.terminated))
            return
        try:
            result = await self._definition.function(cast("Any", self), self._request)
        except (PaymentError, ExceptionGroup) as raised:
            if self._numbering.branches:
                await self._stop_branches()
            await self._fail(_refusal_in(raised))
            return
        if self._numbering.branches:
            await self._stop_branches()
        data = encoded(result, self._definition.name)
        if self._known and (known := self._recorded(self._last_step())) is not None:
            await self._fail(decode_error(self._engine.payloads.open(known.outcome)))
            return
        try:
            await self._finish(False, data)
        except Conflicted as error:
            if self._pivoted or not self._undo:
                raise Park(f"its last rows did not match: {error}") from error
            self._drop(lambda _: False)
            await self._fail(self._note_error(self._last_step(), error))
            return
        self.ended.put((False, result))

    def _last_step(self) -> Step:
        return Step(self.workflow_id, self._numbering.root.count + 1, OUTCOME, "finish", b"", False, b"", self._now)

    async def _stop_branches(self) -> None:
        """The function is over: what its branches are at comes to its outcome, and they begin nothing more."""
        self._ending = self._attention = True
        self._interrupt()
        await self._settled()
        self._end_branches()

    async def _fail(self, error: PaymentError) -> None:
        """Undo what can be undone, then store the refusal."""
        if self._pivoted:
            raise self._past_pivot(error, self._failed_step)
        doubtful = self._torn or (self._unguarded if error.retryable or isinstance(error, Cancelled) else None)
        if doubtful is not None:
            raise Park(f"an outcome is unknown and cannot be undone: {error}", doubtful)
        if error.retryable:
            error = Refused("gave_up", f"Given up and undone ({error.code}): {error.message}", cause=error.code)
        if self._known and (left := self._left_over(before_compensation=True)) is not None:
            raise Park(f"step {left.seq} was recorded as {shown(left)}, but the code no longer calls it", left)
        await self.compensate()
        try:
            await self._finish(True, encode_error(error))
        except Conflicted as conflict:
            raise Park(f"its last rows did not match: {conflict}") from conflict
        self.ended.put((True, error))

    async def _finish(self, failed: bool, outcome: bytes) -> None:
        """The completion: last steps, rows, events and outcome in one flush."""
        if self._known and (left := self._left_over()) is not None:
            raise Park(f"step {left.seq} was recorded as {shown(left)}, but the code no longer calls it", left)
        if not self._durable:
            await self._flush()
        while self._flushing is not None:
            await self._flushing.get()
        steps, self.entry.steps = self.entry.steps, []
        row = self._start
        writes = max(self._written, self._writes_settled)
        if self.farewell is not None:
            self._riders.append(self.farewell)
        self.entry.finish = (
            *(row[0], row[1], row[2], row[3]),
            *(failed, self._engine.payloads.seal(outcome), archived(row[4], row[5], steps, writes)),
            *(row[7], self._engine.clock.now()),
        )
        try:
            await self._flush()
        except Conflicted:
            self.entry.steps[:0] = steps
            if self.farewell is not None:
                self._riders.remove(self.farewell)
            raise
        self._engine.counts.finished += 1
        self._engine.counts.failed += failed

    async def _park(self, park: Park) -> None:
        """Keep it for an operator: its rows are not made, its steps are; and tell."""
        reason, name = park.reason.replace("\x00", ""), self._definition.name
        log.error("workflow_parked", workflow_id=self.workflow_id, workflow=name, reason=reason)
        self._closed = True
        self._end_branches()
        if not self._durable:
            self.started.put(None, RuntimeError(f"{name} did not start: {reason}"))
            return
        mark = (self.workflow_id, self._compensating, reason, self._writes_settled)
        entry = Entry(mark=mark, steps=self.entry.steps, writes=[*self._riders, *self._marks_of(park)])
        for step in entry.steps:
            step.writes = self._writes_settled
            step.started_at = self._start[7]
        try:
            await self._submit(entry)
        except Stop:
            return
        self._engine.counts.parked += 1
        self._engine.counts.alerts[name] += 1
        self.alert(reason)
        self.ended.put(None, parked_error(self.workflow_id))

    def _marks_of(self, park: Park) -> list[Write]:
        marks = [] if self.farewell is None else [self.farewell]
        if (step := park.step) is not None:
            reason = park.reason.replace("\x00", "")  # which a text column does not take
            row = (self.workflow_id, step.seq, step.kind, step.name, step.argument_hash, reason, self._now)
            marks.append(Write(self._engine.statements["stuck_upsert"], row))
        return marks


def _refusal_in(error: PaymentError | ExceptionGroup[Any]) -> PaymentError:
    """The first refusal of a group that holds nothing else (a TaskGroup's); anything else is a bug."""
    if isinstance(error, PaymentError):
        return error
    refusal = _first(error, PaymentError)
    if refusal is None or error.split(PaymentError)[1] is not None:
        raise error
    return refusal


def _first(group: BaseExceptionGroup[Any], kind: type[E]) -> E | None:
    """The first of a kind in a group, however deep."""
    found: BaseException | None = group.subgroup(kind)
    while isinstance(found, BaseExceptionGroup):
        found = cast("BaseException", found.exceptions[0])
    return cast("E | None", found)
