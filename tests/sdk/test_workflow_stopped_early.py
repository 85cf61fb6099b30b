"""A run that is stopped before its first step leaves nobody waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kessai.foundation.errors import Unavailable, Unknown
from kessai.sdk.workflow.ending import Once
from kessai.sdk.workflow.executor import Executor


class NeverBegun:
    """Stands for a run whose task is cancelled before it has begun."""

    farewell = None
    workflow_id = "w"

    def __init__(self) -> None:
        self.started: Once[bool] = Once()

    async def run(self) -> None:
        raise AssertionError("it was cancelled before")

    def answer_nobody(self) -> None:
        self.started.put(None, Unavailable("executor_stopped", "stopping"))


def bare_executor() -> Any:
    """An executor without a database: nothing here needs one."""
    kind: Any = Executor
    return kind.__new__(kind)


async def test_whoever_waits_for_its_start_is_told() -> None:
    executor: Any = bare_executor()
    runs: dict[str, NeverBegun] = {}
    tasks: dict[NeverBegun, asyncio.Task[None]] = {}
    executor._runs, executor._tasks = runs, tasks
    run = NeverBegun()
    executor._spawn(run)
    tasks[run].cancel()
    with pytest.raises((Unavailable, Unknown)):
        await asyncio.wait_for(run.started.get(), 5)
    assert not runs
    assert not tasks
