"""Reading the journal: look-ups by id, recovery, and what waits for an operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from kessai.foundation.db import Connection, Database, Queries, load_queries, role_of
from kessai.foundation.lease import Lease
from kessai.sdk.workflow.model import Parked
from kessai.sdk.workflow.steps import Step

PARKED_LISTED_MAX = 1_000
WOKEN_MAX = 1_000
"""Workflows woken in one transaction."""
ADOPTED_MAX = 1_000
"""Workflows adopted in one transaction."""
RESTING = "resting"
"""The executor of a workflow that rests."""


@dataclass(frozen=True, slots=True)
class Found:
    """A workflow of an id: finished with its outcome (empty when that is no longer kept), or open."""

    name: str
    version: int
    digest: bytes
    finished: bool
    failed: bool = False
    outcome: bytes = b""
    parked: bool = False
    resting: bool = False
    """It waits for long, in no executor's memory."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """An open workflow whose executor is gone, with its journal, now ours."""

    row: asyncpg.Record
    steps: list[Step]

    @property
    def writes(self) -> int:
        """How many recorded rows were durable."""
        return max([self.row["writes"], *(step.writes for step in self.steps)])


class Store:
    """The workflow tables of one service's schema, for reading and for recovery."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._role = role_of(service)
        self._queries: Queries = load_queries("kessai.sdk.workflow", schema=service)
        self._lease_queries: Queries = load_queries("kessai.foundation.events", schema=service)

    async def find(self, workflow_id: str) -> Found | None:
        """The workflow of an id, finished or open."""
        for row in await self._database.fetch(self._role, self._queries["find"], workflow_id):
            name, version, digest, parked = row["name"], row["version"], row["digest"], row["parked_error"] is not None
            return Found(
                name, version, digest, not row["is_open"], row["failed"], row["outcome"], parked, row["resting"]
            )
        return None

    async def adopt(self, lease: Lease) -> list[Adopted]:
        """Make ours what belongs to executors without a lease, at most ADOPTED_MAX; first end the lapsed leases."""
        await self._end_lapsed(lease)
        rows = await self._database.fetch(self._role, self._queries["orphaned"])
        if not rows:
            return []
        orphaned = [row["executor_id"] for row in rows]

        async def work(connection: Connection) -> list[asyncpg.Record]:
            await lease.fence(connection)
            return await connection.fetch(self._queries["adopt"], lease.holder, orphaned, ADOPTED_MAX)

        return await self._with_logs(await self._database.transaction(self._role, work))

    async def rest(self, holder: str, until: Mapping[str, datetime], now: datetime) -> None:
        """Let workflows of this executor rest until an instant of business time; those with a message wake at once.

        What they were handed before and wait for no more, or not yet, wakes them not.
        """
        ids = list(until)

        async def work(connection: Connection) -> None:
            await connection.execute(self._queries["rest"], ids, list(until.values()), holder, RESTING)

        await self._database.transaction(self._role, work)
        # Anew, and not before the rows are free: a message that was on its way is seen now, or sees that they rest.
        await self.wake_addressed(ids, now, seen_by=holder)

    async def strays(self, holder: str, carried: Sequence[str]) -> list[Adopted]:
        """What is this executor's by its row, and is not among what it carries."""
        rows = await self._database.fetch(self._role, self._queries["strays"], holder, list(carried), ADOPTED_MAX)
        return await self._with_logs(rows)

    async def wake_addressed(self, ids: Sequence[str], now: datetime, *, seen_by: str = "") -> None:
        """Let those that rest wake now, if they have a message that `seen_by` has not handed to them."""
        await self._database.fetch(self._role, self._queries["wake_addressed"], ids, now, seen_by)

    async def wake(self, lease: Lease, now: datetime) -> list[Adopted]:
        """Make ours what rests and whose time has come."""

        async def work(connection: Connection) -> list[asyncpg.Record]:
            await lease.fence(connection)
            return await connection.fetch(self._queries["wake"], lease.holder, now, WOKEN_MAX)

        return await self._with_logs(await self._database.transaction(self._role, work))

    async def _with_logs(self, adopted: list[asyncpg.Record]) -> list[Adopted]:
        logs = await self._logs(adopted)
        return [Adopted(row, logs.get(row["workflow_id"], [])) for row in adopted]

    async def parked(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        rows = await self._database.fetch(self._role, self._queries["parked_list"], PARKED_LISTED_MAX)
        return [Parked(*row) for row in rows]

    async def unpark(self, workflow_id: str) -> bool:
        """Leave it to whichever executor finds it first; False when it is not parked."""
        rows = await self._database.fetch(self._role, self._queries["unpark"], workflow_id, "unparked")
        return bool(rows)

    async def _end_lapsed(self, lease: Lease) -> None:
        async def work(connection: Connection) -> None:
            moment = await connection.fetchval(self._lease_queries["lease_moment"])
            rows = await connection.fetch(self._queries["lapsed"], moment)
            names = sorted(row["name"] for row in rows if row["name"] != lease.name)
            if names:
                await connection.execute(self._queries["drop_lapsed"], names, moment)

        await self._database.transaction(self._role, work)

    async def _logs(self, adopted: list[asyncpg.Record]) -> dict[str, list[Step]]:
        logs: dict[str, list[Step]] = {}
        if not adopted:
            return logs
        ids, began = [row["workflow_id"] for row in adopted], [row["started_at"] for row in adopted]
        for row in await self._database.fetch(self._role, self._queries["logs_of"], ids, min(began), max(began)):
            step = Step(
                row["workflow_id"],
                row["seq"],
                row["kind"],
                row["name"],
                row["argument_hash"],
                row["failed"],
                row["outcome"],
                row["recorded_at"],
                row["writes"],
            )
            logs.setdefault(step.workflow_id, []).append(step)
        return logs
