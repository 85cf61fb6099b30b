"""Heartbeats of long activities: a silent attempt is cut off and made again, from where the last one told it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from kessai.sdk.workflow.outcome import encode

T = TypeVar("T")

PROGRESS_WRITE_S = 2.0
"""How often progress is written to the database at most, per activity."""


class Pulse:
    """The heartbeat of one activity over all its attempts in this process."""

    def __init__(
        self, heartbeat_s: float, known: bytes | None, save: Callable[[bytes], None], cancelling: Callable[[], bool]
    ) -> None:
        self.heartbeat_s = heartbeat_s
        self._cancelling = cancelling
        self.limit: asyncio.Timeout | None = None
        """What cuts off the attempt now under way."""
        self._known = known
        self._save = save
        self._saved_at: float | None = None

    def beat(self, progress: object) -> None:
        """Put off the cut, and keep what was told."""
        now = asyncio.get_running_loop().time()
        if self.limit is not None and not self.limit.expired():
            self.limit.reschedule(now + self.heartbeat_s)
        if progress is None:
            return
        self._known = encode(progress)
        if self._saved_at is None or now - self._saved_at >= PROGRESS_WRITE_S:
            self._saved_at = now
            self._save(self._known)

    def cancelling(self) -> bool:
        """Whether the workflow was asked to stop."""
        return self._cancelling()

    def progress(self, kind: type[T]) -> T | None:
        """What was told last, as `kind`."""
        return None if self._known is None else msgspec.json.decode(self._known, type=kind)
