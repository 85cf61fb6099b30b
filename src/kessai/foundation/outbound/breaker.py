"""A circuit breaker: a destination that fails is left alone for a while, then asked by one call."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """CLOSED: calls pass. OPEN: none does. HALF_OPEN: one is trying."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens after so many failures among the last calls; `now` is monotonic time in seconds."""

    def __init__(
        self, *, window: int, failures: int, open_s: float, open_s_max: float, now: Callable[[], float]
    ) -> None:
        self.state = BreakerState.CLOSED
        self.opened = 0
        self._failures_max = failures
        self._open_s = open_s
        self._open_s_max = open_s_max
        self._now = now
        self._recent: deque[bool] = deque(maxlen=window)
        self._failures = 0
        self._trials_failed = 0
        self._closed_again_at = 0.0

    @property
    def admits(self) -> bool:
        """Whether a call would pass just now."""
        return self.state is BreakerState.CLOSED or (
            self.state is BreakerState.OPEN and self._now() >= self._closed_again_at
        )

    def enter(self) -> bool:
        """Take part; False when the circuit is open. Whoever entered tells the end by `succeeded` or `failed`."""
        if not self.admits:
            return False
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
        return True

    def succeeded(self) -> None:
        """The destination answered, whatever it said."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.CLOSED
            self._trials_failed = 0
            self._forget()
        self._note(failed=False)

    def failed(self) -> None:
        """The destination did not answer, or not in time."""
        self._note(failed=True)
        if self.state is BreakerState.HALF_OPEN:
            self._trials_failed += 1
            self._open()
        elif self.state is BreakerState.CLOSED and self._failures >= self._failures_max:
            self._open()

    def gave_up(self) -> None:
        """The caller went away before there was an outcome: a trial is open again, nothing is counted."""
        if self.state is BreakerState.HALF_OPEN:
            self.state = BreakerState.OPEN

    def _note(self, *, failed: bool) -> None:
        if len(self._recent) == self._recent.maxlen:
            self._failures -= self._recent[0]
        self._recent.append(failed)
        self._failures += failed

    def _forget(self) -> None:
        self._recent.clear()
        self._failures = 0

    def _open(self) -> None:
        self.state = BreakerState.OPEN
        self.opened += 1
        self._forget()
        pause_s = min(self._open_s_max, self._open_s * 2 ** min(self._trials_failed, 16))
        self._closed_again_at = self._now() + pause_s * (0.75 + random.random() / 2)  # noqa: S311
