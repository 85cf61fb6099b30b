"""Implements the sandbox's door over a SandboxClock that all services of this process read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import structlog

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, Unavailable, Unknown
from kessai.services.sandbox import store
from kessai.services.sandbox.api import AdvanceClock, ClockState, FreezeClock, GetClock, JobDone, ThawClock

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""How soon a process notices that another one moved the clock; one that is alone does not look."""
YEAR_MAX = 2200

DueJobs = Callable[[], Awaitable[list[JobDone]]]
IsBehind = Callable[[], Awaitable[bool]]


class SandboxService:
    """One in each process; `due_jobs` runs what falls due once time has moved, and may leave some of it for later:
    then `is_behind` is true."""

    def __init__(
        self, database: Database, clock: SandboxClock, *, due_jobs: DueJobs, is_behind: IsBehind, alone: bool = True
    ) -> None:
        self._database = database
        self._clock = clock
        self._due_jobs = due_jobs
        self._is_behind = is_behind
        self._alone = alone
        self._version = 0
        self._following: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up the stored time, and follow what other processes, if there may be any, do to it."""
        await self._follow_once()
        if not self._alone:
            self._following = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def get_clock(self, request: GetClock, /) -> ClockState:
        """What the clock shows."""
        del request
        await self._follow_once()
        return await self._state([])

    async def freeze_clock(self, request: FreezeClock, /) -> ClockState:
        """Stop the clock."""
        del request
        await self._move(SandboxClock.freeze)
        return await self._state([])

    async def thaw_clock(self, request: ThawClock, /) -> ClockState:
        """Let the clock run on."""
        del request
        await self._move(SandboxClock.thaw)
        return await self._state([])

    async def advance_clock(self, request: AdvanceClock, /) -> ClockState:
        """Move the clock forward and run what falls due."""
        step = timedelta(seconds=request.seconds)
        await self._follow_once()
        if (self._clock.now() + step).year > YEAR_MAX:
            raise Invalid("clock_out_of_range", f"The clock does not go beyond the year {YEAR_MAX}.", field="$.seconds")
        await self._move(lambda clock: clock.advance(step))
        return await self._state(await self._due_jobs())

    async def _move(self, change: Callable[[SandboxClock], None]) -> None:
        """Change the stored clock, then ours; anew when another process changed it in between."""
        while True:
            stored = await store.load(self._database)
            moved = SandboxClock()
            moved.restore(stored.offset, stored.frozen_at)
            change(moved)
            frozen_at = moved.now() if moved.frozen else None
            if await store.replace(self._database, replace(stored, offset=moved.offset, frozen_at=frozen_at)):
                break
        await self._follow_once()
        if not self._alone:
            await asyncio.sleep(2 * POLL_S)  # by now every process shows the new time

    async def _follow_once(self) -> None:
        stored = await store.load(self._database)
        if stored.version > self._version:
            self._version = stored.version
            self._clock.restore(stored.offset, stored.frozen_at)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._follow_once()
            except (Unavailable, Unknown) as error:
                log.warning("sandbox_clock_waits", error=str(error))

    async def _state(self, jobs: list[JobDone]) -> ClockState:
        return ClockState(
            now=self._clock.now(),
            frozen=self._clock.frozen,
            offset_seconds=round(self._clock.offset.total_seconds()),
            jobs=jobs,
            caught_up=not await self._is_behind(),
        )
