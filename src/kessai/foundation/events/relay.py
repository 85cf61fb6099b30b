"""The relay: gives committed outbox rows their positions, in the order in which it finds them."""

from __future__ import annotations

import asyncio

import structlog

from kessai.foundation.db import Database, load_queries, role_of
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.events.outbox import Pauses, bell, rung
from kessai.foundation.lease import LEASE_S, Lease, hold

log = structlog.get_logger(__name__)

ROWS_MAX = 2_000
POLL_S = 0.5
"""Pause before rows of other processes are looked for; it grows with each look that finds none."""
POLL_S_MAX = 8.0
PAUSE_S = 0.1
"""Between two assignments, so that under load each carries many rows; after a quiet time the first goes at once."""


class Relay:
    """One per source schema; several processes may each open one, the lease lets one of them work.

    The head's guarded update makes positions unique and gapless even if two believed to hold the lease.
    """

    def __init__(
        self, database: Database, source: str, *, lease_s: float = LEASE_S, poll_s_max: float | None = None
    ) -> None:
        """`poll_s_max`: the longest pause, in place of POLL_S_MAX, of a source that nobody waits for."""
        self.source = source
        self.positioned = 0
        """Rows positioned by this process."""
        self._database = database
        self._role = role_of(source)
        self._queries = load_queries("kessai.foundation.events", schema=source)
        self._lease = Lease(database, source, "relay", lease_s=lease_s)
        self._poll_s_max = poll_s_max
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop and let another process go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def assign(self) -> int:
        """Position the rows that are committed now, a batch at a time; gives their number."""
        total = 0
        while True:
            rows = await self._database.fetch(self._role, self._queries["outbox_unpositioned"], ROWS_MAX)
            if not rows:
                return total
            total += await self._assign([row["outbox_id"] for row in rows])
            if len(rows) < ROWS_MAX:
                return total

    async def _assign(self, ids: list[object]) -> int:
        (head,) = await self._database.fetch(self._role, self._queries["outbox_head"], self.source)
        old = head["position"]
        positions = list(range(old + 1, old + 1 + len(ids)))
        (row,) = await self._database.fetch(
            self._role, self._queries["outbox_assign"], self.source, old, positions[-1], ids, positions
        )
        if row["rows"]:
            bell(self._database, self.source, "positioned").ring()
        self.positioned += row["rows"]
        return row["rows"]

    async def _work(self) -> None:
        doorbell = bell(self._database, self.source, "committed")
        positioned = bell(self._database, self.source, "positioned")
        waiter = doorbell.listen()
        longest_s = self._poll_s_max or POLL_S_MAX
        pauses = Pauses(min(POLL_S, longest_s), longest_s)
        positioned.certain = True
        try:
            while True:
                found = 0
                try:
                    found = await self.assign()
                except (Unavailable, Unknown) as error:
                    log.warning("relay_waits", source=self.source, error=str(error))
                await asyncio.sleep(PAUSE_S)
                await rung(waiter, pauses.after(found=found > 0))
        finally:
            positioned.certain = False
            positioned.ring()  # from here on others position rows: they have to be looked for
            doorbell.forget(waiter)
