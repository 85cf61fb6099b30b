"""Reading the journal: look-ups by id, recovery, and what waits for an operator."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from kessai.foundation.db import Connection, Database, Queries, load_queries, role_of
from kessai.foundation.lease import Lease
from kessai.sdk.workflow.model import Parked
from kessai.sdk.workflow.steps import Step

PARKED_LISTED_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Found:
    """A workflow of an id: finished with its outcome, or open."""

    name: str
    version: int
    digest: bytes
    finished: bool
    failed: bool = False
    outcome: bytes = b""
    parked: bool = False


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
        for _ in range(2):  # it may finish between the two looks
            rows = await self._database.fetch(self._role, self._queries["find_done"], workflow_id)
            for row in rows:
                return Found(row["name"], row["version"], row["digest"], True, row["failed"], row["outcome"])
            rows = await self._database.fetch(self._role, self._queries["find_open"], workflow_id)
            for row in rows:
                return Found(row["name"], row["version"], row["digest"], False, parked=row["parked_error"] is not None)
        return None

    async def adopt(self, lease: Lease) -> list[Adopted]:
        """Make ours what belongs to executors without a lease; first end the leases that have lapsed."""
        await self._end_lapsed(lease)
        rows = await self._database.fetch(self._role, self._queries["orphaned"])
        if not rows:
            return []
        orphaned = [row["executor_id"] for row in rows]

        async def work(connection: Connection) -> list[asyncpg.Record]:
            await lease.fence(connection)
            rows = await connection.fetch(self._queries["adopt"], lease.holder, orphaned)
            moment = await connection.fetchval(self._lease_queries["lease_moment"])
            await connection.execute(self._queries["claim_anew"], [row["workflow_id"] for row in rows], moment)
            return rows

        adopted = await self._database.transaction(self._role, work)
        logs = await self._logs([row["workflow_id"] for row in adopted])
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
                gone = await connection.fetch(self._queries["drop_lapsed"], names, moment)
                await connection.execute(self._queries["forget_executors"], [row["holder"] for row in gone])

        await self._database.transaction(self._role, work)

    async def _logs(self, workflow_ids: list[str]) -> dict[str, list[Step]]:
        logs: dict[str, list[Step]] = {}
        for row in await self._database.fetch(self._role, self._queries["logs_of"], workflow_ids):
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
