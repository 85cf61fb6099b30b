"""The engine: starts workflows, finds them, sends to them, and recovers those whose executor is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias, TypeVar, Unpack

import asyncpg
import msgspec

from kessai.foundation.call import Call, current_call, enter_call, leave_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, KeyReused, PaymentError, RequestInProgress, Unavailable, Unknown
from kessai.foundation.lease import LeaseLost
from kessai.sdk.workflow import search
from kessai.sdk.workflow.definition import Definition, definition_of
from kessai.sdk.workflow.earlier import asked_digest
from kessai.sdk.workflow.ending import parked_error
from kessai.sdk.workflow.executor import LEASE_S, Options, call_of
from kessai.sdk.workflow.handle import Handle
from kessai.sdk.workflow.journal import Crashed, Fenced
from kessai.sdk.workflow.messages import Message
from kessai.sdk.workflow.model import (
    WORKFLOW_ID_MAX,
    AlreadyStarted,
    Conflicted,
    Forgotten,
    NotOpen,
    Parked,
    Publish,
    StartUnknown,
    Write,
)
from kessai.sdk.workflow.outcome import PayloadTooLarge, encode
from kessai.sdk.workflow.queues import Queue, Queues
from kessai.sdk.workflow.run import Workflow
from kessai.sdk.workflow.schedules import Schedule, Schedules
from kessai.sdk.workflow.search import AttributeValue
from kessai.sdk.workflow.sending import Sending
from kessai.sdk.workflow.steps import Entry, Row, Step
from kessai.sdk.workflow.store import Found
from kessai.sdk.workflow.transactions import run_in_transaction

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

ConflictPolicy: TypeAlias = Literal["attach", "refuse", "new"]

START_ATTEMPTS_MAX = 5


class Engine(Sending[D]):
    """One executor of a service's workflows; any number of processes may each have one on the same schema.

    Its runs stay its own for `lease_s` without a sign of life, and are then taken over by another one.
    `codec` encrypts payloads; `tracer` makes spans; `alert` is told of every workflow that parks; runs that wait
    longer than `rest_after_s` leave memory; `queues` are served and `schedules` kept by this process too.
    """

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        deps: D,
        clock: Clock,
        queues: Iterable[Queue] = (),
        schedules: Iterable[Schedule] = (),
        lease_s: float = LEASE_S,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(database, service=service, deps=deps, clock=clock, lease_s=lease_s, **options)
        self.queues: Queues[str] = Queues(
            database,
            service,
            clock,
            queues,
            holder=lambda: self.journal.lease.holder,
            moment=lambda: self._lease.moment(),
            begin=self._begin_queued,
            carried=lambda: self._runs,
            is_known=lambda name, version: definition_of(name, version) is not None,
        )
        self.schedules = Schedules(
            database,
            service,
            clock,
            schedules,
            begin=self._begin_scheduled,
            is_open=self._is_open,
            cancel=self._cancel_overlapped,
        )
        self._transactions = 0
        self._chores: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take a lease, adopt open workflows whose executor's lease has lapsed, keep doing both, and serve queues."""
        await super().open()
        await self.queues.open()
        await self.schedules.open()

    async def close(self, *, grace_s: float = 10.0) -> None:
        """Let runs end for `grace_s`, stop the rest where they are (others resume them), release the lease."""
        await self.schedules.close()
        await self.queues.close()
        await super().close(grace_s=grace_s)

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, the lease is not released. For tests."""
        await self.schedules.close()
        await self.queues.close()
        await super().crash()

    # -- starting and finding -------------------------------------------------------------------------------------

    async def start(
        self,
        definition: Definition[D, A, R],
        request: A,
        *,
        workflow_id: str,
        writes: Sequence[Write] = (),
        events: Sequence[Publish] = (),
        content: Any = None,
        conflict: ConflictPolicy = "attach",
        attributes: dict[str, AttributeValue] | None = None,
    ) -> Handle[R]:
        """Start durably, with its writes and events, or find the one that has this id.

        `content` (default: the request) is what the caller sent, compared by digest when the id is met again: give it
        when the request holds things made on arrival, such as ids. Writes and events are made only by the first start.
        `conflict`: join the one of that id, open or finished ("attach"); refuse while it is open ("refuse"); refuse in
        any case ("new").
        Raises KeyReused for other content; RequestInProgress when it is open and `conflict="refuse"`, Unknown
        `workflow_parked` when it waits for an operator; AlreadyStarted; Forgotten when it finished longer ago than
        outcomes are kept; Conflicted when a guarded write did not match (nothing was started); Unavailable (nothing was
        started); StartUnknown when nobody here knows: the same start, made again, finds it or starts it.
        """
        assert 0 < len(workflow_id) <= WORKFLOW_ID_MAX, "the length of a workflow id"
        data = _encoded(request)
        content = request if content is None else content
        digest = asked_digest(definition.digest_prefix, content, data if content is request else _encoded(content))
        for _ in range(START_ATTEMPTS_MAX):
            if self.closing:
                raise Unavailable("executor_stopped", "This process is stopping; send the request again.")
            run = self._runs.get(workflow_id)
            fresh = run is None
            if run is None:
                run = self._new_run(definition, request, data, digest, workflow_id)
                run.entry.writes.extend(writes)
                run.entry.writes.extend(self._attribute_writes(workflow_id, attributes))
                run.entry.events.extend((each.topic, _encoded(each.event)) for each in events)
                self._spawn(run)
            try:
                durable = await run.started.get()
            except Unknown as error:
                return await self._met_in_doubt(definition, workflow_id, digest, error)
            if durable:
                if fresh:
                    self.counts.started += 1
                else:
                    _check(run.digest, digest, conflict)
                return Handle(self, definition, workflow_id, run=run)
            try:
                found = await self._store.find(workflow_id)
            except Unavailable as error:  # its id is taken: something was started
                raise StartUnknown from error
            if found is not None:
                _check_found(found, workflow_id, digest, conflict)
                return Handle(self, definition, workflow_id, run=self._runs.get(workflow_id), found=found)
        raise RequestInProgress

    async def _met_in_doubt(
        self, definition: Definition[D, Any, R], workflow_id: str, digest: bytes, doubt: Unknown
    ) -> Handle[R]:
        """Nobody heard what became of its start: it is joined where it is found, else it stays in doubt."""
        try:
            found = await self._store.find(workflow_id)
        except PaymentError:
            found = None
        if found is None:
            raise StartUnknown from doubt
        _check_found(found, workflow_id, digest, "attach")
        return Handle(self, definition, workflow_id, found=found)

    async def enqueue(
        self,
        queue: str,
        definition: Definition[D, A, R],
        request: A,
        *,
        workflow_id: str,
        key: str = "",
        priority: int = 0,
        not_before: datetime | None = None,
        writes: Sequence[Write] = (),
        conflict: ConflictPolicy = "attach",
    ) -> Handle[R]:
        """Put into a queue durably, with its writes, or find the one that has this id; it begins when it is its turn.

        Lower `priority` goes first, then who came first; `key` is what `key_concurrency` counts by; not before an
        instant of business time. Raises as `start`.
        """
        assert 0 < len(workflow_id) <= WORKFLOW_ID_MAX, "the length of a workflow id"
        data, now = _encoded(request), self.clock.now()
        digest = asked_digest(definition.digest_prefix, request, data)
        row = (
            *(queue, workflow_id, key, priority, definition.name, definition.version, digest),
            *(self.payloads.seal(data), _call_data(current_call()), not_before or now, now),
        )
        put = Write(self.statements["queue_put"], row, guarded=True)
        try:
            await self.journal.submit(Entry(writes=[put, *writes]))
        except Conflicted:
            if not await self._meets(workflow_id, digest, conflict):
                raise  # not the id: one of the writes
        self.queues.wake()
        return Handle(self, definition, workflow_id)

    async def attach(
        self,
        definition: Definition[D, A, R],
        workflow_id: str,
        *,
        content: Any = None,
        conflict: ConflictPolicy = "attach",
    ) -> Handle[R] | None:
        """A handle to a queued, open or finished workflow, None when there is none of that id. Starts nothing.

        With `content` it is compared as `start` does: KeyReused for other content; RequestInProgress when it is open
        and `conflict="refuse"`.
        """
        digest = None if content is None else asked_digest(definition.digest_prefix, content, _encoded(content))
        run = self._runs.get(workflow_id)
        if run is not None and await run.started.get():
            if digest is not None:
                _check(run.digest, digest, conflict)
            return Handle(self, definition, workflow_id, run=run)
        found = await self._store.find(workflow_id)
        if found is None:
            queued = await self._database.fetch(self._role, self.statements["queue_find"], workflow_id)
            if queued and digest is not None:
                _check(queued[0]["digest"], digest, conflict)
            return Handle(self, definition, workflow_id) if queued else None
        if digest is not None:
            _check_found(found, workflow_id, digest, conflict)
        return Handle(self, definition, workflow_id, run=self._runs.get(workflow_id), found=found)

    async def find(self, workflow_id: str) -> Found | None:
        """What the journal holds of an id."""
        return await self._store.find(workflow_id)

    async def search(self, *, after: str = "", limit: int = 100, **attributes: AttributeValue) -> list[str]:
        """Ids of workflows, open or finished, that have all of these attributes; in order of id, beyond `after`."""
        return await search.find_by_attributes(self._database, self.service, attributes, after=after, limit=limit)

    async def search_range(
        self, name: str, low: int | datetime, high: int | datetime, *, after: str = "", limit: int = 100
    ) -> list[str]:
        """Ids of workflows whose attribute, a number or an instant, lies between the two, both included."""
        return await search.find_by_range(self._database, self.service, name, low, high, after=after, limit=limit)

    async def parked(self) -> list[Parked]:
        """Workflows that wait for an operator, with their errors."""
        return await self._store.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow be taken up again (after its cause was mended); False when it is not parked."""
        unparked = await self._store.unpark(workflow_id)
        self._scan.set()
        return unparked

    async def backfill(self, schedule: str, since: datetime, until: datetime) -> list[str]:
        """Start a schedule's runs of a period that were not started then; gives their ids. Those there are stay."""
        ids: list[str] = []
        for due_at in self.schedules.times(schedule, since, until):
            each = self.schedules.schedules[schedule]
            handle = await self.start(each.definition, each.request(due_at), workflow_id=each.workflow_id(due_at))
            ids.append(handle.workflow_id)
        return ids

    # -- what runs need of it -------------------------------------------------------------------------------------

    async def start_child(
        self, definition: Definition[D, Any, Any], request: object, workflow_id: str, call: Call
    ) -> Handle[Any]:
        """Start a child, or find the one of that id."""
        token = enter_call(call)
        try:
            return await self.start(definition, request, workflow_id=workflow_id)
        finally:
            leave_call(token)

    async def cancel_child(self, workflow_id: str, why: str) -> None:
        """Ask a child to stop; one that has ended is left alone."""
        try:
            await self.cancel(workflow_id, why=why)
        except NotOpen:
            return

    async def in_transaction(self, step: Step, work: Callable[[Connection], Awaitable[bytes]]) -> bytes:
        """Do work in a transaction that the step's outcome is journalled in; gives that outcome as it is stored."""
        self._transactions += 1
        number, journal = self._transactions, self.journal

        def boundary(when: Literal["before", "after"]) -> None:
            if self._hook is not None and not journal.stopped and self._hook(when, -number):
                journal.stop(Crashed())
                raise Crashed

        try:
            return await run_in_transaction(
                self._database,
                self._role,
                self.statements,
                journal.lease,
                self.clock,
                step,
                work,
                self.payloads.seal,
                boundary,
            )
        except LeaseLost as error:
            journal.stop(Fenced())
            raise Fenced from error

    # -- runs -----------------------------------------------------------------------------------------------------

    def _new_run(
        self, definition: Definition[D, Any, Any], request: object, data: bytes, digest: bytes, workflow_id: str
    ) -> Workflow[D]:
        call = current_call()
        deadline_at = None
        if definition.deadline_s is not None:
            deadline_at = datetime.now(UTC) + timedelta(seconds=definition.deadline_s)
        first = (workflow_id, definition.name, definition.version, digest)
        row: Row = (*first, self.payloads.seal(data), _call_data(call), 0, self.clock.now(), deadline_at)
        return Workflow(self, definition, request, start=row, call=call)

    def _attribute_writes(self, workflow_id: str, attributes: dict[str, AttributeValue] | None) -> list[Write]:
        statement = self.statements["attribute_upsert"]
        rows = [search.attribute_row(workflow_id, name, value) for name, value in (attributes or {}).items()]
        return [Write(statement, row) for row in rows]

    async def _meets(self, workflow_id: str, digest: bytes, conflict: ConflictPolicy) -> bool:
        """Check against the workflow that has an id already; False when there is none."""
        found = await self._store.find(workflow_id)
        if found is not None:
            _check_found(found, workflow_id, digest, conflict)
            return True
        rows = await self._database.fetch(self._role, self.statements["queue_find"], workflow_id)
        for row in rows:
            _check(row["digest"], digest, conflict)
        return bool(rows)

    def _begin_queued(self, queue: str, row: asyncpg.Record, messages: list[Message]) -> None:
        """A workflow whose turn has come, with what was sent to it meanwhile: a cancel comes before its first step.

        When it was started some other way, only its place is given up.
        """
        definition, workflow_id = definition_of(row["name"], row["version"]), row["workflow_id"]
        assert definition is not None, "only what this process knows is claimed"
        if workflow_id in self._runs:
            self._deliver({workflow_id: messages})
            self._background(self.queues.give_up(queue, workflow_id, met=True))
            return
        token = enter_call(call_of(row["call"]))
        try:
            data = self.payloads.open(row["request"])
            request = msgspec.json.decode(data, type=definition.request_type)
            run = self._new_run(definition, request, data, row["digest"], workflow_id)
        finally:
            leave_call(token)
        run.farewell = Write(self.statements["queue_leave"], (queue, workflow_id))
        for message in messages:
            run.deliver(message)
        self._spawn(run)

    def _left_queue(self, run: Workflow[D]) -> None:
        self.queues.wake()
        if not (run.began or self.closing or self.journal.stopped):
            self._background(self._not_begun(run))

    async def _not_begun(self, run: Workflow[D]) -> None:
        """It was claimed, but its start did not become durable here."""
        assert run.farewell is not None
        queue, workflow_id = run.farewell.row
        await self.queues.give_up(queue, workflow_id, met=await self._store.find(workflow_id) is not None)
        self.queues.wake()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _begin_scheduled(self, schedule: Schedule, due_at: datetime, moved: tuple[Any, ...]) -> None:
        write = Write(self.statements["schedule_move"], moved, guarded=True)
        try:
            await self.start(
                schedule.definition,
                schedule.request(due_at),
                workflow_id=schedule.workflow_id(due_at),
                writes=[write],
                attributes={"schedule": schedule.name},
            )
        except Conflicted:
            return  # another process was first

    async def _is_open(self, workflow_id: str) -> bool:
        found = await self._store.find(workflow_id)
        return found is not None and not found.finished

    async def _cancel_overlapped(self, workflow_id: str) -> None:
        await self.cancel_child(workflow_id, "the next run of its schedule is due")


def _call_data(call: Call) -> bytes:
    return msgspec.json.encode((call.processing_id, call.request_id))


def _check_found(found: Found, workflow_id: str, asked: bytes, conflict: ConflictPolicy) -> None:
    waits = found.finished or found.parked  # nothing is under way that could be met again in a moment
    _check(found.digest, asked, "attach" if waits and conflict == "refuse" else conflict)
    if found.parked and conflict == "refuse":
        raise parked_error(workflow_id)
    if found.finished and not found.outcome:
        raise Forgotten


def _check(stored: bytes, asked: bytes, conflict: ConflictPolicy) -> None:
    if stored != asked:
        raise KeyReused
    if conflict == "refuse":
        raise RequestInProgress
    if conflict == "new":
        raise AlreadyStarted


def _encoded(value: object) -> bytes:
    try:
        return encode(value)
    except PayloadTooLarge as error:
        raise Invalid("workflow_payload_too_large", f"The request is too large: {error}.") from error
