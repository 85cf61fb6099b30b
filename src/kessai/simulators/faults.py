"""How a simulator is made to misbehave: faults that are programmed, each for so many of the requests that match."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

FAULTS_MAX = 10_000
ANY = "*"


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a request: when it takes effect, if at all, and what the caller hears of it."""

    verb: str = ANY
    """Which verb it meets; `*` is any."""
    about: str | None = None
    """The id that the request is about; None is any."""
    times: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many requests it meets; 0 is all, until the faults are cleared."""
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    """Before it takes effect; a caller who has gone away by then does not stop it."""
    refuse: str | None = None
    """Refuse with this code, and keep that in the books."""
    effect: bool = True
    """False: nothing happens, whatever the reply says."""
    reply_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=3_600_000)] = 0
    """After it took effect."""
    reply: Literal["normal", "drop", "twice", "garbage", "fail"] = "normal"
    """`drop` cuts the line; `twice` answers two times; `garbage` cannot be read; `fail` is a 5xx."""
    undone: bool = False
    """After it took effect the books lose it, whatever was told: a hold that was let go of stands again (cards)."""
    status: Annotated[int, msgspec.Meta(ge=500, le=599)] = 503
    """Of `fail`."""


HANG_MS = 600_000
PRESETS: dict[str, Fault] = {
    "delay": Fault(delay_ms=300),
    "hang": Fault(delay_ms=HANG_MS, effect=False),
    "slow_reply": Fault(reply_delay_ms=HANG_MS),
    "drop_before": Fault(effect=False, reply="drop"),
    "drop_after": Fault(reply="drop"),
    "twice": Fault(reply="twice"),
    "garbage_before": Fault(effect=False, reply="garbage"),
    "garbage_after": Fault(reply="garbage"),
    "fail_before": Fault(effect=False, reply="fail"),
    "undone": Fault(undone=True),
    "fail_after": Fault(reply="fail", status=500),
}
"""Faults by name, each for one request; `msgspec.structs.replace` makes them particular."""


class Faults:
    """What is programmed, in order; the first that matches is taken."""

    def __init__(self) -> None:
        self.down = False
        """Every line is cut at once, whatever is asked."""
        self._programmed: list[Fault] = []

    def program(self, fault: Fault) -> None:
        """From now on; raises ValueError when there are too many."""
        if len(self._programmed) >= FAULTS_MAX:
            raise ValueError("too many faults")
        self._programmed.append(fault)

    def clear(self) -> None:
        """Behave again, and be up."""
        self._programmed.clear()
        self.down = False

    def take(self, verb: str, about: str, *, named: bool = False) -> Fault | None:
        """The fault that this request meets, and one time less of it; `named`: only one that names the verb."""
        verbs = (verb,) if named else (ANY, verb)
        for index, fault in enumerate(self._programmed):
            if fault.verb in verbs and fault.about in (None, about):
                if fault.times == 1:
                    del self._programmed[index]
                elif fault.times > 1:
                    self._programmed[index] = msgspec.structs.replace(fault, times=fault.times - 1)
                return fault
        return None
