"""For tests of workflows: time that skips, and a crash at every boundary of the journal, enumerated or drawn by a seed.

clock = SkippingClock()
engine = Engine(database, service="shop", deps=deps, clock=clock)      # sleeps take no time

async for outcome in crashes_everywhere(open_engine, scenario):        # before and after each flush
    assert outcome.result == expected, outcome
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from kessai.foundation.clock import SandboxClock
from kessai.foundation.ids import new_hex
from kessai.sdk.workflow.engine import Engine
from kessai.sdk.workflow.journal import FlushHook

R = TypeVar("R")

When: TypeAlias = Literal["before", "after"]
GRACE_S = 10.0
"""How long an executor may take to end by itself; a slow machine is not to look like a crash that did not happen."""
STORIES_MAX = 5
"""How often a story is told again that did not come to its boundary: on a slow machine two flushes may become one."""
CRASHES_MAX = 200
"""A story of more boundaries than this is cut off, with an assertion."""


class SkippingClock(SandboxClock):
    """A clock that stands still, and jumps to the next timer when every workflow merely waits."""

    def __init__(self, at: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        super().__init__()
        self.restore(self.offset, at)

    def skip_to(self, at: datetime) -> None:
        """Let it be that time; never back."""
        self.restore(self.offset, max(at, self.now()))


class CrashAt:
    """An Engine's `hook`: the executor dies just before, or just after, its n-th flush is committed.

    Negative numbers are the transactions of activities called with `tx=True`.
    """

    def __init__(self, flush: int, when: When) -> None:
        self.flush = flush
        self.when = when
        self.crashed = False
        self.flushes = 0
        """Flushes begun so far: run once without a crash to learn how many boundaries there are."""
        self.transactions = 0

    def __call__(self, when: When, number: int) -> bool:
        self.flushes = max(self.flushes, number)
        self.transactions = max(self.transactions, -number)
        self.crashed |= (when, number) == (self.when, self.flush)
        return self.crashed


@dataclass(frozen=True, slots=True)
class CrashOutcome(Generic[R]):
    """What a story came to when executors died on the way."""

    crashes: tuple[tuple[int, When], ...]
    """Where each executor, one after the other, was to die."""
    happened: int
    """How many did."""
    result: R


OpenEngine: TypeAlias = "Callable[[FlushHook | None], Awaitable[Engine[Any]]]"
"""Opens an executor, on the same database each time, with a short lease and the hook."""
Scenario: TypeAlias = "Callable[[Engine[Any], str], Awaitable[R]]"
"""Starts a workflow under an id made of the second argument, or finds it, and gives what it came to: as a client that
asks again after a crash does."""


async def crash_story(
    open_engine: OpenEngine, scenario: Scenario[R], name: str, crashes: Sequence[tuple[int, When]]
) -> CrashOutcome[R]:
    """Play a story whose executors die, one after the other, at the given boundaries; the last one lives."""
    happened = 0
    for flush, when in crashes:
        hook = CrashAt(flush, when)
        told = await _until_dead(await open_engine(hook), hook, scenario, name)
        if not hook.crashed:
            return CrashOutcome(tuple(crashes), happened, *told)
        happened += 1
    survivor = await open_engine(None)
    try:
        return CrashOutcome(tuple(crashes), happened, await scenario(survivor, name))
    finally:
        await survivor.close(grace_s=1)


async def _until_dead(doomed: Engine[Any], hook: CrashAt, scenario: Scenario[R], name: str) -> list[R]:
    """What a story came to, if it came to something, when its executor has ended, in the crash or by itself.

    A story can read its end in the database before the executor has heard that its last flush is committed: whether it
    crashed there is known only once it has ended.
    """
    told: list[R] = []
    try:
        told.append(await scenario(doomed, name))
    except Exception:
        if not hook.crashed:
            raise
    finally:
        await (doomed.crash() if hook.crashed else doomed.close(grace_s=GRACE_S))
    return told


async def boundaries_of(open_engine: OpenEngine, scenario: Scenario[R]) -> tuple[R, list[tuple[int, When]]]:
    """Play a story undisturbed: what it came to, and every boundary at which its executor can die."""
    watch = CrashAt(0, "before")
    engine = await open_engine(watch)
    try:
        result = await scenario(engine, f"whole-{new_hex()}")
    finally:
        await engine.close(grace_s=GRACE_S)
    flushes = [*range(1, watch.flushes + 1), *range(-watch.transactions, 0)]
    assert len(flushes) <= CRASHES_MAX, "the story has more boundaries than CRASHES_MAX"
    whens: tuple[When, When] = ("before", "after")
    return result, [(flush, when) for flush in flushes for when in whens]


async def crashes_everywhere(open_engine: OpenEngine, scenario: Scenario[R]) -> AsyncIterator[CrashOutcome[R]]:
    """Every crash there can be, each in a story of its own; each boundary was reached, or it is an error."""
    _, boundaries = await boundaries_of(open_engine, scenario)
    for number, boundary in enumerate(boundaries):
        yield await _crashed_there(open_engine, scenario, f"crash{number}", boundary)


async def _crashed_there(
    open_engine: OpenEngine, scenario: Scenario[R], name: str, boundary: tuple[int, When]
) -> CrashOutcome[R]:
    """A story whose executor did die at that boundary.

    What is journalled while a flush is under way goes with the next one, so that a story can have fewer flushes than
    the one that was counted; it is told again then, under another name.
    """
    for told in range(STORIES_MAX):
        outcome = await crash_story(open_engine, scenario, f"{name}-{told}" if told else name, [boundary])
        if outcome.happened == 1:
            return outcome
    raise AssertionError(f"no crash {boundary[1]} {boundary[0]}: the story is not the same each time")


async def crashes_by_seed(
    open_engine: OpenEngine, scenario: Scenario[R], *, seed: int, stories: int, crashes_max: int = 3
) -> AsyncIterator[CrashOutcome[R]]:
    """Stories in which several executors die in a row, also while they recover; the same for the same seed."""
    _, boundaries = await boundaries_of(open_engine, scenario)
    draw = random.Random(seed)  # noqa: S311  (tests are to be repeatable)
    for number in range(stories):
        crashes = [draw.choice(boundaries) for _ in range(draw.randint(1, crashes_max))]
        yield await crash_story(open_engine, scenario, f"seed{seed}-{number}", crashes)
