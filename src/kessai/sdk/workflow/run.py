"""One run of a workflow, as its function sees it: activities, rows, events, and marks of changed code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cached_property, wraps
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from kessai.foundation.errors import PaymentError, Unknown
from kessai.sdk.workflow.attempt import earliest
from kessai.sdk.workflow.branch import PLAIN_MAX
from kessai.sdk.workflow.compensation import Undo
from kessai.sdk.workflow.course import History, encoded
from kessai.sdk.workflow.definition import name_of, types_of
from kessai.sdk.workflow.ending import Park
from kessai.sdk.workflow.finish import Finish
from kessai.sdk.workflow.heartbeat import Pulse
from kessai.sdk.workflow.model import DEFAULT_RETRY, Activity, Conflicted, Retry, Write
from kessai.sdk.workflow.outcome import decode, decode_error, digest_of
from kessai.sdk.workflow.search import AttributeValue, attribute_row
from kessai.sdk.workflow.steps import INTENT, OUTCOME, Entry, Step

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

__all__ = ["History", "Workflow"]


class Workflow(Finish[D]):
    """One run of a workflow, as its function sees it."""

    @cached_property
    def _queries(self) -> dict[str, Callable[[], object]]:
        return {}

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
        pivot: bool = False,
        tx: bool = False,
        heartbeat_s: float | None = None,
    ) -> R:
        """The outcome of an activity; it is attempted at least once and journalled, then replayed from the journal.

        Raises its non-retryable PaymentError (refused); Unavailable when `retry` gave up and nothing was done;
        Unknown when attempts or the deadline ran out and it may have taken effect; Conflicted when rows recorded
        before it did not match, and Cancelled when the workflow was cancelled (it was not attempted, or did nothing).
        `compensate` gets the same argument, and undoes it if the workflow fails; `activity.undoes` is this key.
        `repeatable`: the same key always gives the same outcome (a ledger exchange does, a look-up does not), so later
        activities need not wait until its record is durable.
        `pivot`: once it is done there is no way back, as after `pivot()`.
        `tx`: it works in `activity.connection`, a transaction of this database under the service's role; its rows and
        its outcome are committed together, so that it takes effect exactly once.
        `heartbeat_s`: an attempt that does not call `activity.heartbeat()` for so long is cut off and made again.
        """
        seq, name = self._numbering.next(), name_of(function)
        digest = digest_of(self._data_of(argument, name))
        step = Step(self.workflow_id, seq, OUTCOME, name, digest, False, b"", self._now, argument=argument)
        key = key or (self._key(seq) if self._resumed or seq > PLAIN_MAX else f"{self.workflow_id}:{seq}")
        undo = None if compensate is None else Undo(seq, key, compensate, argument)
        if self._known:
            if (known := self._recorded(step)) is not None:
                return await self._replayed(known, function, undo, pivot=pivot)
            if self._owes and undo is not None and self._known.pop((seq, INTENT), None) is not None:
                self._undo.append(undo)
        if self._attention:
            await self._attend(step, tried=not tx and self._maybe_tried())
        if undo is not None and self._pivoted:
            raise Park(f"{name} names a compensation, but comes after the point of no return", step)
        await self._ready(step, None if undo is None else b"null", settle=tx)
        if undo is not None:
            self._undo.append(undo)
        activity, attempted = Activity(self.workflow_id, seq, key, 1, self._engine.deps), function
        if tx or heartbeat_s is not None:
            activity, attempted = self._furnished(step, activity, function, heartbeat_s, tx=tx)
        tried, undoable, until = not tx and self._maybe_tried(), undo is not None, earliest(self._deadline, deadline_s)
        self._inflight += 1
        try:
            result = await self._attempts.until_definite(
                attempted, argument, activity, retry or DEFAULT_RETRY, until, self, undoable=undoable, uncertain=tried
            )
        except PaymentError as error:
            raise self._refused(step, error, undo) from None
        except BaseException:
            self._torn = step if undo is None else self._torn
            raise
        finally:
            self._landed()
        self._done(step, result, repeatable=repeatable, pivot=pivot, tx=tx)
        return result

    def record(self, write: Write) -> None:
        """Commit a row of the service's own with the next journal flush, at the latest with the completion."""
        if self._is_new_write():
            self.entry.writes.append(write)

    def publish(self, topic: str, event: msgspec.Struct) -> None:
        """Put an event into the outbox with the next journal flush; those of one flush and topic share a row."""
        if self._is_new_write():
            self.entry.events.append((topic, encoded(event, topic)))

    def set_attributes(self, **attributes: AttributeValue) -> None:
        """By what it can be found (`engine.search`); committed like a recorded row. Never personal data or secrets."""
        statement = self._engine.statements["attribute_upsert"]
        for name, value in attributes.items():
            self.record(Write(statement, attribute_row(self.workflow_id, name, value)))

    async def flush(self) -> None:
        """Make what was recorded so far durable and visible now; raises Conflicted when a guarded row did not match."""
        step = Step(self.workflow_id, self._numbering.next(), OUTCOME, "flush", b"", False, b"null", self._now)
        if (known := self._recorded(step)) is not None:
            await self._told(known)
            return
        if self._attention:
            await self._attend(step)
        self._note(step, b"null")
        try:
            await self._flush()
        except Conflicted as error:
            self._drop(lambda each: each is step)
            raise self._note_error(step, error) from None

    def pivot(self) -> None:
        """The point of no return: what was done so far is no longer undone, and a cancel has no effect any more.

        From here on the workflow can only go forward: activities are tried until they succeed, and one that is refused
        parks the workflow for an operator. `compensate=` has no place after it.
        """
        self._pivoted = True
        self._undo.clear()

    def patched(self, change: str) -> bool:
        """Whether this run takes the new way at a place where the code was changed: False for runs begun before.

        `if wf.patched("fee-first"): … else: …`; once no run from before is open, the old way and the mark may go.
        """
        name = f"patched {change}"
        if name in self._patches:
            return True
        if self._maybe_tried():  # it was here before the change, or did nothing after it: the old way is right for it
            return False
        self._patches |= {name}
        mark = Step(self.workflow_id, self._numbering.next_patch(), OUTCOME, name, b"", False, b"true", self._now)
        self.entry.steps.append(mark)
        self._must_settle = True
        return True

    def expose(self, query: str, answer: Callable[[], object]) -> None:
        """Let `engine.query(workflow_id, query, …)` ask for `answer()`, a function that reads and changes nothing."""
        self._queries[query] = answer

    def now(self) -> datetime:
        """Journalled business time: that of the start or of the latest completed step; the same on every replay."""
        return self._now

    def answer(self, query: str) -> object:
        """What a query is answered with at this moment; raises KeyError when it is not exposed."""
        return self._queries[query]()

    # -- one activity ---------------------------------------------------------------------------------------------

    def _data_of(self, argument: object, name: str) -> bytes:
        """An argument's JSON; the request's is there already."""
        if argument is self._request and not (self._resumed or self._engine.payloads.sealed):
            return self._start[4]
        return encoded(argument, name)

    async def _replayed(
        self, known: Step, function: Callable[[Activity[D], A], Awaitable[R]], undo: Undo | None, *, pivot: bool
    ) -> R:
        if not known.failed:
            if undo is not None:
                self._undo.append(undo)
            outcome = await self._told(known)
            if pivot:
                self.pivot()
            return decode(outcome, types_of(function)[1])
        self._doubted(known, decode_error(self._engine.payloads.open(known.outcome)), undo)
        await self._told(known)
        raise AssertionError("a failed step raises")

    def _doubted(self, step: Step, error: PaymentError, undo: Undo | None) -> None:
        """Keep in mind what an error leaves behind: something to undo, or something that cannot be."""
        self._failed_step = step
        if undo is not None and error.retryable and undo not in self._undo:
            self._undo.append(undo)
        elif undo is not None and not error.retryable and undo in self._undo:
            self._undo.remove(undo)  # refused: there is nothing to undo
        elif undo is None and isinstance(error, Unknown):
            self._unguarded = step

    def _refused(self, step: Step, error: PaymentError, undo: Undo | None) -> PaymentError:
        if self._cancel is not None and not isinstance(error, Unknown) and error.retryable and not self._pivoted:
            error = self._cancelled()
        self._doubted(step, error, undo)
        return self._note_error(step, error)

    def _done(self, step: Step, result: object, *, repeatable: bool, pivot: bool, tx: bool) -> None:
        if tx:
            self._now = max(self._now, step.recorded_at)
            self._numbering.current().fresh = True
        else:
            self._note(step, encoded(result, step.name))
            self._must_settle |= not repeatable
        if pivot:
            self.pivot()

    def _furnished(
        self,
        step: Step,
        activity: Activity[D],
        function: Callable[[Activity[D], A], Awaitable[R]],
        heartbeat_s: float | None,
        *,
        tx: bool,
    ) -> tuple[Activity[D], Callable[[Activity[D], A], Awaitable[R]]]:
        """With a heartbeat, or in a transaction."""
        if heartbeat_s is not None:
            activity = replace(activity, pulse=self._pulse(step.seq, heartbeat_s))
        return activity, self._in_transaction(step, function) if tx else function

    def _in_transaction(
        self, step: Step, function: Callable[[Activity[D], A], Awaitable[R]]
    ) -> Callable[[Activity[D], A], Awaitable[R]]:
        kind = types_of(function)[1]

        @wraps(function)
        async def transacted(activity: Activity[D], argument: A) -> R:
            step.writes, step.started_at = self._writes_settled, self._start[7]

            async def work(connection: Any) -> bytes:
                return encoded(await function(replace(activity, transaction=connection), argument), step.name)

            return self._engine.payloads.decode(await self._engine.in_transaction(step, work), kind)

        return transacted

    def _pulse(self, seq: int, heartbeat_s: float) -> Pulse:
        known = None if self._history is None else self._history.progress.get(seq)

        def save(progress: bytes) -> None:
            row = (self.workflow_id, seq, self._engine.payloads.seal(progress), self._engine.clock.now())
            self._spawn(self._saved(Write(self._engine.statements["heartbeat_upsert"], row)))

        return Pulse(
            heartbeat_s,
            None if known is None else self._engine.payloads.open(known),
            save,
            lambda: self._cancel is not None or self._ending,
        )

    async def _saved(self, write: Write) -> None:
        """Progress is worth keeping, but nothing depends on it."""
        await self._journal.submit(Entry(writes=[write]))
