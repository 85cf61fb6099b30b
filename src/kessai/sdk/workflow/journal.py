"""The journal's writer: entries of all runs of one executor, group-committed, fenced by its lease.

A flush is one transaction of two statements. The first proves that the lease is still held, leaves the flush's number
as a token, opens and finishes workflows. The second, made of what the flush carries, writes steps, marks, the
service's rows and the outbox, and looks once more for an id that another process finished in between. When the
connection is cut during a commit, the token tells afterwards whether it happened.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

import asyncpg
import structlog

from kessai.foundation import events, groupcommit
from kessai.foundation.clock import Clock
from kessai.foundation.db import EXHAUSTED, LOST, RETRYABLE, Connection, Database, load_queries, role_of
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.foundation.groupcommit import GroupCommit
from kessai.foundation.lease import Lease
from kessai.sdk.workflow.model import Conflicted
from kessai.sdk.workflow.steps import Entry, Row

log = structlog.get_logger(__name__)

BATCH_MAX = 512
QUEUE_MAX = 16_384
RECONNECT_DELAY_S_MAX = 1.0
PLANS = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
"""Plans are kept for a connection's life, from a time when tables were small: every row is to be found by its index."""

FlushHook = Callable[[Literal["before", "after"], int], bool]
"""Called around each flush with how many there will then be; True crashes the executor there. For tests."""


class Fenced(Unavailable):
    """The executor's lease is gone: its workflows are someone else's now."""

    def __init__(self) -> None:
        super().__init__("executor_replaced", "This process was replaced while it stalled; send the request again.")


class Crashed(Unavailable):
    """A test had the executor die here."""

    def __init__(self) -> None:
        super().__init__("executor_crashed", "This process is gone.")


class _Isolate(Exception):
    """A guarded row did not match: the entries are tried again in smaller groups, until the one is alone."""


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

        Raises Conflicted when a guarded row did not match, Unavailable when nothing was written and it may be tried
        again, Fenced when it may not.
        """
        return await self._group.submit(entry)

    async def forget_old_tokens(self) -> None:
        """Remove the tokens of flushes that are known to be over."""
        if self._number == self._forgotten:
            return
        self._forgotten = self._number
        await self._database.fetch(
            role_of(self._service), self._queries["flush_forget"], self.lease.holder, self._number
        )

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
        self._number += 1
        number, sent, delay_s = self._number, False, 0.01
        self._crash_if_asked("before", self._committed + 1)
        while True:
            if self._stopped:
                raise Fenced
            try:
                outcomes = await self._committed_before(number, entries) if sent else None
                if outcomes is None:
                    sent = True
                    outcomes = await self._write(number, entries)
            except RETRYABLE as error:
                raise groupcommit.Conflicted from error
            except asyncpg.UniqueViolationError as error:
                if error.constraint_name != "workflow_flush_pkey":
                    raise
                continue  # the commit that was cut off has come through just now: it is found by its token
            except EXHAUSTED as error:
                raise Unavailable("database_exhausted", "The database has no room just now.") from error
            except (*LOST, Unavailable, TimeoutError) as error:
                if isinstance(error, (Fenced, Crashed)) or self._is_our_mistake(error):
                    raise
                log.warning("journal_reconnects", service=self._service, error=repr(error))
                await self._disconnect()
                await asyncio.sleep(delay_s)
                delay_s = min(RECONNECT_DELAY_S_MAX, delay_s * 2)
                continue
            self._committed += 1
            self._crash_if_asked("after", self._committed)
            return outcomes

    def _is_our_mistake(self, error: Exception) -> bool:
        """The driver's complaint about a row's values has the class of a lost connection, but is none."""
        connected = self._connection is not None and not self._connection.is_closed()
        return isinstance(error, asyncpg.DataError) or (isinstance(error, asyncpg.InterfaceError) and connected)

    def _crash_if_asked(self, when: Literal["before", "after"], number: int) -> None:
        if self._hook is not None and not self._stopped and self._hook(when, number):
            self.stop(Crashed())
            raise Crashed

    async def _write(self, number: int, entries: list[Entry]) -> list[bool | PaymentError]:
        connection = await self._connected()
        transaction = connection.transaction()
        await transaction.start()
        try:
            starts = [entry.start for entry in entries if entry.start is not None]
            started = await self._open_and_finish(connection, number, starts, entries)
            kept = [entry for entry in entries if entry.start is None or entry.start[0] in started]
            await self._write_rest(connection, kept, sorted(started))
        except Conflicted as error:
            await transaction.rollback()
            return [error]
        except BaseException:
            if not connection.is_closed():
                await transaction.rollback()
            raise
        await transaction.commit()
        if any(entry.events for entry in kept):
            events.wake(self._database, self._service)
        return [entry.start is None or entry.start[0] in started for entry in entries]

    async def _open_and_finish(
        self, connection: Connection, number: int, starts: list[Row], entries: list[Entry]
    ) -> set[str]:
        finishes = [entry.finish for entry in entries if entry.finish is not None]
        row = await connection.fetchrow(
            self._queries["journal"],
            self.lease.name,
            self.lease.holder,
            self.lease.epoch,
            number,
            *_columns(starts, 9),
            *_columns(finishes, 9),
        )
        assert row is not None
        if not row["fenced"]:
            self.stop(Fenced())
            raise Fenced
        assert row["closed"] == len(finishes), "a workflow of this executor was closed by someone else"
        return set(row["started"] or ())

    async def _write_rest(self, connection: Connection, entries: list[Entry], started: list[str]) -> None:
        groups = self._gather(entries)
        if not groups and not started:
            return
        shape = tuple((statement, len(rows[0]), guarded) for (statement, guarded), rows in groups.items())
        text = _compose(shape, self._queries["already_done"])
        arguments = [column for rows in groups.values() for column in map(list, zip(*rows, strict=True))]
        row = await connection.fetchrow(text, *arguments, started)
        assert row is not None
        if row[0]:
            raise groupcommit.Conflicted  # finished by another process since the first statement looked
        guarded = [len(rows) for (_, guarded), rows in groups.items() if guarded]
        if list(row)[1:] != guarded:
            if len(entries) == 1:
                raise Conflicted
            raise _Isolate

    def _gather(self, entries: list[Entry]) -> dict[tuple[str, bool], list[Row]]:
        """Rows by statement, in a fixed order of the journal's own."""
        groups: dict[tuple[str, bool], list[Row]] = {}
        published: dict[str, list[bytes]] = {}
        for entry in entries:
            for step in entry.steps:
                groups.setdefault((self._queries["log_insert"], False), []).append(step.row())
            if entry.mark is not None:
                groups.setdefault((self._queries["mark"], False), []).append(entry.mark)
            for write in entry.writes:
                groups.setdefault((write.statement, write.guarded), []).append(write.row)
            for topic, event in entry.events:
                published.setdefault(topic, []).append(event)
        if published:
            now = self._clock.now()
            groups[self._outbox_insert, False] = [
                events.encoded_row(topic, len(each), events.encode_events(each), now)
                for topic, each in published.items()
            ]
        return dict(sorted(groups.items()))

    # -- a connection that was cut --------------------------------------------------------------------------------

    async def _committed_before(self, number: int, entries: list[Entry]) -> list[bool | PaymentError] | None:
        """The outcomes of a flush that was committed although we were not told; None when it was not."""
        connection = await self._connected()
        if await connection.fetchval(self._queries["flush_seen"], self.lease.holder, number) is None:
            return None
        return await self._outcomes_of_committed(connection, entries)

    async def _outcomes_of_committed(self, connection: Connection, entries: list[Entry]) -> list[bool | PaymentError]:
        starts = [entry.start[0] for entry in entries if entry.start is not None]
        rows = await connection.fetch(self._queries["started_by"], starts, self.lease.holder)
        started = {row["workflow_id"] for row in rows}
        return [entry.start is None or entry.start[0] in started for entry in entries]

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect(role_of(self._service))
            await self._connection.execute(PLANS)
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _columns(rows: Sequence[Row], width: int) -> list[list[Any]]:
    """Rows turned into one array a column."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


_PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=256)
def _compose(shape: tuple[tuple[str, int, bool], ...], already_done: str) -> str:
    """One statement out of several: each a CTE with its parameters moved up; gives what came again, then the counts."""
    parts: list[str] = []
    counts: list[str] = []
    offset = 0
    for index, (statement, width, guarded) in enumerate(shape):
        parts.append(f"w{index} AS ({_shifted(statement, offset)})")
        if guarded:
            counts.append(f"(SELECT count(*) FROM w{index})")  # noqa: S608  (a number of our own)
        offset += width
    again = f"ARRAY({_shifted(already_done, offset)})"
    prefix = "WITH " + ", ".join(parts) + " " if parts else ""
    return f"{prefix}SELECT {', '.join([again, *counts])}"


def _shifted(statement: str, offset: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + offset}", statement)
