"""Deadlines that share timers: each goes off for itself, and a limit cuts off what it is around and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from kessai.foundation.deadlines import Deadlines


def soon() -> float:
    return asyncio.get_running_loop().time() + 0.01


async def test_what_is_late_is_cut_off() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError), deadlines.limit(soon()):
        await asyncio.sleep(60)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_what_is_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.limit(soon()):
        done = True
    await asyncio.sleep(0.1)
    assert done


async def test_a_moment_that_is_past_cuts_off_at_once() -> None:
    with pytest.raises(TimeoutError), Deadlines().limit(asyncio.get_running_loop().time() - 5):
        await asyncio.sleep(60)


async def test_deadlines_of_one_moment_go_off_each_for_itself() -> None:
    deadlines, gone, when = Deadlines(), list[str](), soon()
    late = asyncio.Event()

    def expire() -> None:
        gone.append("late")
        late.set()

    def not_expire() -> None:
        gone.append("met")

    step = deadlines.add(when, not_expire)
    deadlines.add(when, expire)
    deadlines.met(step, not_expire)
    await late.wait()
    assert gone == ["late"]


async def test_a_task_that_is_cancelled_by_others_is_not_told_that_it_was_late() -> None:
    deadlines = Deadlines()

    async def work() -> None:
        with deadlines.limit(asyncio.get_running_loop().time() + 60):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_inner_of_two_limits_is_told_to_the_inner_part() -> None:
    deadlines, told = Deadlines(), list[str]()
    with deadlines.limit(asyncio.get_running_loop().time() + 60):
        try:
            with deadlines.limit(soon()):
                await asyncio.sleep(60)
        except TimeoutError:
            told.append("inner")
        await asyncio.sleep(0)
    assert told == ["inner"]
