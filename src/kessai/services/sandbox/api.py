"""The sandbox's door: look at the clock, stop it, let it run, move it forward."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, verb

SECONDS_MAX = 10 * 366 * 24 * 3600
"""One step goes ten years at most."""


class GetClock(Message, frozen=True):
    """The sandbox's clock."""


class FreezeClock(Message, frozen=True):
    """Stop time at the present instant."""


class ThawClock(Message, frozen=True):
    """Let time run on from where it stands."""


class AdvanceClock(Message, frozen=True):
    """Move time forward. Not repeatable by an idempotency key: each request moves it."""

    seconds: Annotated[int, msgspec.Meta(ge=1, le=SECONDS_MAX)]


class JobDone(Message, frozen=True):
    """A batch that ran because time moved, and how much it did."""

    name: str
    done: int


class ClockState(Message, frozen=True):
    """What the clock shows; `jobs` are those that ran before this answer."""

    now: datetime
    frozen: bool
    offset_seconds: int
    jobs: list[JobDone]
    caught_up: bool = True
    """False: what fell due is still being run; a move answers after some ten seconds all the same."""


class Sandbox(Protocol):
    """サンドボックス時計: business time under the caller's hand."""

    @verb("GET /v1/sandbox/clock", scope="operations:read")
    async def get_clock(self, request: GetClock, /) -> ClockState:
        """What the clock shows."""
        ...

    @verb("POST /v1/sandbox/clock/freeze", scope="sandbox:write")
    async def freeze_clock(self, request: FreezeClock, /) -> ClockState:
        """Stop the clock; stopping it twice changes nothing."""
        ...

    @verb("POST /v1/sandbox/clock/thaw", scope="sandbox:write")
    async def thaw_clock(self, request: ThawClock, /) -> ClockState:
        """Let the clock run on from the instant at which it stands."""
        ...

    @verb("POST /v1/sandbox/clock/advance", scope="sandbox:write", errors=("clock_out_of_range",))
    async def advance_clock(self, request: AdvanceClock, /) -> ClockState:
        """Move the clock forward; the jobs that fall due have run when this answers, unless `caught_up` is false."""
        ...
