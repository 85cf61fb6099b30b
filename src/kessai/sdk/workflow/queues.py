"""Queues: workflows that wait for their turn, within limits on how many run at once and how many begin in a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import asyncpg
import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, role_of
from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.host import operations
from kessai.sdk.workflow.messages import Message, by_workflow

K = TypeVar("K")

log = structlog.get_logger(__name__)

QUEUE_POLL_S = 2.0
"""How often a process looks for what other processes have queued; its own wakes it at once."""
CLAIM_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """How many workflows of a queue may run at once, and how many may begin. None: no limit."""

    name: str
    concurrency: int | None = None
    """In all processes together."""
    worker_concurrency: int | None = None
    """In each process."""
    key_concurrency: int | None = None
    """Of each key (`enqueue(key=…)`, a customer's id for instance), in all processes."""
    rate: int | None = None
    """How many may begin in `rate_s` seconds of real time, in all processes."""
    rate_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting workflow, in its turn."""

    workflow_id: str
    key: str
    row: Any = None


@dataclass(slots=True)
class Room:
    """What a queue has room for, as it is counted under its turn. Pure."""

    queue: Queue
    running: int = 0
    running_here: int = 0
    by_key: Counter[str] | None = None
    tokens: int | None = None

    def left(self) -> int:
        """How many more may begin, whatever their keys."""
        queue = self.queue
        limits = [CLAIM_MAX]
        if queue.concurrency is not None:
            limits.append(queue.concurrency - self.running)
        if queue.worker_concurrency is not None:
            limits.append(queue.worker_concurrency - self.running_here)
        if self.tokens is not None:
            limits.append(self.tokens)
        return max(0, min(limits))

    def full_keys(self) -> list[str]:
        """Keys that have no room."""
        limit = self.queue.key_concurrency
        if limit is None or self.by_key is None:
            return []
        return [key for key, running in self.by_key.items() if key and running >= limit]

    def admit(self, waiting: Iterable[Candidate]) -> list[Candidate]:
        """Those that may begin now, in their order; they are counted at once."""
        by_key = self.by_key if self.by_key is not None else Counter[str]()
        self.by_key, admitted = by_key, list[Candidate]()
        for each in waiting:
            if not self.left():
                break
            limit = self.queue.key_concurrency
            if each.key and limit is not None and by_key[each.key] >= limit:
                continue
            by_key[each.key] += 1
            self.running += 1
            self.running_here += 1
            self.tokens = None if self.tokens is None else self.tokens - 1
            admitted.append(each)
        return admitted


def refilled_milli(queue: Queue, tokens_milli: int, seconds: float) -> int:
    """Thousandths of a token after so much time: at most one `rate` of them is saved up."""
    assert queue.rate is not None
    return min(queue.rate * 1000, tokens_milli + int(max(0.0, seconds) * 1000 * queue.rate / queue.rate_s))


class Queues(Generic[K]):
    """Claims from the queues that one executor serves."""

    def __init__(
        self,
        database: Database,
        service: str,
        clock: Clock,
        queues: Iterable[Queue],
        *,
        holder: Callable[[], str],
        moment: Callable[[], datetime],
        begin: Callable[[str, asyncpg.Record, list[Message]], None],
        carried: Callable[[], Iterable[str]],
        is_known: Callable[[str, int], bool],
    ) -> None:
        self.queues = {queue.name: queue for queue in queues}
        self._database = database
        self._role = role_of(service)
        self._clock = clock
        self._queries = operations(service)
        self._holder = holder
        self._moment = moment
        self._begin = begin
        self._carried = carried
        self._is_known = is_known
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Serve them from now on."""
        if not self.queues:
            return
        for queue in self.queues.values():
            tokens = 0 if queue.rate is None else queue.rate * 1000
            row = (queue.name, tokens, self._moment())
            await self._database.fetch(self._role, self._queries["queue_create"], *row)
        self._task = asyncio.create_task(self._serve())

    async def close(self) -> None:
        """Take nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """Something was queued here, or has made room."""
        self._wake.set()

    async def _serve(self) -> None:
        names, turn = list(self.queues), 0
        while True:
            try:
                if turn % 8 == 0:
                    row = (names, self._holder(), list(self._carried()))
                    await self._database.fetch(self._role, self._queries["queue_release"], *row)
                query = self._queries["queues_with_work"]
                rows = await self._database.fetch(self._role, query, names, self._clock.now())
                for row in rows:
                    await self.claim(self.queues[row["queue"]])
            except PaymentError as error:
                log.warning("queue_waits", error=repr(error))
            except Exception:
                log.exception("queue_failed")
            turn += 1
            await self._rest()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(QUEUE_POLL_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def claim(self, queue: Queue) -> int:
        """Begin what there is room for; gives how many. One process at a time has a queue's turn."""

        async def work(connection: Connection) -> tuple[list[Candidate], dict[str, list[Message]]]:
            turn = await connection.fetchrow(self._queries["queue_turn"], queue.name)
            assert turn is not None, "the queue's row is made when it is opened"
            moment = self._moment()
            room, tokens_milli = await self._room(connection, queue, turn, moment)
            admitted, messages = await self._admitted(connection, queue, room), dict[str, list[Message]]()
            if admitted:
                ids = [each.workflow_id for each in admitted]
                await connection.execute(self._queries["queue_claim"], queue.name, self._holder(), ids)
                sent = await connection.fetch(self._queries["messages_take_queued"], self._holder(), ids)
                messages = by_workflow(sent)
            if queue.rate is not None:
                left = tokens_milli - 1000 * len(admitted)
                await connection.execute(self._queries["queue_tokens"], queue.name, left, moment)
            return admitted, messages

        admitted, messages = await self._database.transaction(self._role, work)
        for each in admitted:
            self._begin(queue.name, each.row, messages.get(each.workflow_id, []))
        return len(admitted)

    async def give_up(self, queue: str, workflow_id: str, *, met: bool) -> None:
        """What was claimed did not begin: it leaves the queue when `met` elsewhere, else its turn comes again."""
        if met:
            await self._database.fetch(self._role, self._queries["queue_leave"], [queue], [workflow_id])
        else:
            row = (queue, workflow_id, self._holder())
            await self._database.fetch(self._role, self._queries["queue_unclaim"], *row)

    async def _room(
        self, connection: Connection, queue: Queue, turn: asyncpg.Record, moment: datetime
    ) -> tuple[Room, int]:
        room, tokens_milli = Room(queue, by_key=Counter()), 0
        for row in await connection.fetch(self._queries["queue_running"], queue.name):
            room.running += row["running"]
            room.running_here += row["running"] if row["executor_id"] == self._holder() else 0
            assert room.by_key is not None
            room.by_key[row["key"]] += row["running"]
        if queue.rate is not None:
            seconds = (moment - turn["refilled_at"]).total_seconds()
            tokens_milli = refilled_milli(queue, turn["tokens_milli"], seconds)
            room.tokens = tokens_milli // 1000
        return room, tokens_milli

    async def _admitted(self, connection: Connection, queue: Queue, room: Room) -> list[Candidate]:
        admitted: list[Candidate] = []
        taken: set[str] = set()
        while room.left():
            arguments = (queue.name, self._clock.now(), room.full_keys(), CLAIM_MAX + len(taken))
            rows = await connection.fetch(self._queries["queue_waiting"], *arguments)
            waiting = [
                Candidate(row["workflow_id"], row["key"], row)
                for row in rows
                if row["workflow_id"] not in taken and self._is_known(row["name"], row["version"])
            ]
            more = room.admit(waiting)
            admitted += more
            taken |= {each.workflow_id for each in more}
            if not more or len(rows) < CLAIM_MAX + len(taken) - len(more):
                break
        return admitted
