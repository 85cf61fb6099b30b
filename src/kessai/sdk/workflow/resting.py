"""Runs that wait for long leave memory: their row says when they are to be woken, and any executor wakes them.

A message wakes one at once: whoever sends it locks the row of the workflow and moves its time up. Whoever lets one rest
looks, after that, whether a message had come before; so none is missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from kessai.foundation.clock import Clock
from kessai.sdk.workflow.run import Workflow
from kessai.sdk.workflow.store import Store

REST_AFTER_S = 60.0
"""A run that has waited so long, and will for as long again, leaves memory."""


class Resting:
    """What one executor lets rest, and when something is to be woken."""

    def __init__(self, store: Store, clock: Clock, after_s: float) -> None:
        self._store = store
        self._clock = clock
        self._after_s = after_s
        self._skips = hasattr(clock, "skip_to")  # a test's clock jumps to timers, which are those in memory
        self._left: dict[str, datetime] = {}
        """Out of memory; that their rows say so is not certain yet."""
        self._missed: set[str] = set()
        """Their messages came when they had just left."""
        self.wakes_at: datetime | None = None
        """When the next of all that rest is due, as far as it is known here; business time."""

    @property
    def leaving(self) -> Collection[str]:
        """Ids that are out of memory, whose rows may not say so yet."""
        return self._left.keys()

    def forget(self) -> None:
        """Another executor has them now."""
        self._left.clear()
        self.wakes_at = None

    def missed(self, workflow_id: str) -> None:
        """A message for it was marked as seen, and there was nobody to hand it to: it has ended, or rests."""
        self._missed.add(workflow_id)

    def due_in_s(self) -> float | None:
        """Seconds until something is to be woken; None when nothing is known to rest."""
        return None if self.wakes_at is None else max(0.0, (self.wakes_at - self._clock.now()).total_seconds())

    async def let_rest(
        self, runs: Iterable[Workflow[Any]], tasks: Mapping[Workflow[Any], asyncio.Task[None]], holder: str
    ) -> int:
        """Let those leave that wait for long; gives how many rest now. What fails is made good at the next call."""
        if not self._skips:
            await self._leave(runs, tasks)
        count = await self._rested(holder) if self._left else 0
        if missed := set(self._missed):
            await self._store.wake_addressed(list(missed), self._clock.now())
            self._missed -= missed
            self.wakes_at = self._clock.now()
        return count

    async def _rested(self, holder: str) -> int:
        await self._store.rest(holder, self._left, self._clock.now())
        count, due = len(self._left), [*self._left.values(), *([self.wakes_at] if self.wakes_at else [])]
        self._left, self.wakes_at = {}, min(due)
        return count

    async def _leave(self, runs: Iterable[Workflow[Any]], tasks: Mapping[Workflow[Any], asyncio.Task[None]]) -> None:
        now, leaving = self._clock.now(), list[asyncio.Task[None]]()
        for run in list(runs):
            if (due := run.rests_until(now, self._after_s)) is not None and run in tasks:
                self._left[run.workflow_id] = due
                run.leave()
                tasks[run].cancel()
                leaving.append(tasks[run])
        await asyncio.gather(*leaving, return_exceptions=True)
