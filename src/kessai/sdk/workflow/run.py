"""One run of a workflow: what its function sees, its replay from the journal, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import structlog

from kessai.foundation.call import Call
from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow.attempt import Attempts, earliest, loop_time_of, pause
from kessai.sdk.workflow.definition import Definition, name_of, types_of
from kessai.sdk.workflow.ending import Interrupted, Once, Park, Stop, parked_error
from kessai.sdk.workflow.model import DEFAULT_RETRY, Activity, Conflicted, Retry, Write
from kessai.sdk.workflow.outcome import PayloadTooLarge, decode, decode_error, digest_of, encode, encode_error
from kessai.sdk.workflow.steps import INTENT, OUTCOME, UNDONE, Entry, Row, Step, archived, shown

if TYPE_CHECKING:
    from kessai.sdk.workflow.engine import Engine

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

log = structlog.get_logger(__name__)

COMPENSATION_DELAY_S_MAX = 30.0
FLUSH_RETRY_DELAY_S_MAX = 1.0


@dataclass(slots=True)
class _Undo:
    """A compensable activity that was, or is about to be, attempted."""

    seq: int
    key: str
    function: Callable[[Any, Any], Awaitable[object]]
    argument: Any


@dataclass(slots=True)
class History:
    """What the journal holds of a run that is taken up again."""

    steps: list[Step]
    writes: int
    compensating: bool


class Workflow(Generic[D]):
    """One run of a workflow, as its function sees it."""

    def __init__(
        self,
        engine: Engine[D],
        definition: Definition[D, Any, Any],
        request: object,
        *,
        start: Row,
        call: Call,
        history: History | None = None,
    ) -> None:
        self.workflow_id: str = start[0]
        """The id under which it was started (its idempotency key)."""
        self.digest: bytes = start[3]
        self.started: Once[bool] = Once()
        """True once it is durably started here, False when its id was taken."""
        self.ended: Once[tuple[bool, Any]] = Once()
        """(failed, result or error) once that is durable."""
        self.entry = Entry()
        """What the next flush carries."""
        self._engine = engine
        self._definition = definition
        self._request = request
        self._start = start
        self._attempts = Attempts(engine.service, engine.deps, self.workflow_id, call)
        self._now: datetime = start[7]
        self._seq = 0
        self._undo: list[_Undo] = []
        self._written = 0
        self._durable = history is not None
        # After a recovery, an attempt whose outcome was lost may have been made.
        self._resumed = history is not None
        self._journal = engine.journal
        self._flushing: Once[None] | None = None
        self._must_settle = False
        self._unguarded_unknown = False
        self._closed = False
        self._deadline = loop_time_of(start[8])
        self._known: dict[tuple[int, int], Step] = {}
        self._writes_settled = 0
        self._compensating = False
        if history is not None:
            self._known = {(step.seq, step.kind): step for step in history.steps}
            self._writes_settled = history.writes
            self._compensating = history.compensating

    # -- what the function calls ----------------------------------------------------------------------------------

    async def activity(
        self,
        function: Callable[[Activity[D], A], Awaitable[R]],
        argument: A,
        *,
        compensate: Callable[[Activity[D], A], Awaitable[object]] | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        deadline_s: float | None = None,
        repeatable: bool = False,
    ) -> R:
        """The outcome of an activity; it is attempted at least once and journalled, then replayed from the journal.

        Raises its non-retryable PaymentError (refused); Unavailable when `retry` gave up and nothing was done;
        Unknown when attempts or the deadline ran out and it may have taken effect; Conflicted when rows recorded
        before it did not match (the activity was then not attempted).
        `compensate` gets the same argument, and undoes it if the workflow fails; `activity.undoes` is this key.
        `repeatable`: the same key always gives the same outcome (a ledger exchange does, a look-up does not), so later
        activities need not wait until its record is durable.
        """
        self._seq += 1
        seq, name = self._seq, name_of(function)
        step = Step(self.workflow_id, seq, OUTCOME, name, digest_of(_encoded(argument, name)), False, b"", self._now)
        key = key or f"{self.workflow_id}:{seq}"
        undo = None if compensate is None else _Undo(seq, key, compensate, argument)
        if (known := self._recorded(step)) is not None:
            return self._replayed(known, function, undo)
        try:
            await self._ready(step, undo)
        except Conflicted as error:
            self._drop(lambda each: each.kind == INTENT and each.seq == seq)
            raise self._note_error(step, error) from None
        if undo is not None:
            self._undo.append(undo)
        deadline = earliest(self._deadline, deadline_s)
        try:
            result = await self._attempts.until_definite(
                function, argument, seq, key, retry or DEFAULT_RETRY, deadline, uncertain=self._resumed
            )
        except PaymentError as error:
            if undo is not None and not error.retryable:
                self._undo.remove(undo)  # refused: there is nothing to undo
            self._unguarded_unknown |= undo is None and isinstance(error, Unknown)
            raise self._note_error(step, error) from None
        self._note(step, _encoded(result, name))
        self._must_settle |= not repeatable
        return result

    def record(self, write: Write) -> None:
        """Commit a row of the service's own with the next journal flush, at the latest with the completion."""
        if self._is_new_write():
            self.entry.writes.append(write)

    def publish(self, topic: str, event: msgspec.Struct) -> None:
        """Put an event into the outbox with the next journal flush; those of one flush and topic share a row."""
        if self._is_new_write():
            self.entry.events.append((topic, _encoded(event, topic)))

    async def flush(self) -> None:
        """Make what was recorded so far durable and visible now; raises Conflicted when a guarded row did not match."""
        self._seq += 1
        step = Step(self.workflow_id, self._seq, OUTCOME, "flush", b"", False, b"null", self._now)
        if (known := self._recorded(step)) is not None:
            if known.failed:
                raise decode_error(known.outcome)
            return
        self._note(step, b"null")
        try:
            await self._flush()
        except Conflicted as error:
            self._drop(lambda each: each is step)
            raise self._note_error(step, error) from None

    async def compensate(self) -> None:
        """Undo every compensable activity so far, last first; returns when all are undone. Then the code goes on."""
        if not self._undo:
            return
        if not self._compensating or self._must_settle:
            self._compensating = True
            self.entry.mark = (self.workflow_id, True, None, max(self._written, self._writes_settled))
            try:
                await self._flush()
            except Conflicted as error:
                raise Park(f"before compensation: {error}") from error
        for undo in sorted(self._undo, key=lambda each: each.seq, reverse=True):
            await self._undone(undo)
        self._undo.clear()

    def now(self) -> datetime:
        """Journalled business time: that of the start or of the latest completed step; the same on every replay."""
        return self._now

    # -- replay ---------------------------------------------------------------------------------------------------

    def _recorded(self, step: Step) -> Step | None:
        """The journalled outcome of a step, if there is one; parks when the journal tells of another step here."""
        if not self._known:
            return None
        intent = self._known.get((step.seq, INTENT))
        known = self._known.pop((step.seq, step.kind), None)
        for other in (intent, known):
            if other is not None and (other.name, other.argument_hash) != (step.name, step.argument_hash):
                raise Park(
                    f"step {step.seq} was recorded as {shown(other)}, but the code now calls {shown(step)}:"
                    " the code has changed since, or is not deterministic"
                )
        return known

    def _replayed(self, known: Step, function: Callable[..., Awaitable[R]], undo: _Undo | None) -> R:
        self._known.pop((known.seq, INTENT), None)
        self._now = max(self._now, known.recorded_at)
        if not known.failed:
            if undo is not None:
                self._undo.append(undo)
            return decode(known.outcome, types_of(function)[1])
        error = decode_error(known.outcome)
        if error.retryable:
            self._unguarded_unknown |= undo is None and isinstance(error, Unknown)
            if undo is not None:
                self._undo.append(undo)
        raise error

    def _is_new_write(self) -> bool:
        self._written += 1
        return self._written > self._writes_settled

    # -- journalling ----------------------------------------------------------------------------------------------

    def _note(self, step: Step, outcome: bytes) -> None:
        self._now = step.recorded_at = max(self._now, self._engine.clock.now())
        step.outcome = outcome
        self.entry.steps.append(step)

    def _note_error(self, step: Step, error: PaymentError) -> PaymentError:
        """Journal a step's error; it must be durable before anything else is attempted because of it."""
        step.failed = True
        self._note(step, encode_error(error))
        self._must_settle = True
        return error

    async def _ready(self, step: Step, undo: _Undo | None) -> None:
        """Before an effect: everything that led to it is durable, and so is the intent, if it can be undone."""
        if undo is not None and self._known.pop((step.seq, INTENT), None) is None:
            intent = Step(step.workflow_id, step.seq, INTENT, step.name, step.argument_hash, False, b"null", self._now)
            self.entry.steps.append(intent)
        elif self._durable and not self._must_settle and self._flushing is None:
            return
        await self._flush()

    async def _flush(self) -> None:
        """Make what is pending durable, one flush of a run at a time; Conflicted leaves its steps pending."""
        while self._flushing is not None:
            await self._flushing.get()
        if self._closed:
            raise Stop
        if self._durable and self.entry.is_empty():
            return
        entry, self.entry = self.entry, Entry()
        turn = self._flushing = Once[None]()
        written = max(self._written, self._writes_settled)
        try:
            self._must_settle = False
            await self._submit(self._sealed(entry))
            self._writes_settled = written
            # What comes after an outcome that was not yet durable was never attempted before the recovery.
            self._resumed = self._resumed and not any(step.kind == OUTCOME for step in entry.steps)
        except Conflicted:
            self.entry.steps[:0] = entry.steps
            self._must_settle = True
            raise
        finally:
            self._flushing = None
            turn.put(None)

    def _sealed(self, entry: Entry) -> Entry:
        """An entry as it departs: with the start, if that is not durable yet, and the count of writes so far."""
        if not self._durable:
            entry.start = (*self._start[:6], self._written, *self._start[7:])
        for step in entry.steps:
            step.writes = max(self._written, self._writes_settled)
        return entry

    async def _submit(self, entry: Entry) -> None:
        """Carry an entry into the journal, however long the database is away, unless it is the start."""
        delay_s = 0.01
        while True:
            try:
                fresh = await self._journal.submit(entry)
            except Exception as error:
                if not self._durable:
                    self._fail_start(error)
                if not isinstance(error, Unavailable):
                    raise
                if self._journal.stopped:
                    raise Stop from error
                await asyncio.sleep(delay_s)
                delay_s = min(FLUSH_RETRY_DELAY_S_MAX, delay_s * 2)
                continue
            break
        if not fresh:
            self.started.put(False)
            raise Stop
        if not self._durable:
            self._durable = True
            self.started.put(True)

    def _fail_start(self, error: Exception) -> None:
        """Nothing is durable: whoever started it is told, and the run never was."""
        self._closed = True
        self.started.put(None, error)
        raise Stop from error

    def _drop(self, unwanted: Callable[[Step], bool]) -> None:
        """After a conflict: the writes are given up for good, and with them the steps that never came to be."""
        self._writes_settled = max(self._written, self._writes_settled)
        self.entry.steps = [step for step in self.entry.steps if not unwanted(step)]

    # -- compensation ------------------------------------------------------------------------------------------

    async def _undone(self, undo: _Undo) -> None:
        """Compensate one activity, however often it takes; neither deadline nor refusal ends it."""
        name = name_of(undo.function)
        step = Step(
            self.workflow_id, undo.seq, UNDONE, name, digest_of(_encoded(undo.argument, name)), False, b"", self._now
        )
        if self._recorded(step) is not None:
            return
        attempt = 0
        while True:
            attempt += 1
            activity = Activity(
                self.workflow_id, undo.seq, f"{undo.key}:undo", attempt, self._engine.deps, undoes=undo.key
            )
            try:
                await self._attempts.once(undo.function, activity, undo.argument, DEFAULT_RETRY, None)
                break
            except Exception as error:  # noqa: BLE001  (an undone effect is the only way out)
                self._engine.counts.compensation_failures += 1
                log.warning("compensation_retried", workflow_id=self.workflow_id, step=name, error=repr(error))
            await asyncio.sleep(pause(attempt, 0.05, COMPENSATION_DELAY_S_MAX, None))
        self._note(step, b"null")

    # -- how it ends ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry the function to its end, or as far as this executor can."""
        try:
            await self._carry()
        except Stop:
            self.ended.put(None, Interrupted())
        except Park as park:
            await self._park(park.reason)
        except asyncio.CancelledError:
            if not (self._journal.stopped or self._engine.closing):
                await self._park("it was cancelled from within")
        except Exception as error:  # noqa: BLE001  (kept for an operator, with its error)
            await self._park(repr(error))
        finally:
            self._closed = True
            self.started.put(None, Unavailable("executor_stopped", "This process is stopping; send the request again."))
            self.ended.put(None, Interrupted())

    async def _carry(self) -> None:
        try:
            result = await self._definition.function(self, self._request)
        except PaymentError as error:
            await self._fail(error)
            return
        data = _encoded(result, self._definition.name)
        step = Step(self.workflow_id, self._seq + 1, OUTCOME, "finish", b"", False, b"", self._now)
        if (known := self._recorded(step)) is not None:
            await self._fail(decode_error(known.outcome))
            return
        try:
            await self._finish(False, data)
        except Conflicted as error:
            if not self._undo:
                raise Park(f"its last rows did not match: {error}") from error
            self._drop(lambda _: False)
            await self._fail(self._note_error(step, error))
            return
        self.ended.put((False, result))

    async def _fail(self, error: PaymentError) -> None:
        """Undo what can be undone, then store the refusal."""
        if error.retryable:
            if self._unguarded_unknown:
                raise Park(f"an outcome is unknown and cannot be undone: {error}")
            error = Refused("gave_up", f"Given up and undone ({error.code}): {error.message}", cause=error.code)
        await self.compensate()
        try:
            await self._finish(True, encode_error(error))
        except Conflicted as conflict:
            raise Park(f"its last rows did not match: {conflict}") from conflict
        self.ended.put((True, error))

    async def _finish(self, failed: bool, outcome: bytes) -> None:
        """The completion: last steps, rows, events and outcome in one flush."""
        left = list(self._known.values())
        if left:
            raise Park(f"step {left[0].seq} was recorded as {shown(left[0])}, but the code no longer calls it")
        if not self._durable:
            await self._flush()
        while self._flushing is not None:
            await self._flushing.get()
        steps, self.entry.steps = self.entry.steps, []
        row = self._start
        self.entry.finish = (
            *(row[0], row[1], row[2], row[3]),
            *(failed, outcome, archived(steps), row[7], self._engine.clock.now()),
        )
        try:
            await self._flush()
        except Conflicted:
            self.entry.steps[:0] = steps
            raise

    async def _park(self, reason: str) -> None:
        """Keep it for an operator: its rows are not made, its steps are."""
        log.error("workflow_parked", workflow_id=self.workflow_id, workflow=self._definition.name, reason=reason)
        self._closed = True
        if not self._durable:
            self.started.put(None, RuntimeError(f"{self._definition.name} did not start: {reason}"))
            return
        mark = (self.workflow_id, self._compensating, reason, self._writes_settled)
        entry = Entry(mark=mark, steps=self.entry.steps)
        for step in entry.steps:
            step.writes = self._writes_settled
        try:
            await self._submit(entry)
        except Stop:
            return
        self._engine.counts.parked += 1
        self.ended.put(None, parked_error(self.workflow_id))


def _encoded(value: object, name: str) -> bytes:
    try:
        return encode(value)
    except (PayloadTooLarge, TypeError, ValueError) as error:
        raise Park(f"{name}: {error}") from error
