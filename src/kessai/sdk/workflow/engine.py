"""The engine: starts workflows, attaches to them, and recovers those whose executor is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Generic, Literal, TypeVar

import msgspec
import structlog

from kessai.foundation.call import Call, current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, KeyReused, PaymentError, RequestInProgress, Unavailable
from kessai.foundation.ids import new_hex
from kessai.foundation.lease import RENEWALS_PER_LEASE, Lease, LeaseLost
from kessai.sdk.workflow.definition import Definition, definition_of
from kessai.sdk.workflow.ending import Interrupted, parked_error
from kessai.sdk.workflow.journal import Crashed, Fenced, FlushHook, Journal
from kessai.sdk.workflow.model import WORKFLOW_ID_MAX, Parked, Publish, Write
from kessai.sdk.workflow.outcome import PayloadTooLarge, content_digest, decode, decode_error, encode
from kessai.sdk.workflow.run import History, Workflow
from kessai.sdk.workflow.steps import Row
from kessai.sdk.workflow.store import Adopted, Found, Store

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

log = structlog.get_logger(__name__)

LEASE_S = 10.0
POLL_S = 1.0
GRACE_S = 10.0
START_ATTEMPTS_MAX = 5
TURNS_PER_SCAN = 2
"""Renewals of the lease for each look for orphans."""


@dataclass(slots=True)
class Counts:
    """What this executor has done since it was opened."""

    started: int = 0
    adopted: int = 0
    parked: int = 0
    compensation_failures: int = 0
    replaced: int = 0
    """Times this executor found its lease taken, gave up its runs and began anew."""


class Handle(Generic[R]):
    """A started or found workflow."""

    __slots__ = ("_definition", "_engine", "_found", "_run", "replayed", "workflow_id")

    def __init__(
        self,
        engine: Engine[Any],
        definition: Definition[Any, Any, R],
        workflow_id: str,
        *,
        run: Workflow[Any] | None = None,
        found: Found | None = None,
    ) -> None:
        self._engine = engine
        self._definition = definition
        self._run = run
        self._found = found
        self.workflow_id = workflow_id
        self.replayed = found is not None and found.finished
        """True when it had already finished before this start; its stored outcome is given."""

    async def result(self) -> R:
        """The workflow's result, or its PaymentError (refusals are stored and come back the same).

        Raises Unknown: `workflow_parked` while it waits for an operator, `workflow_interrupted` when this process is
        closing. Cancelling the wait does not cancel the work.
        """
        while True:
            if self._run is not None:
                try:
                    failed, value = await self._run.ended.get()
                except Interrupted:
                    self._run = None  # taken over by another executor, unless this one is closing
                else:
                    if failed:
                        raise value
                    return value
            if self._engine.closing:
                raise Interrupted
            found = self._found or await self._engine.find(self.workflow_id)
            if found is not None and found.finished:
                return self._stored(found)
            if found is not None and found.parked:
                raise parked_error(self.workflow_id)
            self._found = None
            await asyncio.sleep(self._engine.poll_s)
            self._run = self._engine.run_of(self.workflow_id)

    def _stored(self, found: Found) -> R:
        if found.failed:
            raise decode_error(found.outcome)
        return decode(found.outcome, self._definition.result_type)


class Engine(Generic[D]):
    """One executor of a service's workflows; any number of processes may each have one on the same schema."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        deps: D,
        clock: Clock,
        lease_s: float = LEASE_S,
        hook: FlushHook | None = None,
    ) -> None:
        self.service = service
        self.deps = deps
        self.clock = clock
        self.counts = Counts()
        self.closing = False
        """No new work is taken, and what cannot end soon is left to others."""
        self.poll_s = min(POLL_S, lease_s / RENEWALS_PER_LEASE)
        """How often the journal is asked about a workflow that another executor carries."""
        self._database = database
        self._lease_s = lease_s
        self._hook = hook
        self._store = Store(database, service)
        self._runs: dict[str, Workflow[D]] = {}
        self._tasks: dict[Workflow[D], asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._scan = asyncio.Event()
        self.journal = self._new_journal()

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take a lease, adopt open workflows whose executor's lease has lapsed, and keep doing both."""
        await self._take_lease()
        await self._adopt()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self, *, grace_s: float = GRACE_S) -> None:
        """Let runs end for `grace_s`, stop the rest where they are (others resume them), release the lease."""
        self.closing = True
        if self._tasks and not self.journal.stopped:
            await asyncio.wait(list(self._tasks.values()), timeout=grace_s)
        await self._stop_runs()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            async with asyncio.timeout(grace_s):
                await self.journal.close()
                await self.journal.lease.release(drop=True)
        except (TimeoutError, Unavailable):
            self.journal.stop(Fenced())
            log.warning("workflow_lease_not_released", service=self.service)  # it lapses by itself

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, the lease is not released. For tests."""
        self.journal.stop(Crashed())
        await self._stop_runs()
        await asyncio.gather(*(task for task in (self._keeper,) if task), return_exceptions=True)
        await self.journal.close()

    @property
    def open_runs(self) -> int:
        """Workflows being carried by this executor now."""
        return len(self._runs)

    # -- verbs ----------------------------------------------------------------------------------------------------

    async def start(
        self,
        definition: Definition[D, A, R],
        request: A,
        *,
        workflow_id: str,
        writes: Sequence[Write] = (),
        events: Sequence[Publish] = (),
        content: Any = None,
        conflict: Literal["attach", "refuse"] = "attach",
    ) -> Handle[R]:
        """Start durably, with its writes and events, or find the one that has this id.

        `content` (default: the request) is what the caller sent, compared by digest when the id is met again: give it
        when the request holds things made on arrival, such as ids. Writes and events are made only by the first start.
        Raises KeyReused for other content; RequestInProgress when it is open and `conflict="refuse"`; Conflicted when
        a guarded write did not match (nothing was started); Unavailable (nothing was started).
        """
        assert 0 < len(workflow_id) <= WORKFLOW_ID_MAX, "the length of a workflow id"
        data = _encoded(request)
        digest = content_digest(definition.digest_prefix, data if content is None else _encoded(content))
        for _ in range(START_ATTEMPTS_MAX):
            if self.closing:
                raise Unavailable("executor_stopped", "This process is stopping; send the request again.")
            run = self._runs.get(workflow_id)
            fresh = run is None
            if run is None:
                run = self._new_run(definition, request, data, digest, workflow_id)
                run.entry.writes.extend(writes)
                run.entry.events.extend((each.topic, _encoded(each.event)) for each in events)
                self._spawn(run)
            if await run.started.get():
                if fresh:
                    self.counts.started += 1
                else:
                    _check(run.digest, digest, conflict)
                return Handle(self, definition, workflow_id, run=run)
            found = await self._store.find(workflow_id)
            if found is not None:
                _check(found.digest, digest, "attach" if found.finished else conflict)
                return Handle(self, definition, workflow_id, run=self._runs.get(workflow_id), found=found)
        raise RequestInProgress

    async def attach(
        self,
        definition: Definition[D, A, R],
        workflow_id: str,
        *,
        content: Any = None,
        conflict: Literal["attach", "refuse"] = "attach",
    ) -> Handle[R] | None:
        """A handle to an open or finished workflow, None when there is none of that id. Starts nothing.

        With `content` it is compared as `start` does: KeyReused for other content; RequestInProgress when it is open
        and `conflict="refuse"`.
        """
        digest = None if content is None else content_digest(definition.digest_prefix, _encoded(content))
        run = self._runs.get(workflow_id)
        if run is not None and await run.started.get():
            if digest is not None:
                _check(run.digest, digest, conflict)
            return Handle(self, definition, workflow_id, run=run)
        found = await self._store.find(workflow_id)
        if found is None:
            return None
        if digest is not None:
            _check(found.digest, digest, "attach" if found.finished else conflict)
        return Handle(self, definition, workflow_id, run=self._runs.get(workflow_id), found=found)

    def run_of(self, workflow_id: str) -> Workflow[D] | None:
        """The run of an id, if this executor carries it."""
        return self._runs.get(workflow_id)

    async def find(self, workflow_id: str) -> Found | None:
        """What the journal holds of an id."""
        return await self._store.find(workflow_id)

    async def parked(self) -> list[Parked]:
        """Workflows that wait for an operator, with their errors."""
        return await self._store.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow be taken up again (after its cause was mended); False when it is not parked."""
        unparked = await self._store.unpark(workflow_id)
        self._scan.set()
        return unparked

    # -- runs -----------------------------------------------------------------------------------------------------

    def _new_run(
        self, definition: Definition[D, Any, Any], request: object, data: bytes, digest: bytes, workflow_id: str
    ) -> Workflow[D]:
        call = current_call()
        deadline_at = None
        if definition.deadline_s is not None:
            deadline_at = datetime.now(UTC) + timedelta(seconds=definition.deadline_s)
        row: Row = (
            workflow_id,
            definition.name,
            definition.version,
            digest,
            data,
            msgspec.json.encode((call.processing_id, call.request_id)),
            0,
            self.clock.now(),
            deadline_at,
        )
        return Workflow(self, definition, request, start=row, call=call)

    def _spawn(self, run: Workflow[D]) -> None:
        self._runs[run.workflow_id] = run
        task = asyncio.create_task(self._carry(run))
        self._tasks[run] = task

    async def _carry(self, run: Workflow[D]) -> None:
        try:
            await run.run()
        finally:
            if self._runs.get(run.workflow_id) is run:
                del self._runs[run.workflow_id]
            self._tasks.pop(run, None)

    async def _stop_runs(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- lease and recovery ---------------------------------------------------------------------------------------

    def _new_journal(self) -> Journal:
        executor_id = new_hex()
        lease = Lease(
            self._database, self.service, f"workflow/{executor_id}", lease_s=self._lease_s, holder=executor_id
        )
        journal = Journal(self._database, self.service, self.clock, lease, self._hook)
        journal.on_stopped = self._let_go
        return journal

    async def _take_lease(self) -> None:
        taken = await self.journal.lease.acquire()
        assert taken, "the lease of a fresh executor id is free"

    def _let_go(self, reason: PaymentError) -> None:
        """The journal may not write any more: its runs belong to others."""
        if isinstance(reason, Crashed):
            self.closing = True
            if self._keeper is not None:
                self._keeper.cancel()
        for task in self._tasks.values():
            task.cancel()
        self._scan.set()

    async def _keep(self) -> None:
        """Renew, look for orphans, and begin anew when this executor was replaced."""
        step_s = self._lease_s / RENEWALS_PER_LEASE
        for turn in count():
            self._scan.clear()
            asked = False
            with suppress(TimeoutError):
                async with asyncio.timeout(step_s):
                    asked = await self._scan.wait()
            try:
                if self.journal.stopped:
                    await self._begin_anew()
                elif not await self.journal.lease.renew():
                    self.journal.stop(Fenced())
                    await self._begin_anew()
                await self.journal.forget_old_tokens()
                if asked or turn % TURNS_PER_SCAN == 0:
                    await self._adopt()
            except (Unavailable, LeaseLost) as error:
                log.warning("workflow_lease_waits", service=self.service, error=repr(error))
            except Exception:
                log.exception("workflow_recovery_failed", service=self.service)

    async def _begin_anew(self) -> None:
        log.warning("workflow_executor_replaced", service=self.service)
        self.counts.replaced += 1
        await self._stop_runs()
        with suppress(Unavailable):
            await self.journal.close()
        self.journal = self._new_journal()
        await self._take_lease()

    async def _adopt(self) -> None:
        for adopted in await self._store.adopt(self.journal.lease):
            self.counts.adopted += 1
            await self._resume(adopted)

    async def _resume(self, adopted: Adopted) -> None:
        row = adopted.row
        processing_id, request_id = msgspec.json.decode(row["call"])
        definition = definition_of(row["name"], row["version"]) or _missing(row["name"], row["version"])
        start: Row = tuple(
            row[name]
            for name in (
                *("workflow_id", "name", "version", "digest", "request", "call"),
                *("writes", "started_at", "deadline_at"),
            )
        )
        run: Workflow[D] = Workflow(
            self,
            definition,
            decode(row["request"], definition.request_type),
            start=start,
            call=Call(processing_id=processing_id, request_id=request_id),
            history=History(adopted.steps, adopted.writes, row["compensating"]),
        )
        run.started.put(True)
        self._spawn(run)


def _missing(name: str, version: int) -> Definition[Any, Any, Any]:
    """Stands in for a function that this program does not have: its runs are parked and lose nothing."""

    async def missing(_wf: Workflow[Any], _request: Any) -> Any:
        raise LookupError(f"this program has no workflow {name} of version {version}")

    return Definition(name, version, None, missing)


def _check(stored: bytes, asked: bytes, conflict: Literal["attach", "refuse"]) -> None:
    if stored != asked:
        raise KeyReused
    if conflict == "refuse":
        raise RequestInProgress


def _encoded(value: object) -> bytes:
    try:
        return encode(value)
    except PayloadTooLarge as error:
        raise Invalid("workflow_payload_too_large", f"The request is too large: {error}.") from error
