"""How the line misbehaves: faults that are programmed, each for so many of the messages that match."""

from __future__ import annotations

from random import Random
from typing import Annotated, Final, Literal

import msgspec

FAULTS_MAX: Final = 10_000
_LETTER: Final = b"A"

Direction = Literal["request", "answer"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a message."""

    on: Direction = "request"
    do: Literal[
        "drop",
        "delay",
        "repeat",
        "reorder",
        "reversal_first",
        "half",
        "split",
        "garbage",
        "spoil",
        "disconnect",
    ]
    mti: str | None = None
    """The message's type; None is any but network messages."""
    card: str | None = None
    """Of a request: the card's reference; None is any."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many messages it meets; 0 is all, until the faults are cleared."""
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    chance: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    """Below 1, which share of what matches it meets."""

    def __post_init__(self) -> None:
        if self.on == "answer" and self.do not in ("drop", "delay"):
            raise ValueError("an answer can be dropped or delayed")


class WireFaults:
    """What is programmed, in order; the first that matches is taken."""

    def __init__(self) -> None:
        self._programmed: list[Fault] = []
        self._random = Random(0)  # noqa: S311 (faults are drawn, not secrets)

    def program(self, fault: Fault) -> None:
        """From now on; raises ValueError when there are too many."""
        if len(self._programmed) >= FAULTS_MAX:
            raise ValueError("too many faults")
        self._programmed.append(fault)

    def draw_from(self, seed: int) -> None:
        """Where `chance` draws from."""
        self._random = Random(seed)  # noqa: S311 (faults are drawn, not secrets)

    def clear(self) -> None:
        """Behave again."""
        self._programmed.clear()

    def take(self, on: Direction, mti: str, card: str) -> Fault | None:
        """The fault that this message meets, and one time less of it."""
        for index, fault in enumerate(self._programmed):
            if self._meets(fault, on, mti, card):
                if fault.times == 1:
                    del self._programmed[index]
                elif fault.times > 1:
                    self._programmed[index] = msgspec.structs.replace(fault, times=fault.times - 1)
                return fault
        return None

    def _meets(self, fault: Fault, on: Direction, mti: str, card: str) -> bool:
        if fault.on != on or fault.card not in (None, card):
            return False
        if fault.mti != mti and (fault.mti is not None or mti.startswith("08")):
            return False
        return fault.chance >= 1 or self._random.random() < fault.chance


def spoiled(data: bytes, fault: Fault) -> bytes:
    """Bytes in place of a message: noise, or the message with letters in its amount."""
    if fault.do == "garbage":
        return Random(data).randbytes(len(data))  # noqa: S311 (faults are drawn, not secrets)
    at = 4 + (16 if data[4] & 0x80 else 8)
    at += 2 + int(data[at : at + 2]) + 6 if data[4] & 0x40 else 6
    return data[:at] + _LETTER + data[at + 1 :]
