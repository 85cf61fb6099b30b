"""The journal's writer: entries of all runs of one executor, group-committed, fenced by its lease.

A flush is one statement, and so one round trip and one transaction: it proves that the lease is still held, opens and
finishes workflows, writes steps, marks, the service's rows and the outbox, and leaves a token with what each guard had
to match and what it did. A CHECK compares the two: a flush whose guards do not hold cannot be written, and only then is
it asked which of its entries was at fault. When the connection is cut during a flush, its token is made void, or found:
either way it is then certain whether the flush happened.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import asyncpg
import structlog

from kessai.foundation import events, groupcommit
from kessai.foundation.clock import Clock
from kessai.foundation.db import (
    EXHAUSTED,
    LOST,
    RETRYABLE,
    Connection,
    Database,
    load_queries,
    nothing_written,
    retrying,
    role_of,
)
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.groupcommit import GroupCommit
from kessai.foundation.lease import Lease
from kessai.foundation.rowarray import accept_columns
from kessai.sdk.processing.announce import touched_events
from kessai.sdk.processing.api import TOPIC_TOUCHED
from kessai.sdk.workflow.flush import Part, columns_of, one_statement, part_of_rows
from kessai.sdk.workflow.model import Conflicted
from kessai.sdk.workflow.steps import Entry, Row

log = structlog.get_logger(__name__)

BATCH_MAX = 512
QUEUE_MAX = 16_384
RECONNECT_DELAY_S_MAX = 1.0
FLUSH_S_MAX = 10
"""A flush that takes longer is given up by the database, and sent again."""
SETTINGS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;"
    f" SET enable_mergejoin = off; SET statement_timeout = '{FLUSH_S_MAX}s'"
)
"""Plans are kept for a connection's life, from a time when tables were small: every row is to be found by its index."""

VERIFIED = "workflow_flush_verified"

FlushHook = Callable[[Literal["before", "after"], int], bool]
"""Called around each flush with how many there will then be; True crashes the executor there. For tests."""


class Fenced(Unavailable):
    """The executor's lease is gone: its workflows are someone else's now."""

    def __init__(self) -> None:
        super().__init__("executor_replaced", "This process was replaced while it stalled; send the request again.")


class Doubted(Unknown):
    """The executor's lease is gone while it was still to be found out whether its flush came through."""

    def __init__(self) -> None:
        super().__init__("flush_unknown", "This process was replaced while it stalled; ask again with the same key.")


class Crashed(Unknown):
    """A test had the executor die here."""

    def __init__(self) -> None:
        super().__init__("executor_crashed", "This process is gone.")


class _Isolate(Exception):
    """A guarded row did not match: the entries are tried again in smaller groups, until the one is alone."""


@dataclass(slots=True)
class _Flush:
    """The entries of a flush on their way."""

    left: list[Entry]
    """Those that are still to be written."""
    taken: set[str] = field(default_factory=set)
    """Ids of starts that came second."""
    number: int = 0
    lost: bool = False
    """Whether `number` happened is not known: it has to be found out before anything else."""
    doubted: bool = False
    """It was sent once without an answer: without lease and token nobody can tell what became of it."""
    written: bool = False
    over: bool = False
    conflicted: bool = False
    """The one that is left has a guarded row that did not match."""

    def outcome(self, entry: Entry) -> bool | PaymentError:
        """What became of one of the flush's entries."""
        if self.taken and entry.start is not None and entry.start[0] in self.taken:
            return False
        return Conflicted() if self.conflicted else True


class Journal:
    """Writes entries for one executor, under its lease."""

    def __init__(
        self, database: Database, service: str, clock: Clock, lease: Lease, hook: FlushHook | None = None
    ) -> None:
        self.lease = lease
        self._database = database
        self._service = service
        self._clock = clock
        self._hook = hook
        self._queries = load_queries("kessai.sdk.workflow", schema=service)
        self._outbox_insert = events.outbox_insert(service)
        self._connection: Connection | None = None
        self._number = 0
        self._committed = 0
        self._forgotten = 0
        self._stopped = False
        self.on_stopped: Callable[[PaymentError], None] | None = None
        """Told once when this journal may not write any more (fenced, or a simulated crash)."""
        self._group: GroupCommit[Entry, list[Entry], bool] = GroupCommit(
            prepare=self._prepare, commit=self._commit, batch_max=BATCH_MAX, queue_max=QUEUE_MAX
        )

    @property
    def stopped(self) -> bool:
        """Nothing is written any more."""
        return self._stopped

    @property
    def flushes(self) -> int:
        """Flushes committed so far."""
        return self._committed

    async def submit(self, entry: Entry) -> bool:
        """True when the entry is durable; False for a start whose id is already taken (nothing was written).

        Raises Conflicted when a guarded row did not match; Unavailable when nothing was written and it may be tried
        again, Fenced when it may not; Doubted when it may not and it is not known whether it was written.
        """
        return await self._group.submit(entry)

    async def forget_old_tokens(self) -> None:
        """Remove the tokens of flushes that are known to be over."""
        if self._number != self._forgotten:
            self._forgotten = self._number
            role = role_of(self._service)
            await self._database.fetch(role, self._queries["flush_forget"], self.lease.holder, self._number)

    async def close(self) -> None:
        """Carry what was accepted to its end, then let the connection go."""
        await self._group.close()
        await self._disconnect()

    def stop(self, reason: PaymentError) -> None:
        """Write nothing any more."""
        if not self._stopped:
            self._stopped = True
            if self.on_stopped is not None:
                self.on_stopped(reason)

    # -- one flush ------------------------------------------------------------------------------------------------

    async def _prepare(self, entries: list[Entry], _attempt: int) -> list[Entry]:
        return entries

    async def _commit(self, entries: list[Entry]) -> Sequence[bool | PaymentError]:
        self._crash_if_asked("before", self._committed + 1)
        flush = _Flush(entries)
        await self._carry(flush)
        self._committed += 1
        self._crash_if_asked("after", self._committed)
        if any(entry.events for entry in flush.left):
            events.wake(self._database, self._service)
        return [flush.outcome(entry) for entry in entries]

    async def _carry(self, flush: _Flush) -> None:
        """Write what is left of a flush, however often the connection breaks."""
        delay_s = 0.01
        while not flush.over:
            if self._stopped:
                raise Doubted if flush.doubted else Fenced
            try:
                await self._advance(flush)
                continue
            except (asyncpg.PostgresError, *LOST, Unavailable, Unknown, TimeoutError) as error:
                self._raise_unless_lost(error, flush)
                log.warning("journal_reconnects", service=self._service, error=repr(error))
            await self._disconnect()
            await asyncio.sleep(delay_s)
            delay_s = min(RECONNECT_DELAY_S_MAX, delay_s * 2)

    async def _advance(self, flush: _Flush) -> None:
        """Take a flush further; it may need several goes."""
        if flush.lost and await self._came_through(flush.number):
            flush.lost, flush.written = False, True
        if not flush.written:
            await self._try(flush)
        flush.over |= flush.written

    def _raise_unless_lost(self, error: Exception, flush: _Flush) -> None:
        """Raise what ends a flush; return when there is nothing for it but a new connection."""
        if isinstance(error, (Fenced, Doubted, Crashed)):
            raise error
        if flush.lost or flush.written:
            return
        if isinstance(error, RETRYABLE):
            raise groupcommit.Conflicted from error
        if isinstance(error, EXHAUSTED):
            raise nothing_written(error) from error
        if self._is_our_mistake(error) or not isinstance(error, (*LOST, Unavailable, TimeoutError)):
            raise error

    def _is_our_mistake(self, error: Exception) -> bool:
        """The driver's complaint about a row's values has the class of a lost connection, but is none."""
        connected = self._connection is not None and not self._connection.is_closed()
        return isinstance(error, asyncpg.DataError) or (isinstance(error, asyncpg.InterfaceError) and connected)

    def _crash_if_asked(self, when: Literal["before", "after"], number: int) -> None:
        if self._hook is not None and not self._stopped and self._hook(when, number):
            self.stop(Crashed())
            raise Crashed

    async def _try(self, flush: _Flush) -> None:
        """Send it; when it is refused, find out why."""
        self._number = flush.number = self._number + 1
        flush.lost = True
        try:
            await self._write(flush.number, flush.left)
        except asyncpg.CheckViolationError as error:
            flush.lost = False
            if error.constraint_name != VERIFIED:
                raise
            await self._sort_out(flush)
            return
        except Exception as error:
            flush.lost = isinstance(error, (*LOST, TimeoutError)) and not self._is_our_mistake(error)
            flush.doubted |= flush.lost
            raise
        flush.lost, flush.written = False, True

    async def _write(self, number: int, entries: list[Entry]) -> None:
        connection = await self._connected()
        end = self._queries["flush_end"]
        text, arguments = one_statement(self._parts(entries), end, self.lease.holder, number)
        await connection.execute(text, *arguments)

    # -- what a flush is made of ------------------------------------------------------------------------------------

    def _parts(self, entries: list[Entry]) -> list[Part]:
        lease, queries = self.lease, self._queries
        parts = [Part(queries["flush_fence"], [lease.name, lease.holder, lease.epoch], 1)]
        starts = [entry.start for entry in entries if entry.start is not None]
        if starts:
            columns = columns_of(starts)
            parts += (
                Part(queries["flush_take"], [columns[0], columns[3], columns[7]], len(starts)),
                Part(queries["open_insert"], [*columns, lease.holder], len(starts)),
            )
        finishes = [entry.finish for entry in entries if entry.finish is not None]
        if finishes:
            columns = columns_of(finishes)
            parts += (
                Part(queries["done_insert"], columns),
                Part(queries["open_delete"], [columns[0], lease.holder], len(finishes)),
            )
        groups = sorted(self._gathered(entries).items())
        parts += (part_of_rows(statement, rows, counted=guarded) for (statement, guarded), rows in groups)
        return parts

    def _gathered(self, entries: list[Entry]) -> dict[tuple[str, bool], list[Row]]:
        """Rows by statement."""
        groups: dict[tuple[str, bool], list[Row]] = {}
        published: dict[str, list[bytes]] = {}
        touched: dict[str, bool] = {}
        for entry in entries:
            for step in entry.steps:
                groups.setdefault((self._queries["log_insert"], False), []).append(step.row())
            if entry.mark is not None and entry.finish is None:
                groups.setdefault((self._queries["mark"], False), []).append(entry.mark)
            for write in entry.writes:
                groups.setdefault((write.statement, write.guarded), []).append(write.row)
                if write.processing_id is not None:
                    touched[write.processing_id] = write.begins or touched.get(write.processing_id, False)
            for topic, event in entry.events:
                published.setdefault(topic, []).append(event)
        if touched:
            published[TOPIC_TOUCHED] = touched_events(touched)
        if published:
            now = self._clock.now()
            groups[self._outbox_insert, False] = [
                events.encoded_row(topic, len(each), events.encode_events(each), now)
                for topic, each in published.items()
            ]
        return groups

    # -- a flush that was refused -----------------------------------------------------------------------------------

    async def _sort_out(self, flush: _Flush) -> None:
        """Why a guard did not hold: the lease is gone, starts came second (and are left out), rows did not match."""
        connection = await self._connected()
        lease, queries = self.lease, self._queries
        if await connection.fetchval(queries["flush_fence"], lease.name, lease.holder, lease.epoch) is None:
            self.stop(Fenced())
            raise Doubted if flush.doubted else Fenced
        starts = [entry.start[0] for entry in flush.left if entry.start is not None]
        taken = {row["workflow_id"] for row in await connection.fetch(queries["taken"], starts)}
        if taken:
            flush.taken |= taken
            flush.left = [entry for entry in flush.left if entry.start is None or entry.start[0] not in taken]
            flush.over = not flush.left
            return
        if len(flush.left) > 1:
            raise _Isolate
        (entry,) = flush.left
        if entry.finish is not None:
            owned = await connection.fetchval(queries["owned"], [entry.finish[0]], lease.holder)
            assert owned is not None, "a workflow of this executor was closed by someone else"
        flush.conflicted = flush.over = True

    # -- a connection that was cut --------------------------------------------------------------------------------

    async def _came_through(self, number: int) -> bool:
        """Whether a flush happened although we were not told; if not, its token is made void, so that it never will.

        The key of the token waits for a flush that is still under way.
        """
        connection = await self._connected()
        token = (self.lease.holder, number)
        await retrying(lambda: connection.execute(self._queries["flush_void"], *token))
        return await retrying(lambda: connection.fetchval(self._queries["flush_seen"], *token)) is not None

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await self._database.connect(role_of(self._service))
            try:
                await connection.execute(SETTINGS)
                accept_columns(connection)
                with contextlib.suppress(asyncpg.InvalidParameterValueError):
                    # For events, several times quicker than the built-in default, where the server was built with it.
                    await connection.execute("SET default_toast_compression = lz4")
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
