"""The lease under which an executor owns its runs."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta

from kessai.foundation.lease import MOMENT_KEPT_S, SLEPT_S, Lease


class ExecutorLease(Lease):
    """A lease that is renewed with its neighbours: the database's time is reckoned on from when it was last asked."""

    _asked_at_wall = 0.0

    async def acquire(self) -> bool:
        """Take it, as Lease does."""
        await self._ask_moment()
        return await super().acquire()

    async def renew(self) -> bool:
        """Prolong it; False when it was lost."""
        passed = asyncio.get_running_loop().time() - self._asked_at
        slept = abs(time.time() - self._asked_at_wall - passed) > SLEPT_S  # the machine: one of its clocks stood still
        if slept or passed > MOMENT_KEPT_S:
            await self._ask_moment()
        return await self.renew_with_neighbours()

    def moment(self) -> datetime:
        """The database's time, within what clocks drift in ten minutes."""
        return self._moment + timedelta(seconds=asyncio.get_running_loop().time() - self._asked_at)

    async def _ask_moment(self) -> None:
        self._asked_at, self._asked_at_wall = asyncio.get_running_loop().time(), time.time()
        rows = await self._database.fetch(self._role, self._queries["lease_moment"])
        self._moment: datetime = rows[0]["moment"]
