"""Subscriptions: events in order of position, each taking effect once in the subscriber's own transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import EXHAUSTED, LOST, RETRYABLE, Connection, Database, load_queries, role_of
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.events.outbox import Event, Pauses, bell, events_of, rung, written_at
from kessai.foundation.lease import LEASE_S, Lease, hold

log = structlog.get_logger(__name__)

Handler = Callable[[Connection, list[Event]], Awaitable[None]]
"""Applies events within the transaction it is given, under the subscriber's role. It may be called again with the
same events after a rollback; it touches nothing outside the transaction, or only what is idempotent by event."""

ROWS_MAX = 200
EVENTS_MAX = 8_000
"""Rows are read until they carry so many events: what one delivery holds in memory and writes in one transaction."""
POLL_S = 0.5
"""Pause before events positioned by other processes are looked for; it grows with each look that finds none."""
POLL_S_MAX = 8.0
CERTAIN_POLL_S = 60.0
"""The same while this process itself relays the source: whatever is positioned rings."""
BACKOFF_S_MAX = 5.0
ATTEMPTS_ALONE_MAX = 5
"""Retryable failures of one event alone, before it is parked like any other."""
POLLS_PER_SKIP = 32
PARKED_LISTED_MAX = 1_000


class _Moved(Exception):
    """Another process moved the cursor: nothing was done here."""


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that awaits an operator, with the error of its handler."""

    subscription: str
    event: Event
    error: str
    attempts: int
    parked_at: datetime


@dataclass(frozen=True, slots=True)
class _Cursor:
    position: int
    handled: int


class Subscription:
    """Delivers the events of one source's topics to a handler; several processes may open it, one works at a time."""

    def __init__(
        self,
        database: Database,
        *,
        source: str,
        topics: Sequence[str],
        subscriber: str,
        name: str,
        handler: Handler,
        clock: Clock,
        lease_s: float = LEASE_S,
        pause_s: float = 0.0,
    ) -> None:
        """`pause_s` between two deliveries lets events gather for a subscriber to whom batches are worth a wait."""
        self.name = name
        self.source = source
        self.delivered = 0
        """Events that took effect through this process."""
        self.parked_count = 0
        """Events parked by this process."""
        self._topics = list(topics)
        self._handler = handler
        self._clock = clock
        self._database = database
        self._role = role_of(subscriber)
        self._queries = load_queries("kessai.foundation.events", schema=subscriber)
        self._source_queries = load_queries("kessai.foundation.events", schema=source)
        self._lease = Lease(database, subscriber, f"subscription/{name}", lease_s=lease_s)
        self._pause_s = pause_s
        self._idle_polls = 0
        self._known: _Cursor | None = None
        """The cursor where we left it; moving it is guarded, so that a stale one is found out before any effect."""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop and let another process go on; a delivery that was cut off is rolled back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def deliver(self) -> int:
        """Deliver one batch of what is positioned now; gives the number of events passed (parked ones too)."""
        cursor = await self._cursor()
        events, end = await self._events_after(cursor)
        if not events:
            await self._skip_ahead(cursor)
            return 0
        self._known = None
        try:
            await self._apply(events, cursor, end)
            self._known = end
        except _Moved:
            return 0
        except Exception as error:
            if _is_transient(error):
                raise
            log.warning("event_batch_failed", subscription=self.name, events=len(events), error=repr(error))
            await self._one_by_one(events, cursor, end)
        return len(events)

    async def unpark(self, position: int, ordinal: int) -> bool:
        """Try a parked event again: True when it took effect now, False (with its new error stored) when not."""

        async def again(connection: Connection) -> bool:
            where = (self.name, position, ordinal)
            row = await connection.fetchrow(self._queries["parked_one"], *where)
            if row is None or not await connection.fetchval(self._queries["parked_resolve"], *where, self._clock.now()):
                return False
            await self._handler(connection, [_event(row, position, ordinal)])
            return True

        try:
            return await self._database.transaction(self._role, again)
        except Exception as error:  # noqa: BLE001  (stored for the operator)
            text = repr(error)
            await self._database.fetch(self._role, self._queries["parked_again"], self.name, position, ordinal, text)
            return False

    async def _work(self) -> None:
        self._known = None
        await self._database.fetch(self._role, self._queries["cursor_create"], self.name, self.source)
        doorbell = bell(self._database, self.source, "positioned")
        waiter = doorbell.listen()
        pauses = Pauses(POLL_S, POLL_S_MAX)
        failures = 0
        try:
            while True:
                try:
                    passed = await self.deliver()
                    failures = 0
                except Exception as error:  # noqa: BLE001  (a subscription never dies; it is shown and tried again)
                    failures += 1
                    log.warning("subscription_waits", subscription=self.name, error=repr(error))
                    await asyncio.sleep(min(BACKOFF_S_MAX, 0.05 * 2**failures))
                    continue
                pause_s = pauses.after(found=passed > 0)
                if passed and self._pause_s:
                    await asyncio.sleep(self._pause_s)
                elif not passed:
                    await rung(waiter, max(pause_s, CERTAIN_POLL_S) if doorbell.certain else pause_s)
        finally:
            doorbell.forget(waiter)

    async def _cursor(self) -> _Cursor:
        if self._known is None:
            self._known = await self._stored_cursor()
        return self._known

    async def _stored_cursor(self) -> _Cursor:
        rows = await self._database.fetch(self._role, self._queries["cursor_read"], self.name)
        if not rows:
            await self._database.fetch(self._role, self._queries["cursor_create"], self.name, self.source)
            return _Cursor(0, 0)
        return _Cursor(rows[0]["position"], rows[0]["handled"])

    async def _events_after(self, cursor: _Cursor) -> tuple[list[Event], _Cursor]:
        """What comes next, read under the source's role, and where the cursor is after it."""
        rows = await self._database.fetch(
            role_of(self.source),
            self._source_queries["outbox_after"],
            cursor.position,
            cursor.handled,
            self._topics,
            ROWS_MAX,
            EVENTS_MAX,
        )
        events: list[Event] = []
        end = cursor
        for row in rows:
            made_at = written_at(row["outbox_id"])
            found = events_of(self.source, row["position"], row["topic"], row["payload"], row["recorded_at"], made_at)
            end = _Cursor(row["position"], len(found))
            events += found[cursor.handled :] if row["position"] == cursor.position else found
        return events, end

    async def _skip_ahead(self, cursor: _Cursor) -> None:
        """Now and then move past positions of other topics, so that they are not searched through again and again."""
        self._idle_polls += 1
        if self._idle_polls % POLLS_PER_SKIP:
            return
        rows = await self._database.fetch(role_of(self.source), self._source_queries["outbox_head"], self.source)
        head = _Cursor(rows[0]["position"], 0)
        # Looked at again after the head was read: what has no events up to there will never have any.
        events, _ = await self._events_after(cursor)
        if not events and head.position > cursor.position:
            self._known = None
            with suppress(_Moved):
                await self._database.transaction(self._role, lambda connection: self._move(connection, cursor, head))

    async def _apply(self, events: list[Event], start: _Cursor, end: _Cursor) -> None:
        async def work(connection: Connection) -> None:
            await self._move(connection, start, end)
            await self._handler(connection, events)

        await self._database.transaction(self._role, work)
        self.delivered += len(events)

    async def _move(self, connection: Connection, start: _Cursor, end: _Cursor) -> None:
        """The guard of exactly-once: first in the transaction, so that a second process waits here."""
        moved = await connection.fetchval(
            self._queries["cursor_move"], self.name, start.position, start.handled, end.position, end.handled
        )
        if moved is None:
            raise _Moved

    async def _one_by_one(self, events: list[Event], cursor: _Cursor, end: _Cursor) -> None:
        for event in events:
            after = _Cursor(event.position, event.ordinal + 1)
            try:
                await self._alone(event, cursor, after)
            except _Moved:
                return
            cursor = after
        assert cursor == end

    async def _alone(self, event: Event, cursor: _Cursor, after: _Cursor) -> None:
        """Apply one event, or park it with its error."""
        attempt = 0
        while True:
            attempt += 1
            try:
                await self._apply([event], cursor, after)
            except _Moved:
                raise
            except Exception as error:
                if _is_lost(error):
                    raise
                if not (_is_transient(error) and attempt < ATTEMPTS_ALONE_MAX):
                    await self._park(event, cursor, after, error)
                    return
                await asyncio.sleep(min(BACKOFF_S_MAX, 0.05 * 2**attempt))
            else:
                return

    async def _park(self, event: Event, cursor: _Cursor, after: _Cursor, error: Exception) -> None:
        async def work(connection: Connection) -> None:
            await self._move(connection, cursor, after)
            await connection.execute(
                self._queries["parked_insert"],
                self.name,
                event.position,
                event.ordinal,
                event.source,
                event.topic,
                event.payload,
                repr(error),
                self._clock.now(),
                event.recorded_at,
            )

        await self._database.transaction(self._role, work)
        self.parked_count += 1
        log.error("event_parked", subscription=self.name, position=event.position, ordinal=event.ordinal)


async def parked(database: Database, service: str) -> list[ParkedEvent]:
    """Events of a service's subscriptions that await an operator."""
    rows = await database.fetch(
        role_of(service), load_queries("kessai.foundation.events", schema=service)["parked_list"], PARKED_LISTED_MAX
    )
    return [
        ParkedEvent(
            row["subscription"],
            _event(row, row["position"], row["ordinal"]),
            row["error"],
            row["attempts"],
            row["parked_at"],
        )
        for row in rows
    ]


def _event(row: asyncpg.Record, position: int, ordinal: int) -> Event:
    """A parked event; of one that was parked before its instant was kept, that of parking is the nearest."""
    at = row["recorded_at"] or row["parked_at"]
    return Event(row["source"], position, ordinal, row["topic"], row["payload"], at)


def _is_lost(error: Exception) -> bool:
    """The database itself is away: nothing about the event."""
    return isinstance(error, (*LOST, *EXHAUSTED)) or (
        isinstance(error, (Unavailable, Unknown)) and error.code in ("database_unavailable", "commit_unknown")
    )


def _is_transient(error: Exception) -> bool:
    return _is_lost(error) or isinstance(error, RETRYABLE) or (isinstance(error, PaymentError) and error.retryable)
