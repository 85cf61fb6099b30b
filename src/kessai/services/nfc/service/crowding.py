"""Whether this process keeps up with the taps that come.

Where the oldest that is being answered has had a good part of its window already, those behind it would have less. They
are told 91 at once, before anything is journalled or held: to undo what came too late is more work than to do it, and a
server that does both answers nobody.
"""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

FEW = 32
"""So many at once are no crowd, however slow they are."""
PATIENCE = 0.5
"""How much of its window the oldest may have had."""


class Crowding:
    """Taps that are being answered, oldest first, by when their window ends (of the loop's time)."""

    def __init__(self, window_s: float) -> None:
        self._ends: dict[object, float] = {}
        self._left_s = window_s * (1.0 - PATIENCE)
        self._crowded = False

    def enter(self, tap: object, until: float) -> None:
        """It is being answered."""
        self._ends[tap] = until

    def leave(self, tap: object) -> None:
        """It was answered."""
        self._ends.pop(tap, None)

    def is_crowded(self, now: float) -> bool:
        """Whether another tap had better be told 91 at once."""
        crowded = len(self._ends) >= FEW and next(iter(self._ends.values())) - now < self._left_s
        if crowded is not self._crowded:
            self._crowded = crowded
            log.warning("id_crowded" if crowded else "id_keeps_up", taps=len(self._ends))
        return crowded
