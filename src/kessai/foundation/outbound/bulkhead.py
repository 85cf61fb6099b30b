"""A bulkhead: so many slots for one destination, and a short, bounded queue before them."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class BulkheadFull(Exception):
    """No slot came free in time, or too many were waiting already."""


class Bulkhead:
    """Slots of one destination; enter with `async with`."""

    def __init__(self, *, slots: int, waiting_max: int, waiting_s: float) -> None:
        self.taken = 0
        """Slots in use."""
        self._slots = slots
        self._waiting_max = waiting_max
        self._waiting_s = waiting_s
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self.taken < self._slots and not self._waiters:
            self.taken += 1
            return
        if len(self._waiters) >= self._waiting_max:
            raise BulkheadFull
        await self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self._waiting_s):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                self._leave()  # the slot was handed over at the same moment
            elif waiter in self._waiters:
                self._waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                raise BulkheadFull from None
            raise

    def _leave(self) -> None:
        """Hand the slot to whoever waits longest, else free it."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1
