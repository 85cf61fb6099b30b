"""One executor: it carries runs under a lease, adopts those whose executor is gone, and hands them their messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any, TypedDict, TypeVar, Unpack

import asyncpg
import msgspec
import structlog
from opentelemetry.trace import Tracer

from kessai.foundation.call import Call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.ids import new_hex
from kessai.foundation.lease import RENEWALS_PER_LEASE, LeaseLost
from kessai.sdk.workflow.definition import Definition, definition_of
from kessai.sdk.workflow.host import COMPENSATION_ATTEMPTS, Host
from kessai.sdk.workflow.journal import Crashed, Fenced, FlushHook, Journal
from kessai.sdk.workflow.messages import Message, by_workflow
from kessai.sdk.workflow.model import Alert, Write
from kessai.sdk.workflow.ownership import ExecutorLease
from kessai.sdk.workflow.resting import REST_AFTER_S, Resting
from kessai.sdk.workflow.run import History, Workflow
from kessai.sdk.workflow.sealing import Codec
from kessai.sdk.workflow.steps import Row
from kessai.sdk.workflow.store import Adopted, Store

D = TypeVar("D")

log = structlog.get_logger(__name__)

LEASE_S = 10.0
POLL_S = 1.0
GRACE_S = 10.0
RELEASE_S = 2.0
"""What the end of the journal and of the lease may take at least, whatever grace the runs were given."""
INBOX_POLL_S, INBOX_POLL_S_MAX = 0.05, 0.5
"""Pause before the inbox is looked at while a run waits for a message: short after one has come, then growing. Without
such a run it is looked at as often as the lease is renewed."""
AHEAD = 0.9
TURNS_PER_SCAN = 2
"""Renewals of the lease for each look for orphans."""


class Options(TypedDict, total=False):
    """Settings of an engine; each has a default."""

    hook: FlushHook | None
    """Crashes it at a boundary of the journal, for tests."""
    codec: Codec | None
    """Encrypts payloads."""
    seals: bool
    """False: the codec only opens what was encrypted earlier."""
    tracer: Tracer | None
    """Makes spans."""
    alert: Callable[[Alert], None] | None
    """Told of every workflow that parks."""
    rest_after_s: float
    """A run that has waited so long, and will for as long again, leaves memory until then or until a message comes."""
    compensation_attempts: int
    """Attempts of one compensation that find what they need away, before an operator is told; they go on."""


class Executor(Host[D]):
    """The life of an executor; Engine gives it its verbs."""

    _untaken = False
    """Messages may be marked as seen by this executor that never came here: the answer was lost."""
    _begun: set[str] | None = None
    """Ids of runs that begin while it is looked for strays, which they are not."""

    def __init__(
        self,
        database: Database,
        *,
        service: str,
        deps: D,
        clock: Clock,
        lease_s: float = LEASE_S,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            service=service,
            deps=deps,
            clock=clock,
            codec=options.get("codec"),
            seals=options.get("seals", True),
            tracer=options.get("tracer"),
            alert=options.get("alert"),
            compensation_attempts=options.get("compensation_attempts", COMPENSATION_ATTEMPTS),
        )
        self.poll_s = min(POLL_S, lease_s / RENEWALS_PER_LEASE)
        """How often the journal is asked about a workflow that another executor carries."""
        self._database = database
        self._role = role_of(service)
        self._lease_s = lease_s
        self._hook = options.get("hook")
        self._store = Store(database, service)
        self._resting = Resting(self._store, clock, options.get("rest_after_s", REST_AFTER_S))
        self._runs: dict[str, Workflow[D]] = {}
        self._tasks: dict[Workflow[D], asyncio.Task[None]] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._scan = asyncio.Event()
        self._inbox_pause_s = INBOX_POLL_S_MAX
        self.journal = self.writer = self._new_journal()

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take a lease, adopt open workflows whose executor's lease has lapsed, and keep doing both."""
        await self._take_lease()
        await self._adopt()
        self._keeper = asyncio.create_task(self._keep())

    async def close(self, *, grace_s: float = GRACE_S) -> None:
        """Let runs end for `grace_s`, stop the rest where they are (others resume them), release the lease.

        Runs that merely wait, for time or for a message, are not waited for.
        """
        self.closing = True
        await self._let_end(grace_s)
        await self._stop_runs()
        await self.timers.close()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        try:
            async with asyncio.timeout(max(grace_s, RELEASE_S)):
                await self.journal.close()
                await self.journal.lease.release(drop=True)
        except (TimeoutError, Unavailable, Unknown):
            self.journal.stop(Fenced())
            log.warning("workflow_lease_not_released", service=self.service)  # it lapses by itself

    async def _let_end(self, grace_s: float) -> None:
        busy = [task for run, task in self._tasks.items() if not run.is_idle]
        if busy and not self.journal.stopped:
            await asyncio.wait(busy, timeout=grace_s)

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, the lease is not released. For tests."""
        self.closing = True
        self.journal.stop(Crashed())
        if self._keeper is not None:  # it may have begun after the journal had stopped
            self._keeper.cancel()
        await self._stop_runs()
        await self.timers.close()
        await asyncio.gather(*(task for task in (self._keeper,) if task), return_exceptions=True)
        await self.journal.close()

    @property
    def open_runs(self) -> int:
        """Workflows being carried by this executor now."""
        return len(self._runs)

    def run_of(self, workflow_id: str) -> Workflow[D] | None:
        """The run of an id, if this executor carries it."""
        return self._runs.get(workflow_id)

    def is_idle(self) -> bool:
        """Whether every open run merely waits."""
        return all(run.is_idle for run in self._runs.values())

    # -- runs -----------------------------------------------------------------------------------------------------

    def _spawn(self, run: Workflow[D]) -> None:
        self._runs[run.workflow_id] = run
        if self._begun is not None:
            self._begun.add(run.workflow_id)
        task = asyncio.create_task(self._carry(run))
        self._tasks[run] = task
        task.add_done_callback(lambda _: self._over(run))

    async def _carry(self, run: Workflow[D]) -> None:
        try:
            await run.run()
        finally:
            self._over(run)

    def _over(self, run: Workflow[D]) -> None:
        """A run's task has ended; also one that was cancelled before its first step, whose own code never ran."""
        if self._tasks.pop(run, None) is None:
            return
        if self._runs.get(run.workflow_id) is run:
            del self._runs[run.workflow_id]
        run.answer_nobody()
        if run.farewell is not None:
            self._left_queue(run)

    def _left_queue(self, run: Workflow[D]) -> None:
        """A run that came out of a queue is over: the next may come."""

    async def _stop_runs(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- lease ----------------------------------------------------------------------------------------------------

    def _new_journal(self) -> Journal:
        executor_id = new_hex()
        lease = ExecutorLease(
            self._database, self.service, f"workflow/{executor_id}", lease_s=self._lease_s, holder=executor_id
        )
        journal = Journal(self._database, self.service, self.clock, lease, self._hook)
        journal.on_stopped = self._let_go
        self._lease = lease
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
        """Renew, look for orphans and messages, and begin anew when this executor was replaced."""
        # A little ahead of the schema's other leases, so that one statement renews them all.
        step_s, loop = self._lease_s / RENEWALS_PER_LEASE * AHEAD, asyncio.get_running_loop()
        renew_at, turn = loop.time() + step_s, 0
        while True:
            asked = await self._pause(max(0.0, renew_at - loop.time()))
            due = asked or loop.time() >= renew_at
            if due:  # whatever comes of it: a database that is away is asked again after the same pause
                renew_at, turn = loop.time() + step_s, turn + 1
            try:
                if due:
                    await self._tend(scan=asked or turn % TURNS_PER_SCAN == 0)
                if self._runs:
                    await self._take_messages()
            except (Unavailable, Unknown, LeaseLost) as error:
                log.warning("workflow_lease_waits", service=self.service, error=repr(error))
            except Exception:
                log.exception("workflow_recovery_failed", service=self.service)

    async def _pause(self, longest_s: float) -> bool:
        """True when a look for orphans was asked for meanwhile, or something that rests is to be woken."""
        if (due_s := self._resting.due_in_s()) is not None:
            longest_s = min(longest_s, due_s)
        if any(run.listening for run in self._runs.values()):
            longest_s = min(longest_s, self._inbox_pause_s)
        self._scan.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                return await self._scan.wait()
        if self._resting.due_in_s() != 0:
            return False
        self._resting.wakes_at = None  # until it is read again
        return True

    async def _tend(self, *, scan: bool) -> None:
        if self.journal.stopped:
            await self._begin_anew()
        elif not await self.journal.lease.renew():
            self.journal.stop(Fenced())
            await self._begin_anew()
        await self.journal.forget_old_tokens()
        self.counts.rested += await self._resting.let_rest(self._runs.values(), self._tasks, self.journal.lease.holder)
        if scan and not self.closing:
            await self._adopt()

    async def _begin_anew(self) -> None:
        log.warning("workflow_executor_replaced", service=self.service)
        self.counts.replaced += 1
        self._resting.forget()
        await self._stop_runs()
        with suppress(Unavailable, Unknown):
            await self.journal.close()
        self.journal = self.writer = self._new_journal()
        await self._take_lease()

    # -- recovery -------------------------------------------------------------------------------------------------

    async def _adopt(self) -> None:
        began = perf_counter()
        carried = sum(run.began for run in self._runs.values()) + len(self._resting.leaving)
        moment, lease = self._lease.moment(), self.journal.lease
        query = self.statements["anything_orphaned"]
        (row,) = await self._database.fetch(self._role, query, moment, lease.name, lease.holder)
        self.counts.parked_now, self.counts.stuck_now = row["parked"], row["stuck"]
        self._resting.wakes_at = row["wakes_at"]
        if self._resting.due_in_s() == 0:
            woken = await self._store.wake(self.journal.lease, self.clock.now())
            self.counts.woken += len(woken)
            await self._take_up(woken)
        if row["mine"] > carried:
            await self._take_up_strays()
        while row["found"] and (adopted := await self._store.adopt(self.journal.lease)):
            await self._take_up(adopted)
            self._adopted(len(adopted), began)

    async def _take_up_strays(self) -> None:
        """What was adopted or woken here without this process hearing of it: the answer, or the journal, was lost."""
        carried = [*self._runs, *self._resting.leaving]
        self._begun, began = set(), perf_counter()
        try:
            strays = await self._store.strays(self.journal.lease.holder, carried)
        finally:
            begun, self._begun = self._begun, None
        strays = [each for each in strays if each.row["workflow_id"] not in begun]
        if strays and not self.closing:
            await self._take_up(strays)
            self._adopted(len(strays), began)

    def _adopted(self, count: int, began: float) -> None:
        self.counts.adopted += count
        self.counts.recovery_s = perf_counter() - began
        log.info("workflows_adopted", service=self.service, count=count, seconds=self.counts.recovery_s)

    async def _take_up(self, adopted: list[Adopted]) -> None:
        """Carry what is ours now, from its journal on."""
        ids = [each.row["workflow_id"] for each in adopted]
        if not ids:
            return
        belongings = await self._belongings(ids)
        messages = await self._messages(ids)
        for each in adopted:
            workflow_id = each.row["workflow_id"]
            run = self._resumed(each, belongings.get(workflow_id, []))
            for message in messages.pop(workflow_id, []):
                run.deliver(message)
            self._spawn(run)
        self._deliver(messages)

    async def _belongings(self, workflow_ids: list[str]) -> dict[str, list[asyncpg.Record]]:
        """Heartbeats, forks and places in queues of what was adopted."""
        found: dict[str, list[asyncpg.Record]] = {}
        queued: list[str] = []
        for row in await self._database.fetch(self._role, self.statements["belongings"], workflow_ids):
            found.setdefault(row["workflow_id"], []).append(row)
            if row["kind"] == "queue":
                queued.append(row["workflow_id"])
        if queued:
            await self._database.fetch(self._role, self.statements["queue_adopt"], self.journal.lease.holder, queued)
        return found

    def _resumed(self, adopted: Adopted, belongings: list[asyncpg.Record]) -> Workflow[D]:
        row = adopted.row
        definition = definition_of(row["name"], row["version"]) or _missing(row["name"], row["version"])
        try:
            request = self.payloads.decode(row["request"], definition.request_type)
        except Exception as error:  # noqa: BLE001  (whatever it is, the run is parked with it)
            definition, request = _unreadable(row["name"], row["version"], error), None
        history = History(adopted.steps, adopted.writes, row["compensating"])
        run: Workflow[D] = Workflow(
            self, definition, request, start=start_row(row), call=call_of(row["call"]), history=history
        )
        for each in belongings:
            match each["kind"]:
                case "heartbeat":
                    history.progress[each["seq"]] = each["data"]
                case "fork":
                    history.origins.update(msgspec.json.decode(each["data"], type=dict[int, str]))
                case _:
                    run.farewell = Write(self.statements["queue_leave"], (each["name"], row["workflow_id"]))
        run.started.put(True)
        return run

    # -- messages -------------------------------------------------------------------------------------------------

    async def _messages(self, adopted: list[str]) -> dict[str, list[Message]]:
        """What no run of this executor has been handed yet; for those just adopted, all that is not consumed."""
        query = self.statements["messages_take"]
        return by_workflow(await self._database.fetch(self._role, query, self.journal.lease.holder, adopted))

    async def _take_messages(self) -> None:
        again, self._untaken = list(self._runs) if self._untaken else [], True
        messages = await self._messages(again)
        self._untaken = False
        longer_s = min(INBOX_POLL_S_MAX, 1.5 * self._inbox_pause_s)
        self._inbox_pause_s = INBOX_POLL_S if messages else longer_s
        self._deliver(messages)

    def _deliver(self, messages: dict[str, list[Message]]) -> None:
        for workflow_id, each in messages.items():
            run = self._runs.get(workflow_id)
            if run is None:
                self._resting.missed(workflow_id)
                continue
            for message in each:
                run.deliver(message)
            if run.terminated is not None:
                self._tasks[run].cancel()


def start_row(row: asyncpg.Record) -> Row:
    """What an open workflow was started with."""
    names = ("workflow_id", "name", "version", "digest", "request", "call", "writes", "started_at", "deadline_at")
    return tuple(row[name] for name in names)


def call_of(data: bytes) -> Call:
    """The call that started a workflow, as far as it is kept."""
    processing_id, request_id = msgspec.json.decode(data)
    return Call(processing_id=processing_id, request_id=request_id)


def _missing(name: str, version: int) -> Definition[Any, Any, Any]:
    """Stands in for a function that this program does not have: its runs are parked and lose nothing."""

    async def missing(_wf: Workflow[Any], _request: Any) -> Any:
        raise LookupError(f"this program has no workflow {name} of version {version}")

    return Definition(name, version, None, missing)


def _unreadable(name: str, version: int, error: Exception) -> Definition[Any, Any, Any]:
    """Stands in for a function whose request cannot be read."""

    async def unreadable(_wf: Workflow[Any], _request: Any) -> Any:
        raise LookupError(f"the request of {name} cannot be read: {error}")

    return Definition(name, version, None, unreadable)
