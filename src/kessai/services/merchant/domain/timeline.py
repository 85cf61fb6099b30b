"""What holds when: entries with an instant each, of which the latest one that has begun holds.

Of several that begin at the same instant, the one that came last. As nothing ever begins before it is recorded, what
held at an instant that is over never changes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Stretch(NamedTuple, Generic[T_co]):
    """From when on, until when (not included; None: for ever) something holds."""

    since: datetime
    until: datetime | None
    value: T_co

    def overlaps(self, other: Stretch[object]) -> bool:
        """Whether there is an instant at which both hold."""
        return before(self.since, other.until) and before(other.since, self.until)


class Timeline(Generic[T_co]):
    """Entries by instant; of equal ones the last given holds."""

    __slots__ = ("_instants", "_values")

    def __init__(self, entries: Iterable[tuple[datetime, T_co]]) -> None:
        """`entries` in the order in which they were recorded."""
        ordered = dict(sorted(entries, key=lambda entry: entry[0]))
        self._instants = list(ordered)
        self._values = list(ordered.values())

    def at(self, instant: datetime) -> T_co | None:
        """What holds at an instant; None before the first entry."""
        place = bisect_right(self._instants, instant)
        return self._values[place - 1] if place else None

    def since(self, instant: datetime) -> Iterator[T_co]:
        """What holds at an instant or later."""
        return iter(self._values[max(0, bisect_right(self._instants, instant) - 1) :])

    def stretches(self) -> list[Stretch[T_co]]:
        """Each value with its stretch, in order."""
        ends = [*self._instants[1:], None]
        return [Stretch(*each) for each in zip(self._instants, ends, self._values, strict=False)]

    def next_after(self, instant: datetime) -> datetime | None:
        """The instant of the first entry after one."""
        place = bisect_right(self._instants, instant)
        return self._instants[place] if place < len(self._instants) else None


def before(instant: datetime, end: datetime | None) -> bool:
    """Whether an instant lies before an end that may never come."""
    return end is None or instant < end
