"""The number of each step, the same on every replay: its place in the function, or in the parallel branch it is in.

A branch is an asyncio task of the workflow (of `gather`, of a TaskGroup). Its first step takes the next number of the
branch that made it, 2 say; its further steps are 2.1, 2.2 and so on. So numbers do not depend on which branch is
faster, as long as tasks are made in the same order and each step suspends its task (which the engine sees to). A path
is kept in one number of 63 bits: 24 for the function itself, 13 for each of three storeys of branches.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from kessai.sdk.workflow.ending import Park

SHIFTS = (0, 24, 37, 50)
STEPS_MAX = (2**24 - 1, 2**13 - 1, 2**13 - 1, 2**13 - 1)
PLAIN_MAX = STEPS_MAX[0]
"""Numbers up to this are steps of the function itself, or the first of a branch of its own."""


class Branch:
    """One task of a run and how many steps it has made."""

    __slots__ = ("count", "depth", "fresh", "prefix", "task")

    def __init__(self, task: asyncio.Task[Any] | None, prefix: int, depth: int, *, fresh: bool) -> None:
        self.task = task
        self.prefix = prefix
        self.depth = depth
        self.count = 0
        self.fresh = fresh
        """Its next step was never tried: the run was not resumed, or this branch has come further since."""

    def next(self) -> int:
        """The number of its next step."""
        self.count += 1
        if self.depth >= len(SHIFTS):
            raise Park("parallel branches are nested too deep: move some of them into a child workflow")
        if self.count > STEPS_MAX[self.depth]:
            raise Park(f"more than {STEPS_MAX[self.depth]} steps: go on in a child workflow")
        return self.prefix | self.count << SHIFTS[self.depth]


_branch: ContextVar[Branch | None] = ContextVar("kessai_workflow_branch", default=None)


class Numbering:
    """Gives the steps of one run their numbers."""

    def __init__(self, *, resumed: bool) -> None:
        self.root = Branch(None, 0, 0, fresh=not resumed)
        self.branches: list[Branch] = []
        """Tasks besides the run's own."""
        self._patches = 0

    def enter(self) -> None:
        """The current task is the run's own from here on."""
        self._loop = asyncio.get_running_loop()
        self.root.task = asyncio.current_task(self._loop)
        _branch.set(self.root)

    def leave(self) -> None:
        """Let go of the tasks, which hold the run, which holds this: nothing is left to the garbage collector."""
        for branch in self.branches:
            if branch.task is not None:
                branch.task.cancel()
                branch.task = None
        self.root.task = None

    def next(self) -> int:
        """The number of the step that the current task now makes."""
        branch = _branch.get()
        assert branch is not None, "a workflow's steps are called from its own tasks"
        task = asyncio.current_task(self._loop)
        if branch.task is task:
            if branch is not self.root or branch.count >= PLAIN_MAX:
                return branch.next()
            branch.count += 1
            return branch.count
        number = branch.next()
        mine = Branch(task, number, branch.depth + 1, fresh=branch.fresh)
        self.branches.append(mine)
        _branch.set(mine)
        return number

    def current(self) -> Branch:
        """The branch of the current task; the function's own, where it has made no step yet."""
        return _branch.get() or self.root

    def next_patch(self) -> int:
        """A number for a mark of `patched`: apart from those of all steps, so that it shifts none of them."""
        self._patches += 1
        return self._patches << SHIFTS[1]


def is_patch(seq: int) -> bool:
    """Whether a number is that of a mark rather than of a step."""
    return seq & PLAIN_MAX == 0


def path_of(seq: int) -> tuple[int, ...]:
    """A number as its path: (2,), (2, 1) and so on."""
    parts = [
        seq & STEPS_MAX[0],
        *(seq >> shift & limit for shift, limit in zip(SHIFTS[1:], STEPS_MAX[1:], strict=True)),
    ]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def label_of(seq: int) -> str:
    """A number as people read it, and as it stands in keys: 2, or 2.1."""
    return str(seq) if seq <= PLAIN_MAX else ".".join(map(str, path_of(seq)))


def number_of(label: str) -> int:
    """The number that a label stands for; raises ValueError."""
    parts = [int(part) for part in label.split(".")]
    if not 0 < len(parts) <= len(SHIFTS):
        raise ValueError(label)
    return sum(part << shift for part, shift in zip(parts, SHIFTS, strict=False))
