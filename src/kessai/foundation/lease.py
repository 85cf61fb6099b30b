"""Leases: one row says who works on something, until when by the database's clock, and in which epoch.

The table `lease` is made by the component `kessai.foundation.events` in the service's schema. Whoever takes a lapsed
lease raises its epoch, so that `fence` inside a writer's own transaction refuses the one that had it before, however
long it was stalled. Real time, never the sandbox's. However many leases of a schema one process keeps, it renews them
by one statement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.ids import new_hex

LEASE_S = 10.0
RENEWALS_PER_LEASE = 2.5
RETRY_PART = 4
"""A renewal that did not reach the database is tried again after this part of the pause between two."""
MOMENT_KEPT_S = 600.0
"""How long the database's time is reckoned on from one answer: clocks drift by milliseconds meanwhile."""
SLEPT_S = 1.0
"""How far the machine's two clocks may part before the database is asked again: one stands still while it sleeps."""


class LeaseLost(Exception):
    """Someone else took the lease: the work must stop here, and nothing more may be written under it."""


class DatabaseTime:
    """The database's real time: asked for now and then, and reckoned on from its last answer in between."""

    def __init__(self, database: Database, role: str, query: str) -> None:
        self._database = database
        self._role = role
        self._query = query
        """Gives one row with one column: the time."""
        self._moment: datetime | None = None
        self._asked_at = 0.0
        self._asked_at_wall = 0.0

    async def now(self) -> datetime:
        """What the database's clock shows, within what clocks drift in ten minutes."""
        now, wall = asyncio.get_running_loop().time(), time.time()
        passed = now - self._asked_at
        slept = abs(wall - self._asked_at_wall - passed) > SLEPT_S
        if self._moment is None or passed > MOMENT_KEPT_S or slept:
            rows = await self._database.fetch(self._role, self._query)
            self._moment, self._asked_at, self._asked_at_wall, passed = rows[0][0], now, wall, 0.0
        assert self._moment is not None
        return self._moment + timedelta(seconds=passed)


class Lease:
    """A named lease in one service's schema, as one holder sees it."""

    def __init__(
        self, database: Database, service: str, name: str, *, lease_s: float = LEASE_S, holder: str | None = None
    ) -> None:
        self.name = name
        self.holder = holder or new_hex()
        self.epoch = 0
        """The epoch under which it is held; 0 while it is not."""
        self.lease_s = lease_s
        self.renewed_at = 0.0
        """When it was last taken or renewed, by the event loop's clock."""
        self.lost = False
        """Whether a renewal found that somebody else has it."""
        self._service = service
        self._database = database
        self._role = role_of(service)
        self._queries = load_queries("kessai.foundation.events", schema=service)

    async def acquire(self) -> bool:
        """Take the lease when nobody has it or it has lapsed; True when it is now held, in a new epoch."""

        async def work(connection: Connection) -> int | None:
            moment = await connection.fetchval(self._queries["lease_moment"])
            until = moment + timedelta(seconds=self.lease_s)
            taken = await connection.fetchval(self._queries["lease_take"], self.name, self.holder, until, moment)
            return taken or await connection.fetchval(self._queries["lease_create"], self.name, self.holder, until)

        self.epoch = await self._database.transaction(self._role, work) or 0
        return self.epoch > 0

    async def renew(self) -> bool:
        """Prolong it; False when it was lost. A lapsed lease that nobody took is still ours."""

        async def work(connection: Connection) -> int | None:
            moment = await connection.fetchval(self._queries["lease_moment"])
            until = moment + timedelta(seconds=self.lease_s)
            return await connection.fetchval(self._queries["lease_renew"], self.name, self.holder, self.epoch, until)

        return await self._database.transaction(self._role, work) is not None

    async def renew_with_neighbours(self) -> bool:
        """As `renew`, by one statement with the other leases of the schema that this process keeps and that are due."""
        return await _renewals(self._database, self._service).renew_now(self)

    async def fence(self, connection: Connection) -> None:
        """Raise LeaseLost unless it is held; inside a transaction it then stays so until the commit."""
        row = await connection.fetchval(self._queries["lease_fence"], self.name, self.holder, self.epoch)
        if row is None:
            raise LeaseLost(self.name)

    async def release(self, *, drop: bool = False) -> None:
        """Let others have it at once. `drop` removes the row too, for names that are never used again."""

        async def work(connection: Connection) -> None:
            if drop:
                await connection.execute(self._queries["lease_drop"], self.name, self.holder, self.epoch)
                return
            moment = await connection.fetchval(self._queries["lease_moment"])
            await connection.execute(self._queries["lease_release"], self.name, self.holder, self.epoch, moment)

        if self.epoch:
            await self._database.transaction(self._role, work)
            self.epoch = 0

    async def keep(self) -> None:
        """Renew until the lease is lost, then raise LeaseLost; a database that is away for a while is waited for."""
        await _renewals(self._database, self._service).keep(self)


class _Renewals:
    """The leases of one schema that this process keeps: whoever's turn comes first renews its neighbours too."""

    def __init__(self, database: Database, service: str) -> None:
        self._database = database
        self._role = role_of(service)
        self._queries = load_queries("kessai.foundation.events", schema=service)
        self._kept: set[Lease] = set()
        self._turn = asyncio.Lock()
        self._time = DatabaseTime(database, self._role, self._queries["lease_moment"])

    async def keep(self, lease: Lease) -> None:
        """As Lease.keep."""
        loop, step_s = asyncio.get_running_loop(), lease.lease_s / RENEWALS_PER_LEASE
        lease.renewed_at, lease.lost = loop.time(), False
        self._kept.add(lease)
        try:
            while not lease.lost:
                await asyncio.sleep(max(0.0, lease.renewed_at + step_s - loop.time()))
                try:
                    await self._renew(lease)
                except (Unavailable, Unknown):
                    await asyncio.sleep(step_s / RETRY_PART)
            raise LeaseLost(lease.name)
        finally:
            self._kept.discard(lease)

    async def _renew(self, lease: Lease) -> None:
        """Renew the lease, unless a neighbour has just done so, and with it all that have come half of their way."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            now = loop.time()
            if not lease.lost and now >= lease.renewed_at + lease.lease_s / RENEWALS_PER_LEASE:
                await self._renew_all(now, self._due(now))

    async def renew_now(self, lease: Lease) -> bool:
        """Renew a lease that its holder looks after, and whatever kept ones have come half of their way."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            await self._renew_all(now, [lease, *(each for each in self._due(now) if each is not lease)])
        return not lease.lost

    def _due(self, now: float) -> list[Lease]:
        return [each for each in self._kept if now >= each.renewed_at + each.lease_s / RENEWALS_PER_LEASE / 2]

    async def _renew_all(self, now: float, due: list[Lease]) -> None:
        moment = await self._time.now()
        rows = await self._database.fetch(
            self._role,
            self._queries["lease_renew_all"],
            [each.name for each in due],
            [each.holder for each in due],
            [each.epoch for each in due],
            [moment + timedelta(seconds=each.lease_s) for each in due],
        )
        held = {(row["name"], row["holder"]) for row in rows}
        for each in due:
            each.renewed_at, each.lost = now, (each.name, each.holder) not in held


_kept: WeakKeyDictionary[Database, dict[str, _Renewals]] = WeakKeyDictionary()


def _renewals(database: Database, service: str) -> _Renewals:
    of_database = _kept.setdefault(database, {})
    if service not in of_database:
        of_database[service] = _Renewals(database, service)
    return of_database[service]


async def hold(lease: Lease, work: Callable[[], Awaitable[None]]) -> None:
    """For ever: wait for the lease, do `work` while it is held, stop it when it is lost, wait again.

    Ends when cancelled, and releases the lease then; also when `work` ends or raises.
    """
    while True:
        try:
            held = await lease.acquire()
        except (Unavailable, Unknown):
            held = False
        if not held:
            await asyncio.sleep(lease.lease_s / 2)
        elif await _work_while_held(lease, work):
            return


async def _work_while_held(lease: Lease, work: Callable[[], Awaitable[None]]) -> bool:
    """True when the work came to its own end, False when the lease was lost first."""
    working = asyncio.ensure_future(work())
    keeping = asyncio.create_task(lease.keep())
    try:
        await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
            return True
        return False
    finally:
        for task in (working, keeping):
            task.cancel()
        await asyncio.gather(working, keeping, return_exceptions=True)
        await _release_quietly(lease)


async def _release_quietly(lease: Lease) -> None:
    try:
        await lease.release()
    except (Unavailable, Unknown):
        return  # it lapses by itself
