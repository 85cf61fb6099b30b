"""What can go wrong with a call outside: the simulators' faults, alone and together, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from kessai.simulators.bank import Fate
from kessai.simulators.faults import ANY, PRESETS, Fault

CALL_MS = 150
"""How long one call outside may take here."""
LATE_MS = 2 * CALL_MS


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Faults that a call meets; those for any verb are made the call's own."""

    name: str
    faults: tuple[Fault, ...] = ()
    down_ms: int = 0
    """So long every line is cut, from the call on."""
    away_ms: int = 0
    """So long nobody listens, from the call on."""
    fate: Fate | None = None
    """What becomes of a bank's order after it was taken."""
    refuses: bool = False
    """Nothing is done outside, for good."""
    card: bool = True
    bank: bool = True
    """Whether a card gateway, or a bank, can be in such trouble."""

    def of(self, verb: str) -> tuple[Fault, ...]:
        """The faults to be programmed for a call."""
        return tuple(replace(each, verb=verb) if each.verb == ANY else each for each in self.faults)


LOST = PRESETS["drop_after"]
INQUIRIES: Mapping[str, Fault] = {
    "hang": Fault(delay_ms=LATE_MS, effect=False, times=2),
    "drop": replace(PRESETS["drop_before"], times=3),
    "garbage": replace(PRESETS["garbage_after"], times=3),
    "fail": replace(PRESETS["fail_before"], times=3),
    "twice": replace(PRESETS["twice"], times=3),
    "delay": Fault(delay_ms=CALL_MS // 3),
}

_ALL = (
    Trouble(name="none"),
    Trouble(name="refuse", faults=(Fault(refuse="limit_exceeded"),), refuses=True),
    Trouble(name="refuse_dropped", faults=(Fault(refuse="limit_exceeded", reply="drop"),), refuses=True),
    Trouble(name="refuse_garbage", faults=(Fault(refuse="limit_exceeded", reply="garbage"),), refuses=True),
    Trouble(name="delay", faults=(Fault(delay_ms=CALL_MS // 3),)),
    Trouble(name="late_effect", faults=(Fault(delay_ms=LATE_MS),)),
    Trouble(name="hang", faults=(Fault(delay_ms=LATE_MS, effect=False),)),
    Trouble(name="slow_reply", faults=(Fault(reply_delay_ms=LATE_MS),)),
    Trouble(name="drop_before", faults=(PRESETS["drop_before"],)),
    Trouble(name="drop_after", faults=(LOST,)),
    Trouble(name="lost_thrice", faults=(replace(PRESETS["drop_before"], times=3),)),
    Trouble(name="dropped_thrice", faults=(replace(LOST, times=3),)),
    Trouble(name="twice", faults=(PRESETS["twice"],)),
    Trouble(name="garbage_before", faults=(PRESETS["garbage_before"],)),
    Trouble(name="garbage_after", faults=(PRESETS["garbage_after"],)),
    Trouble(name="fail_before", faults=(PRESETS["fail_before"],)),
    Trouble(name="fail_after", faults=(PRESETS["fail_after"],)),
    Trouble(name="down", down_ms=80),
    Trouble(name="away", away_ms=60),
    *(
        Trouble(name=f"inquiry_{name}", faults=(LOST, replace(fault, verb="inquire")))
        for name, fault in INQUIRIES.items()
    ),
    *(
        Trouble(name=f"results_{name}", faults=(replace(fault, verb="results"),), card=False)
        for name, fault in INQUIRIES.items()
    ),
    Trouble(name="fails", fate=Fate(state="failed", code="other"), refuses=True, card=False),
    Trouble(name="comes_back", fate=Fate(state="returned", code="account_closed", return_after_s=0), card=False),
)
TROUBLES: Mapping[str, Trouble] = {each.name: each for each in _ALL}
"""Every one by its name."""
CALM = TROUBLES["none"]
