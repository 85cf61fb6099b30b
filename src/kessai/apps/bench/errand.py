"""The workflow of `bench workflow`: four activities that do next to nothing, each with a compensation."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from kessai.foundation.contract import Message
from kessai.sdk.workflow import Activity, Workflow, define

STEPS = 4
RESULT = sum(range(1, STEPS + 1))
HALF_WAY = 2
"""The step before which a run waits, where it is told to."""


class Errand(Message):
    """One run."""

    number: int


@dataclass(slots=True)
class Deps:
    """What activities do, counted; with `gate`, runs wait in their middle until it is set."""

    attempts: Counter[int] = field(default_factory=Counter[int])
    """Attempts of each step."""
    undone: int = 0
    gate: asyncio.Event | None = None


async def step(activity: Activity[Deps], number: int) -> int:
    """Count the attempt; gives the number back."""
    if activity.deps.gate is not None and number > HALF_WAY:
        await activity.deps.gate.wait()
    activity.deps.attempts[number] += 1
    return number


async def undo(activity: Activity[Deps], _: int) -> None:
    """Count that a step was undone: in a measurement none ever is."""
    activity.deps.undone += 1


@define("bench.errand")
async def errand(wf: Workflow[Deps], _: Errand) -> int:
    """Four steps, one after the other, each journalled before the next begins and undone if a later one fails."""
    return sum([await wf.activity(step, number, compensate=undo) for number in range(1, STEPS + 1)])
