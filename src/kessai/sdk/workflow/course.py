"""The course of one run: its steps' numbers, what the journal tells of them, and what is yet to be journalled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NoReturn, TypeVar

import structlog

from kessai.foundation.call import Call
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.workflow.attempt import Attempts, loop_time_of
from kessai.sdk.workflow.branch import Branch, Numbering, is_patch, label_of
from kessai.sdk.workflow.definition import Definition
from kessai.sdk.workflow.earlier import earlier_digest_of
from kessai.sdk.workflow.ending import Once, Park, Stop
from kessai.sdk.workflow.host import Host
from kessai.sdk.workflow.model import Alert, Conflicted, Write
from kessai.sdk.workflow.outcome import PayloadTooLarge, decode_error, digest_of, encode, encode_error
from kessai.sdk.workflow.steps import INTENT, OUTCOME, UNDONE, Entry, Row, Step, shown

D = TypeVar("D")

log = structlog.get_logger(__name__)

FLUSH_RETRY_DELAY_S_MAX = 1.0
QUIET_TURNS = 24
"""Turns of the loop without any replayed step after which a recorded failure is told to the code."""


@dataclass(slots=True)
class History:
    """What the journal holds of a run that is taken up again."""

    steps: list[Step]
    writes: int
    compensating: bool
    progress: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """Last heartbeats, by step."""
    origins: dict[int, str] = field(default_factory=dict[int, str])
    """In a fork: under whose id a step was made."""


class Course(Generic[D]):
    """The journal's side of a run."""

    farewell: Write | None = None
    """A row to be made when it ends or parks: it leaves its queue."""
    _compensating = False
    _patches: frozenset[str] = frozenset()
    _consumed = 0
    """Steps replayed so far."""
    _sent = False
    """Something was handed to the journal: the start may be durable, though nobody has heard of it."""

    def __init__(
        self,
        host: Host[D],
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
        self._engine = host
        self._definition = definition
        self._request = request
        self._start = start
        self._call = call
        self._attempts = Attempts(host, self.workflow_id, call)
        self._now: datetime = start[7]
        self._numbering = Numbering(resumed=history is not None)
        self._advanced: set[Branch] | None = None
        self._riders: list[Write] = []
        self._written = 0
        self._resumed = history is not None
        self._durable = history is not None
        self._journal = host.writer
        self._flushing: Once[None] | None = None
        self._must_settle = False
        self._closed = False
        self._deadline = loop_time_of(start[8])
        self._known: dict[tuple[int, int], Step] = {}
        self._writes_settled = 0
        self._history = history
        if history is not None:
            self._recall(history)

    def _recall(self, history: History) -> None:
        self._known = {(step.seq, step.kind): step for step in history.steps if not is_patch(step.seq)}
        self._held: list[tuple[datetime, int]] = []
        self._patches = frozenset(step.name for step in history.steps if is_patch(step.seq))
        for _ in self._patches:
            self._numbering.next_patch()
        self._writes_settled = history.writes
        self._compensating = history.compensating

    @property
    def began(self) -> bool:
        """Whether its start is durable."""
        return self._durable

    # -- steps ----------------------------------------------------------------------------------------------------

    def _step(self, name: str, content: object) -> Step:
        """The step that the current task makes next."""
        seq = self._numbering.next()
        digest = digest_of(encoded(content, name))
        return Step(self.workflow_id, seq, OUTCOME, name, digest, False, b"", self._now, argument=content)

    def _maybe_tried(self) -> bool:
        """Whether the step that the current task makes may have been attempted before a recovery."""
        return self._resumed and not self._numbering.current().fresh

    def _key(self, seq: int) -> str:
        origin = self.workflow_id
        if self._history is not None and self._history.origins:
            origin = self._history.origins.get(seq, origin)
        return f"{origin}:{label_of(seq)}"

    def _recorded(self, step: Step) -> Step | None:
        """The journalled outcome of a step, if there is one; parks when the journal tells of another step here."""
        if not self._known:
            return None
        intent = self._known.get((step.seq, INTENT))
        known = self._known.pop((step.seq, step.kind), None)
        self._consumed += known is not None
        for other in (intent, known):
            if other is not None and not _is_same(other, step):
                raise Park(
                    f"step {label_of(step.seq)} was recorded as {shown(other)}, but the code now calls {shown(step)}:"
                    " the code has changed since, or is not deterministic",
                    other,
                )
        if known is not None:
            self._known.pop((step.seq, INTENT), None)
        return known

    async def _told(self, known: Step) -> bytes:
        """The outcome of a recorded step, or its error, told to the code in its turn."""
        if known.failed:
            await self._hold(known)
        else:
            await asyncio.sleep(0)
        self._now = max(self._now, known.recorded_at)
        outcome = self._engine.payloads.open(known.outcome)
        if known.failed:
            raise decode_error(outcome)
        return outcome

    async def _hold(self, known: Step) -> None:
        """Let every other branch replay what was recorded before this failure is told, as it was before the crash."""
        mine, seen, quiet = (known.recorded_at, known.seq), -1, 0
        self._held.append(mine)
        try:
            while quiet < QUIET_TURNS:
                if self._consumed != seen or min(self._held) != mine:
                    seen, quiet = self._consumed, 0
                quiet += 1
                await asyncio.sleep(0)
        finally:
            self._held.remove(mine)

    async def _never(self) -> NoReturn:
        """Go no further: the task is ended with the run."""
        await asyncio.get_running_loop().create_future()
        raise Stop

    def _is_new_write(self) -> bool:
        self._written += 1
        return self._written > self._writes_settled

    def _left_over(self, *, before_compensation: bool = False) -> Step | None:
        """A recorded step that the code has not called."""
        kinds = (INTENT, OUTCOME) if before_compensation else (INTENT, OUTCOME, UNDONE)
        return next((step for step in self._known.values() if step.kind in kinds), None)

    # -- journalling ----------------------------------------------------------------------------------------------

    def _note(self, step: Step, outcome: bytes) -> None:
        self._now = step.recorded_at = max(self._now, self._engine.clock.now())
        step.outcome = self._engine.payloads.seal(outcome)
        self.entry.steps.append(step)
        # What comes after an outcome that was not yet durable was never attempted before the recovery.
        if self._maybe_tried():
            self._advanced = (self._advanced or set()) | {self._numbering.current()}

    def _note_error(self, step: Step, error: PaymentError) -> PaymentError:
        """Journal a step's error; it must be durable before anything else is attempted because of it."""
        step.failed = True
        self._note(step, encode_error(error))
        self._must_settle = True
        return error

    async def _ready(self, step: Step, intent: bytes | None, *, settle: bool = False) -> None:
        """Before an effect: everything that led to it is durable, and so is the intent, if there is one.

        With `settle`, so is what need not be yet: a wait may be long. Suspends its task at least once, so that the
        steps of parallel branches are numbered in the same order.
        """
        settle = self._must_settle or (settle and not (self.entry.is_empty() and not self._riders))
        if intent is not None and self._known.pop((step.seq, INTENT), None) is None:
            self.entry.steps.append(
                Step(step.workflow_id, step.seq, INTENT, step.name, step.argument_hash, False, intent, self._now)
            )
        elif self._durable and not settle and self._flushing is None:
            await asyncio.sleep(0)
            return
        try:
            await self._flush()
        except Conflicted as error:
            self._drop(lambda each: each.kind == INTENT and each.seq == step.seq)
            raise self._note_error(step, error) from None

    async def _flush(self) -> None:
        """Make what is pending durable, one flush of a run at a time; Conflicted leaves its steps pending."""
        while self._flushing is not None:
            await self._flushing.get()
        if self._closed:
            raise Stop
        if self._durable and self.entry.is_empty() and not self._riders:
            return
        entry, self.entry = self.entry, Entry()
        riders, advanced = self._riders, self._advanced
        if riders:
            self._riders = []
            entry.writes.extend(riders)
        self._advanced = None
        turn = self._flushing = Once[None]()
        written = max(self._written, self._writes_settled)
        try:
            self._must_settle = False
            await self._submit(self._sealed(entry))
            self._writes_settled = written
            for branch in advanced or ():
                branch.fresh = True
        except Conflicted:
            self.entry.steps[:0] = entry.steps
            self._riders[:0] = riders
            self._advanced = (self._advanced or set()) | (advanced or set())
            self._must_settle = True
            raise
        finally:
            self._flushing = None
            turn.put(None)

    async def _settle_pending(self) -> None:
        """Before a wait: what was recorded is not kept back for as long as it takes."""
        if not self._durable or self._riders or not self.entry.is_empty():
            await self._flush()

    def _sealed(self, entry: Entry) -> Entry:
        """An entry as it departs: with the start, if that is not durable yet, and the count of writes so far."""
        if not self._durable:
            entry.start = (*self._start[:6], self._written, *self._start[7:])
        for step in entry.steps:
            step.writes = max(self._written, self._writes_settled)
            step.started_at = self._start[7]
        return entry

    async def _submit(self, entry: Entry) -> None:
        """Carry an entry into the journal, however long the database is away, unless it is the start."""
        delay_s, self._sent = 0.01, True
        self._engine.counts.entries += 1
        while True:
            try:
                fresh = await self._journal.submit(entry)
            except Exception as error:
                if not self._durable:
                    self._fail_start(error)
                if self._journal.stopped and isinstance(error, (Unavailable, Unknown)):
                    raise Stop from error
                if not isinstance(error, Unavailable):
                    raise
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
        """Nothing is durable, or nobody knows: whoever started it is told which, and the run goes no further here."""
        self._closed = True
        self.started.put(None, error)
        raise Stop from error

    def alert(self, reason: str, *, parked: bool = True) -> None:
        """Tell an operator."""
        if self._engine.alert is not None:
            name, now = self._definition.name, self._engine.clock.now()
            try:
                self._engine.alert(Alert(self.workflow_id, name, self._compensating, reason, now, parked))
            except Exception:
                log.exception("workflow_alert_failed", workflow_id=self.workflow_id)

    def _drop(self, unwanted: Callable[[Step], bool]) -> None:
        """After a conflict: the writes are given up for good, and with them the steps that never came to be."""
        self._writes_settled = max(self._written, self._writes_settled)
        self.entry.steps = [step for step in self.entry.steps if not unwanted(step)]


def _is_same(recorded: Step, step: Step) -> bool:
    if recorded.name != step.name:
        return False
    return recorded.argument_hash in (step.argument_hash, earlier_digest_of(step.argument))


def encoded(value: object, name: str) -> bytes:
    """A payload's JSON; one that is too large or has no JSON parks the workflow, naming what it was for."""
    try:
        return encode(value)
    except (PayloadTooLarge, TypeError, ValueError) as error:
        raise Park(f"{name}: {error}") from error
