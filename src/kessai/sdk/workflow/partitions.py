"""Histories by the week in which their workflow began: partitions made ahead, and dropped whole.

A workflow's history lies in the partitions of one week, however long it runs: uniqueness holds within a partition, and
the id itself is unique in `workflow_taken`, through which its week is known. What began before its week was made (the
sandbox's clock jumps) is in the partition for the rest, and is moved when the week is made.

DDL is the owner's: it is done under the login that migrates.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg

from kessai.foundation.db import Connection, Database
from kessai.sdk.workflow.host import operations

WEEK = timedelta(days=7)
WEEKS_AHEAD = 4
LOCK_WAIT = "1s"
"""Everyone waits behind a lock on a whole table: who does not get it soon tries again another time."""
_COLUMNS = {
    "workflow_done": "workflow_id, name, version, digest, failed, outcome, steps, started_at, finished_at",
    "workflow_log": ("workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at, started_at"),
}
TABLES = tuple(_COLUMNS)
_STORAGE = "toast_tuple_target = 8160"
"""Rows of up to a page stay as they are: what is inherited from no parent is said of each partition."""


@dataclass(frozen=True, slots=True, order=True)
class Week:
    """Seven days from a Monday, 00:00 UTC."""

    since: datetime

    @staticmethod
    def of(moment: datetime) -> Week:
        """The week of a moment."""
        day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return Week(day - timedelta(days=day.weekday()))

    @property
    def until(self) -> datetime:
        """Its end, which is not in it."""
        return self.since + WEEK

    def partition(self, table: str) -> str:
        """The name of its partition."""
        return f"{table}_{self.since:%Y%m%d}"


async def weeks_of(database: Database, service: str) -> list[Week]:
    """The weeks that have partitions, oldest first."""
    rows = await database.fetch(None, operations(service)["partitions"])
    named = [row["name"].rpartition("_")[2] for row in rows]
    return sorted(Week(datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC)) for name in named if name.isdigit())


async def make_ahead(database: Database, service: str, now: datetime) -> int:
    """Make the partitions of this week and the next ones that are missing; gives how many weeks.

    Raises LockNotAvailableError when a table was in use for too long: try again later.
    """
    there = await weeks_of(database, service)
    missing = [week for ahead in range(WEEKS_AHEAD + 1) if (week := Week.of(now + ahead * WEEK)) not in there]
    if missing:
        with suppress(asyncpg.DuplicateTableError, asyncpg.UniqueViolationError):  # another process makes them
            await database.transaction(None, lambda connection: _make(connection, service, missing))
    return len(missing)


async def _make(connection: Connection, service: str, weeks: list[Week]) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    for table, columns in _COLUMNS.items():
        for week in weeks:
            await _make_one(connection, f'"{service}".{table}', f'"{service}".{week.partition(table)}', columns, week)


async def _make_one(connection: Connection, parent: str, name: str, columns: str, week: Week) -> None:
    """One partition, with what is in the partition for the rest of that week."""
    await connection.execute(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL) WITH ({_STORAGE})")
    await connection.execute(
        f"WITH moved AS (DELETE FROM {parent}_rest WHERE started_at >= $1 AND started_at < $2 RETURNING {columns})"  # noqa: S608  (names of our own)
        f" INSERT INTO {name} ({columns}) SELECT {columns} FROM moved",
        *(week.since, week.until),
    )
    since, until = week.since.isoformat(), week.until.isoformat()
    bounds = f"FOR VALUES FROM ('{since}') TO ('{until}')"
    await connection.execute(f"ALTER TABLE {parent} ATTACH PARTITION {name} {bounds}")


async def drop(database: Database, service: str, week: Week) -> bool:
    """Drop a week's partitions; False, and nothing is dropped, when a workflow begun in it is open after all.

    Raises LockNotAvailableError when a table was in use for too long: try again later.
    """
    try:
        await database.transaction(None, lambda connection: _drop(connection, service, week))
    except _Open:
        return False
    return True


class _Open(Exception):
    """A workflow of the week is open: the partitions stay."""


async def _drop(connection: Connection, service: str, week: Week) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
    for table in TABLES:
        await connection.execute(f'DROP TABLE "{service}".{week.partition(table)}')
    # Asked under the lock: a fork of an old workflow is open in that workflow's own week.
    if await connection.fetchval(operations(service)["is_open_in"], week.since, week.until):
        raise _Open
