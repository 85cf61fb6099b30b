"""Commands gather while a flush is in flight; each gets its own outcome, and a bad one fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kessai.foundation.errors import PaymentError, Refused, Unavailable
from kessai.foundation.groupcommit import Conflicted, GroupCommit


class Desk:
    """A flush that the test opens and closes, and that records what it carried."""

    def __init__(self, *, overlap: bool = False, queue_max: int = 100, batch_max: int = 10) -> None:
        self.carried: list[list[int]] = []
        self.forgotten: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.conflicts_left = 0
        self.bad: set[int] = set()
        self.group: GroupCommit[int, list[int], int] = GroupCommit(
            prepare=self.prepare,
            commit=self.commit,
            forget=self.forgotten.append,
            overlap=overlap,
            queue_max=queue_max,
            batch_max=batch_max,
        )

    async def prepare(self, commands: list[int], attempt: int) -> list[int]:
        del attempt
        return list(commands)

    async def commit(self, plan: list[int]) -> Sequence[int | PaymentError]:
        await self.gate.wait()
        if self.conflicts_left:
            self.conflicts_left -= 1
            raise Conflicted
        if self.bad.intersection(plan):
            raise ValueError("the database refuses the whole flush")
        self.carried.append(plan)
        return [Refused("odd", "Odd numbers are refused.") if each % 2 else each * 10 for each in plan]


async def _submitted(desk: Desk, *commands: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(desk.group.submit(command)) for command in commands]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_lone_command_goes_at_once() -> None:
    desk = Desk()
    assert await desk.group.submit(2) == 20
    assert desk.carried == [[2]]
    await desk.group.close()


@pytest.mark.parametrize("overlap", [False, True])
async def test_what_arrives_during_a_flush_goes_together_in_the_next(overlap: bool) -> None:
    desk = Desk(overlap=overlap)
    desk.gate.clear()
    first = await _submitted(desk, 2)
    later = await _submitted(desk, 4, 6, 8)
    desk.gate.set()
    assert await asyncio.gather(*first, *later) == [20, 40, 60, 80]
    assert sorted(each for batch in desk.carried for each in batch) == [2, 4, 6, 8]
    assert len(desk.carried) < 4
    await desk.group.close()


async def test_each_caller_gets_its_own_outcome() -> None:
    desk = Desk()
    with pytest.raises(Refused, match="odd"):
        await desk.group.submit(3)
    outcomes = await desk.group.submit_all([2, 3, 4])
    assert [outcomes[0], outcomes[2]] == [20, 40]
    assert isinstance(outcomes[1], Refused)
    await desk.group.close()


@pytest.mark.parametrize("overlap", [False, True])
async def test_conflict_is_prepared_anew_and_nobody_hears_of_it(overlap: bool) -> None:
    desk = Desk(overlap=overlap)
    desk.conflicts_left = 3
    assert await asyncio.gather(*(desk.group.submit(each) for each in (2, 4, 6))) == [20, 40, 60]
    assert desk.group.conflicts > 0
    assert desk.forgotten
    await desk.group.close()


@pytest.mark.parametrize("overlap", [False, True])
async def test_bad_command_fails_alone(overlap: bool) -> None:
    desk = Desk(overlap=overlap)
    desk.gate.clear()
    desk.bad = {13}
    tasks = await _submitted(desk, 2, 4, 13, 6, 8)
    desk.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in outcomes if not isinstance(each, BaseException)] == [20, 40, 60, 80]
    assert isinstance(outcomes[2], ValueError)
    await desk.group.close()


async def test_full_queue_is_refused_as_retryable() -> None:
    desk = Desk(queue_max=3)
    desk.gate.clear()
    tasks = await _submitted(desk, 2)
    tasks += await _submitted(desk, 4, 6, 8)
    with pytest.raises(Unavailable, match="overloaded") as refusal:
        await desk.group.submit(10)
    assert refusal.value.retryable
    desk.gate.set()
    assert await asyncio.gather(*tasks) == [20, 40, 60, 80]
    await desk.group.close()


async def test_batches_are_bounded_and_commands_of_one_call_stay_together() -> None:
    desk = Desk(batch_max=4)
    desk.gate.clear()
    calls = [asyncio.create_task(desk.group.submit_all([n, n + 2, n + 4])) for n in (2, 10, 20)]
    await asyncio.sleep(0)
    desk.gate.set()
    await asyncio.gather(*calls)
    assert sorted(desk.carried) == [[2, 4, 6], [10, 12, 14], [20, 22, 24]]
    await desk.group.close()


async def test_caller_who_leaves_does_not_undo_the_work() -> None:
    desk = Desk()
    desk.gate.clear()
    (task,) = await _submitted(desk, 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    desk.gate.set()
    await desk.group.drain()
    assert desk.carried == [[2]]
    await desk.group.close()


async def test_close_carries_what_was_accepted_and_refuses_what_comes_after() -> None:
    desk = Desk()
    desk.gate.clear()
    tasks = await _submitted(desk, 2, 4)
    closing = asyncio.create_task(desk.group.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await desk.group.submit(6)
    desk.gate.set()
    await closing
    assert await asyncio.gather(*tasks) == [20, 40]
