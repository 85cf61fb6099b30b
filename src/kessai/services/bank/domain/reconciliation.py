"""Our instructions beside the bank's statement (照合): each side's entries must be the other's, to the yen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Who has an entry that the other has not, or not alike."""

    OURS = "ours"
    THEIRS = "theirs"
    BOTH = "both"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """What one instruction did to the platform's own account at the bank; outgoing money is negative."""

    instruction_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Difference:
    """An instruction on which the two sides do not agree; 0 where one has nothing."""

    instruction_id: str
    side: Side
    ours_minor: int
    theirs_minor: int


def compare(ours: Iterable[Entry], theirs: Iterable[Entry]) -> list[Difference]:
    """Where the sums by instruction differ, in order of their ids; one that came to nothing may be absent."""
    mine, other = _sums(ours), _sums(theirs)
    found: list[Difference] = []
    for instruction_id in sorted(mine.keys() | other.keys()):
        here, there = mine.get(instruction_id, 0), other.get(instruction_id, 0)
        if here != there:
            side = Side.OURS if not there else Side.THEIRS if not here else Side.BOTH
            found.append(Difference(instruction_id, side, here, there))
    return found


def _sums(entries: Iterable[Entry]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.instruction_id] = sums.get(entry.instruction_id, 0) + entry.amount_minor
    return sums
