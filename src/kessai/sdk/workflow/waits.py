"""What a workflow waits for: time, messages and children; and how it is paused, cancelled and ended meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from kessai.foundation.errors import PaymentError, Unknown
from kessai.foundation.ids import derived_hex
from kessai.sdk.workflow.branch import label_of
from kessai.sdk.workflow.course import Course, History, encoded
from kessai.sdk.workflow.definition import Definition
from kessai.sdk.workflow.ending import Interrupted, Park, Stop
from kessai.sdk.workflow.messages import Mailbox, Message, MessageKind, Receiver, Taken, Update, consumption
from kessai.sdk.workflow.model import WORKFLOW_ID_MAX, Cancelled, SignalTimedOut, Write
from kessai.sdk.workflow.outcome import decode
from kessai.sdk.workflow.steps import INTENT, Step, shown

D = TypeVar("D")
R = TypeVar("R")
T = TypeVar("T")

_taken = msgspec.json.Decoder(Taken)
CHILD_LOOK_S = 1.0
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Waits for a message alone."""


class Waits(Course[D]):
    """The waiting steps of a run."""

    terminated: str | None = None
    """Why an operator ends it where it stands."""
    _attention = False
    """Something is asked of the run: steps look at it before they begin."""
    _owes = False
    """A recorded compensation has not been taken up yet in this replay: nothing new is attempted before it."""
    _ending = False
    """The function is over: its branches begin nothing more."""
    _pivoted = False
    _cancel: Message | None = None
    _inflight = 0
    """Activities and children under way."""
    _settled_future: asyncio.Future[None] | None = None
    _waits_since = 0.0
    """When the last wait began, by the loop's clock."""
    left = False
    """It rests: whoever wakes it takes it up from its journal."""

    # Most runs wait for nothing: what follows is made when it is needed.

    def _recall(self, history: History) -> None:
        super()._recall(history)
        self._attention = self._owes = self._compensating

    @cached_property
    def _mailbox(self) -> Mailbox:
        return Mailbox()

    @cached_property
    def _running(self) -> asyncio.Event:
        """Not set while it is paused."""
        running = asyncio.Event()
        running.set()
        return running

    @cached_property
    def _heard(self) -> set[str]:
        """Ids of what was asked of it."""
        return set()

    @cached_property
    def _pauses(self) -> list[Message]:
        return []

    @cached_property
    def _waiting(self) -> set[asyncio.Future[Any]]:
        """What steps wait for that a cancel ends."""
        return set()

    @cached_property
    def _dues(self) -> dict[asyncio.Future[Any], datetime]:
        """When waits end by themselves."""
        return {}

    @cached_property
    def _naps(self) -> set[asyncio.Future[None]]:
        return set()

    @cached_property
    def _children(self) -> set[str]:
        """Ids of children that are waited for."""
        return set()

    @property
    def _paused(self) -> bool:
        return "_running" in self.__dict__ and not self._running.is_set()

    # -- what the function calls ----------------------------------------------------------------------------------

    async def sleep(self, duration: timedelta | float) -> None:
        """Wait durably so long in business time (seconds, or a timedelta); a crash neither shortens nor prolongs it.

        Raises Cancelled when the workflow is cancelled meanwhile.
        """
        duration = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        await self._sleep(self._step("sleep", duration.total_seconds()), lambda: self._engine.clock.now() + duration)

    async def sleep_until(self, at: datetime) -> None:
        """Wait durably until an instant of business time; returns at once when it is past."""
        assert at.tzinfo is not None, "an aware instant"
        await self._sleep(self._step("sleep", at), lambda: at)

    async def receive(self, name: str, kind: type[T], *, within: timedelta | None = None) -> T:
        """The next signal of that name, as `kind`; each is taken once.

        Raises SignalTimedOut when none came `within` that business time, Cancelled when the workflow is cancelled.
        """
        _, value = await self.receive_any({name: kind}, within=within)
        return value

    async def receive_any(self, kinds: Mapping[str, type[Any]], *, within: timedelta | None = None) -> tuple[str, Any]:
        """The next signal of any of these names: its name, and its content as the type given for it."""
        taken = await self._receive(MessageKind.SIGNAL, tuple(sorted(kinds)), within)
        return taken.name, decode(taken.payload, kinds[taken.name])

    async def update(self, name: str, kind: type[T], *, within: timedelta | None = None) -> Update[T]:
        """The next update of that name, to be answered or refused: its sender waits. Raises as `receive`."""
        taken = await self._receive(MessageKind.UPDATE, (name,), within)
        statement, payloads = self._engine.statements["answer_insert"], self._engine.payloads

        def record(failed: bool, outcome: bytes) -> None:
            row = (self.workflow_id, taken.message_id, failed, payloads.seal(outcome), self._now)
            if self._is_new_write():
                self.entry.writes.append(Write(statement, row))

        return Update(name, taken.message_id, decode(taken.payload, kind), record, self._settle_pending)

    async def child(
        self,
        definition: Definition[D, Any, R],
        request: object,
        *,
        workflow_id: str | None = None,
        abandon: bool = False,
    ) -> R:
        """The outcome of another workflow, started as this one's child: its result, or its refusal is raised.

        Its id is this one's and the step's number unless given; a finished one of that id and content is not run
        again. When this workflow is cancelled or fails meanwhile, so is the child, and its end is waited for;
        with `abandon` the call returns as soon as the child is durably started, and gives None.
        """
        step = self._step(f"child {definition.name}", (workflow_id, abandon, request))
        if (known := self._recorded(step)) is not None:
            outcome = await self._told(known)
            return decode(outcome, None if abandon else definition.result_type)
        await self._attend(step, tried=self._maybe_tried())
        await self._ready(step, None)
        child_id = workflow_id or self._child_id(step.seq)
        self._inflight += 1
        self._children.add(child_id)
        try:
            result = await self._child_ended(definition, request, child_id, abandon)
        except PaymentError as error:
            if isinstance(error, Cancelled) and self._cancel is not None:
                self._cancelled()
            raise self._note_error(step, error) from None
        finally:
            self._children.discard(child_id)
            self._landed()
        self._note(step, encoded(result, step.name))
        self._must_settle = True
        return result

    # -- sleeping and receiving -----------------------------------------------------------------------------------

    async def _sleep(self, step: Step, until: Callable[[], datetime]) -> None:
        if (known := self._recorded(step)) is not None:
            await self._told(known)
            return
        await self._attend(step)
        at = await self._deadline_of(step, until)
        await self._until(step, self._future(at))
        self._note(step, b"null")

    async def _deadline_of(self, step: Step, until: Callable[[], datetime]) -> datetime:
        """When a wait ends: journalled before it begins, so that a recovery finds the same instant."""
        intent = self._known.pop((step.seq, INTENT), None)
        if intent is not None:
            await asyncio.sleep(0)
            return self._engine.payloads.decode(intent.outcome, datetime)
        at = until()
        await self._ready(step, self._engine.payloads.seal(encoded(at, step.name)))
        return at

    async def _receive(self, kind: MessageKind, names: tuple[str, ...], within: timedelta | None) -> Taken:
        seconds = None if within is None else within.total_seconds()
        step = self._step(f"{kind.name.lower()} {'|'.join(names)}", seconds)
        if (known := self._recorded(step)) is not None:
            return _taken.decode(await self._told(known))
        await self._attend(step)
        at = None
        if within is not None:
            at = await self._deadline_of(step, lambda: self._engine.clock.now() + within)
        else:
            await self._ready(step, None, settle=True)
        message = await self._message(step, Receiver(kind, names, self._future(at)))
        if message is None:
            raise self._note_error(step, SignalTimedOut("|".join(names)))
        taken = Taken(message.name, message.message_id, msgspec.Raw(self._engine.payloads.open(message.payload)))
        self._note(step, msgspec.json.encode(taken))
        self._riders.append(consumption(self._engine.statements["message_consume"], message))
        self._must_settle = True
        return taken

    async def _message(self, step: Step, receiver: Receiver) -> Message | None:
        self._mailbox.listen(receiver)
        try:
            return await self._until(step, receiver.future)
        except BaseException:
            if receiver.future.done() and not receiver.future.cancelled() and receiver.future.exception() is None:
                self._mailbox.put_back(receiver.future.result())
            raise
        finally:
            self._mailbox.deafen(receiver)

    def _future(self, at: datetime | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if at is not None:
            self._engine.timers.add(at, future)
            self._dues[future] = at
        return future

    async def _until(self, step: Step, future: asyncio.Future[Any]) -> Any:
        """Wait, unless the workflow is cancelled first."""
        self._waiting.add(future)
        self._waits_since = asyncio.get_running_loop().time()
        try:
            return await future
        except Cancelled as error:
            raise self._note_error(step, error) from None
        finally:
            self._waiting.discard(future)
            self._dues.pop(future, None)

    # -- children -------------------------------------------------------------------------------------------------

    def _child_id(self, seq: int) -> str:
        child_id = f"{self.workflow_id}:{label_of(seq)}"
        return child_id if len(child_id) <= WORKFLOW_ID_MAX else derived_hex(self.workflow_id, label_of(seq))

    async def _child_ended(
        self, definition: Definition[D, Any, R], request: object, child_id: str, abandon: bool
    ) -> R | Any:
        while True:
            try:
                handle = await self._engine.start_child(definition, request, child_id, self._call)
                if abandon:
                    return None
                if self._cancel is not None or self._ending:
                    await self._cancel_child(child_id)
                return await handle.result()
            except Interrupted:
                if self._engine.closing or self._journal.stopped:
                    raise Stop from None
            except Unknown:  # it is parked: whoever mends it decides how this step ends
                await self.nap(CHILD_LOOK_S)
            except PaymentError as error:
                if not error.retryable:
                    raise
                await self.nap(CHILD_LOOK_S)

    async def _cancel_child(self, child_id: str) -> None:
        why = "its parent was cancelled" if self._cancel is not None else "its parent failed"
        await self._engine.cancel_child(child_id, why)

    # -- what is asked of the run ---------------------------------------------------------------------------------

    def deliver(self, message: Message) -> None:
        """Take a message, from the inbox or straight from its sender; one that came before is ignored."""
        if message.kind in (MessageKind.SIGNAL, MessageKind.UPDATE):
            self._mailbox.put(message)
            return
        if message.message_id in self._heard:
            return
        self._heard.add(message.message_id)
        match message.kind:
            case MessageKind.CANCEL:
                self._cancel = self._cancel or message
                self._attention = True
                self._interrupt()
            case MessageKind.TERMINATE:
                self.terminated = message.why
            case MessageKind.PAUSE:
                self._pauses.append(message)
                self._attention = True
                self._running.clear()
            case _:
                self._resume(message)

    def _resume(self, message: Message) -> None:
        """Both the pause and its end are done with."""
        statement = self._engine.statements["message_consume"]
        self._riders += [consumption(statement, each) for each in (*self._pauses, message)]
        self._pauses.clear()
        self._running.set()

    @property
    def listening(self) -> bool:
        """Whether it waits for a message, or is paused."""
        return self._paused or ("_mailbox" in self.__dict__ and self._mailbox.listening)

    @property
    def is_idle(self) -> bool:
        """Whether it merely waits."""
        if self._flushing is not None or self._inflight != len(self._children):
            return False
        return bool(self._waiting or self._children) or self._paused

    def rests_until(self, now: datetime, for_s: float) -> datetime | None:
        """When it goes on by itself, if it has merely waited for so long, and will for as long again; else None."""
        if "_waiting" not in self.__dict__ or not self._waiting or not self.is_idle or self._children or self._paused:
            return None
        if self._riders or not self.entry.is_empty():
            return None
        if asyncio.get_running_loop().time() - self._waits_since < for_s:
            return None
        due = min(self._dues.values(), default=NEVER)
        return due if (due - now).total_seconds() > for_s else None

    def leave(self) -> None:
        """Write nothing more: its task is about to be cancelled, and it rests."""
        self.left = self._closed = True

    def _interrupt(self) -> None:
        """A cancel has come: end pauses between attempts, tell children, and wake what waits."""
        for nap in list(self._naps):
            if not nap.done():
                nap.set_result(None)
        for child_id in self._children:
            self._spawn(self._cancel_child(child_id))
        if self._waiting and self._cancel is not None and not self._pivoted and not self._ending:
            error = self._cancelled()
            for future in list(self._waiting):
                if not future.done():
                    future.set_exception(error)

    def _cancelled(self) -> Cancelled:
        """The cancel that is pending, taken: it is raised once, and journalled with the step that it is raised at."""
        assert self._cancel is not None
        message, self._cancel = self._cancel, None
        self._riders.append(consumption(self._engine.statements["message_consume"], message))
        return Cancelled(message.why)

    async def _attend(self, step: Step, *, tried: bool = False) -> None:
        """Before a step begins anew: what is asked of the run comes first.

        A step that may have been `tried` before a crash is not cancelled: it comes to its outcome, the next one is.
        """
        if not self._attention:
            return
        if self._owes and self._numbering.current() is self._numbering.root:
            raise Park(f"it was being undone, but the code now goes on to {shown(step)}: the code has changed since")
        if self._ending or self._owes:
            await self._never()
        if self._paused and not self._durable:
            await self._flush()  # it came paused out of a queue: until it is open, nobody finds it to resume it
        await self._running.wait()
        if self._cancel is not None and not self._pivoted and not tried:
            self._known.pop((step.seq, INTENT), None)
            raise self._note_error(step, self._cancelled())
        self._attention = self._cancel is not None

    async def nap(self, seconds: float) -> None:
        """A pause that ends early when the work is being ended."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        handle = loop.call_later(seconds, _resolve, future)
        self._naps.add(future)
        try:
            await future
        finally:
            handle.cancel()
            self._naps.discard(future)

    def gives_up(self, *, undoable: bool, uncertain: bool) -> bool:
        """Whether an activity is not tried again: the run is ending or cancelled, and nothing stays in doubt by it."""
        if self._pivoted or not (self._ending or self._cancel is not None):
            return False
        return undoable or not uncertain

    def _landed(self) -> None:
        self._inflight -= 1
        if not self._inflight and self._settled_future is not None and not self._settled_future.done():
            self._settled_future.set_result(None)

    async def _settled(self) -> None:
        """Wait until no activity of any branch is under way."""
        while self._inflight:
            self._settled_future = asyncio.get_running_loop().create_future()
            await self._settled_future

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        _background.add(task)
        task.add_done_callback(_over)

    def _past_pivot(self, error: PaymentError, step: Step | None) -> Park:
        return Park(f"past its point of no return, and cannot go on: {error}", step)


_background: set[asyncio.Future[None]] = set()


def _over(task: asyncio.Future[None]) -> None:
    _background.discard(task)
    if not task.cancelled():
        task.exception()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
