"""Time comes from here: aware UTC, injected, and in the sandbox movable forward.

Business code takes a Clock; leases, retries and network timeouts stay on real time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

TOKYO = ZoneInfo("Asia/Tokyo")


class Clock(Protocol):
    """Where business time comes from."""

    def now(self) -> datetime:
        """The present instant, aware and in UTC."""
        ...


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SandboxClock:
    """Real time plus a stored offset, or a frozen instant; it only ever moves forward."""

    def __init__(self) -> None:
        self._offset = timedelta(0)
        self._frozen_at: datetime | None = None

    def now(self) -> datetime:
        return self._frozen_at or datetime.now(UTC) + self._offset

    @property
    def frozen(self) -> bool:
        return self._frozen_at is not None

    @property
    def offset(self) -> timedelta:
        return self._offset

    def freeze(self) -> None:
        """Stop time at the present instant."""
        self._frozen_at = self.now()

    def thaw(self) -> None:
        """Let time run on from the frozen instant."""
        if self._frozen_at is not None:
            self._offset, self._frozen_at = self._frozen_at - datetime.now(UTC), None

    def advance(self, by: timedelta) -> None:
        """Move forward; raises ValueError for a negative step."""
        if by < timedelta(0):
            raise ValueError("time only moves forward")
        if self._frozen_at is not None:
            self._frozen_at += by
        else:
            self._offset += by

    def restore(self, offset: timedelta, frozen_at: datetime | None) -> None:
        """Take up the stored offset or frozen instant of an earlier run."""
        self._offset, self._frozen_at = offset, frozen_at


def business_date(at: datetime, zone: ZoneInfo = TOKYO) -> date:
    """The calendar day of an instant in a named zone."""
    return at.astimezone(zone).date()
