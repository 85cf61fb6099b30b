"""Retention: what finished long ago is forgotten in two steps, so that a reused id can never replay a stale result.

First the history goes: request, steps, outcome, messages, attributes. It is dropped by the week in which its workflows
began, once the last of them ended long enough ago. The id stays taken: whoever asks for it is told Forgotten. Much
later the id itself goes, when nothing of its former life is left, and it may be used anew.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import asyncpg
import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import MAINTENANCE_ROLE, Connection, Database
from kessai.sdk.workflow.host import operations
from kessai.sdk.workflow.partitions import Week, drop, make_ahead, weeks_of

R = TypeVar("R")

log = structlog.get_logger(__name__)

BATCH = 10_000
"""Rows removed in one transaction, where it is not a whole partition."""
BELONGINGS = (
    "forget_messages",
    "forget_answers",
    "forget_attributes",
    "forget_heartbeats",
    "forget_forks",
    "forget_stuck",
)
"""What few workflows have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished workflows are kept, in business time."""

    history: timedelta = timedelta(days=90)
    """Since they ended; up to a week longer, and as long as another one that began in the same week is kept."""
    ids: timedelta = timedelta(days=400)
    """Since they began. Not shorter than `history`: as long as a client may send a request again."""

    def __post_init__(self) -> None:
        assert self.ids >= self.history, "an id is kept at least as long as its history"


@dataclass(frozen=True, slots=True)
class Retired:
    """What one pass has forgotten."""

    histories: int
    ids: int
    weeks: int = 0
    """Partitions' weeks dropped."""
    postponed: bool = False
    """A table was in use all the time: it is to be tried again soon."""


async def retire(database: Database, service: str, clock: Clock, retention: Retention | None = None) -> Retired:
    """Make partitions ahead and forget what is due; safe to run at any time, by several processes, and again.

    Needs a login that owns the tables (the one that migrates).
    """
    retention, now = retention or Retention(), clock.now()
    ended_before, began_before = now - retention.history, now - retention.ids
    room = await make_room(database, service, now)
    await database.fetch(MAINTENANCE_ROLE, operations(service)["forget_tokens"])
    await _forget_belongings(database, service, ended_before)
    histories = weeks = 0
    postponed = not room
    for week in await _over(database, service, ended_before):
        done = await _count(database, service, week)
        dropped = await _patiently(drop(database, service, week))
        postponed |= dropped is None
        if dropped:
            histories, weeks = histories + done, weeks + 1
    histories += await _forget_rest(database, service, ended_before)
    return Retired(histories, await _forget_ids(database, service, began_before), weeks, postponed)


async def make_room(database: Database, service: str, now: datetime) -> bool:
    """Make the partitions that will be needed; False when they were in use for too long: try again later."""
    return await _patiently(make_ahead(database, service, now)) is not None


async def _patiently(work: Awaitable[R]) -> R | None:
    """None when a table was in use for too long: nothing was done then."""
    try:
        return await work
    except asyncpg.LockNotAvailableError as error:
        log.warning("retention_postponed", reason=str(error))
        return None


async def _over(database: Database, service: str, ended_before: datetime) -> list[Week]:
    """Weeks of whose workflows none is kept any more."""
    query, found = operations(service)["is_kept"], list[Week]()
    for week in await weeks_of(database, service):
        if week.until <= ended_before:
            (row,) = await database.fetch(MAINTENANCE_ROLE, query, week.since, week.until, ended_before)
            found += [] if row["kept"] else [week]
    return found


async def _count(database: Database, service: str, week: Week) -> int:
    (row,) = await database.fetch(MAINTENANCE_ROLE, operations(service)["count_done"], week.since, week.until)
    return row["done"]


async def _forget_belongings(database: Database, service: str, ended_before: datetime) -> None:
    queries = operations(service)
    for name in BELONGINGS:
        await database.fetch(MAINTENANCE_ROLE, queries[name], ended_before)


async def _forget_rest(database: Database, service: str, ended_before: datetime) -> int:
    """What lies in no week's partition, row by row."""
    queries, count = operations(service), 0
    while True:
        rows = await database.fetch(MAINTENANCE_ROLE, queries["rest_before"], ended_before, BATCH)
        if not rows:
            return count
        ids = [row["workflow_id"] for row in rows]

        async def work(connection: Connection, ids: list[str] = ids) -> None:
            for name in ("forget_log", "forget_done"):
                await connection.execute(queries[name], ids)

        await database.transaction(MAINTENANCE_ROLE, work)
        count += len(ids)


async def _forget_ids(database: Database, service: str, began_before: datetime) -> int:
    """Ids whose histories are gone; those whose workflow is still kept or open stay."""
    queries, count, after = operations(service), 0, ""
    while True:
        rows = await database.fetch(MAINTENANCE_ROLE, queries["ids_before"], after, began_before, BATCH)
        if not rows:
            return count
        ids = [row["workflow_id"] for row in rows]
        await database.fetch(MAINTENANCE_ROLE, queries["forget_ids"], ids)
        after, count = ids[-1], count + len(ids)
