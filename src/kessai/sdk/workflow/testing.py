"""For tests of workflows: crash the executor at a chosen journal boundary."""

from __future__ import annotations

from typing import Literal


class CrashAt:
    """An Engine's `hook`: the executor dies just before, or just after, its n-th flush is committed."""

    def __init__(self, flush: int, when: Literal["before", "after"]) -> None:
        self.flush = flush
        self.when = when
        self.crashed = False
        self.flushes = 0
        """Flushes begun so far: run once without a crash to learn how many boundaries there are."""

    def __call__(self, when: Literal["before", "after"], number: int) -> bool:
        self.flushes = max(self.flushes, number)
        self.crashed |= (when, number) == (self.when, self.flush)
        return self.crashed
