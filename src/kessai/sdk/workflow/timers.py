"""Timers of sleeping workflows, in business time. They cost the database nothing: each is journalled when it is set."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any, Protocol, cast

from kessai.foundation.clock import Clock

CLOCK_LOOK_S = 0.25
"""A clock may be moved while a timer waits; it is looked at this often (in memory)."""
SKIP_LOOK_S = 0.002
REBUILT_FROM = 256
"""From so many timers on, those that are over are looked for whenever there are twice as many as were left."""


class SkippingTime(Protocol):
    """A test's clock: when nothing else is under way, it jumps to the next timer."""

    def skip_to(self, at: datetime) -> None:
        """Let it be that time now."""
        ...


class Timers:
    """Futures that are resolved when the clock has reached their time."""

    def __init__(self, clock: Clock, is_idle: Callable[[], bool]) -> None:
        self._clock = clock
        self._is_idle = is_idle
        self._skips = cast("SkippingTime", clock) if hasattr(clock, "skip_to") else None
        self._heap: list[tuple[datetime, int, asyncio.Future[Any]]] = []
        self._count = count()
        self._rebuilt_at = REBUILT_FROM
        self._wake = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None

    @property
    def next_at(self) -> datetime | None:
        """When the next one is due."""
        return self._heap[0][0] if self._heap else None

    def add(self, at: datetime, future: asyncio.Future[Any]) -> None:
        """Give `future` the result None once it is `at`."""
        if len(self._heap) >= self._rebuilt_at:
            self._rebuild()
        heapq.heappush(self._heap, (at, next(self._count), future))
        self._wake.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Forget them."""
        self._heap.clear()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def _run(self) -> None:
        idle_looks = 0
        while True:
            self._fire()
            if not self._heap:
                return
            self._wake.clear()
            idle_looks = idle_looks + 1 if self._skips is not None and self._is_idle() else 0
            if self._skips is not None and idle_looks > 3:
                self._skips.skip_to(self._heap[0][0])
                idle_looks = 0
                continue
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _rebuild(self) -> None:
        """Without what was answered before its time."""
        self._heap = [each for each in self._heap if not each[2].done()]
        heapq.heapify(self._heap)
        self._rebuilt_at = max(REBUILT_FROM, 2 * len(self._heap))

    def _fire(self) -> None:
        now = self._clock.now()
        while self._heap and (self._heap[0][2].done() or self._heap[0][0] <= now):
            _, _, future = heapq.heappop(self._heap)
            if not future.done():
                future.set_result(None)

    def _pause(self) -> float:
        if self._skips is not None:
            return SKIP_LOOK_S
        left_s = (self._heap[0][0] - self._clock.now()).total_seconds()
        return min(max(left_s, 0.0), CLOCK_LOOK_S)
