"""Branches at the same time: numbers that do not depend on who is faster, and failures that leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from kessai.foundation.errors import Refused, Unavailable, Unknown
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.branch import label_of, number_of, path_of
from kessai.sdk.workflow.testing import crashes_by_seed, crashes_everywhere
from tests.sdk.conftest import Engines, eventually
from tests.sdk.errands import branches, task_group
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told

KEYS = {"1": 1, "2": 10, "3": 20, "2.1": 11, "3.1": 21, "4": 2}


def test_a_step_is_numbered_by_its_path() -> None:
    for label in ("1", "16777215", "2.1", "3.8191.1", "7.1.1.8191"):
        assert label_of(number_of(label)) == label
    assert path_of(number_of("2.1")) == (2, 1)
    assert number_of("2.1") > number_of("16777215")


async def test_branches_of_several_steps_have_the_same_keys_whoever_is_faster(engines: Engines) -> None:
    engine = await engines.open()
    for n, slow in enumerate(("2", "3")):
        engines.world.faults = {slow: [Unavailable("away", "Away.")] * 3}
        handle = await engine.start(branches, Order(order_id="o1", steps=2), workflow_id=f"w{n}")
        assert await handle.result() == [21, 41]
        assert {key.removeprefix(f"w{n}:"): v for key, v in engines.world.effects.items() if key[1] == str(n)} == KEYS


async def test_branches_that_crash_anywhere_come_to_the_same_end(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        return await told(engine, branches, Order(order_id=name, steps=2), name)

    count = 0
    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == [21, 41], outcome
        name = f"crash{count}:"
        effects = {k.removeprefix(name): v for k, v in engines.world.effects.items() if k.startswith(name)}
        assert effects == KEYS
        count += 1
    assert count >= 8


async def test_a_branch_that_fails_anywhere_leaves_nothing_behind(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        engines.world.faults = {"3.1": [Refused("insufficient_funds", "No.")] * 9}
        return await told(engine, branches, Order(order_id=name, steps=2), name)

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == "insufficient_funds", outcome
        assert engines.world.effects == {}, outcome


async def test_executors_that_die_in_a_row_come_to_the_same_end(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        return await told(engine, task_group, Order(order_id=name), name)

    async for outcome in crashes_by_seed(opener(engines), scenario, seed=7, stories=6):
        assert outcome.result == [21 + 41, 61 + 81], outcome


async def test_a_group_whose_branch_is_refused_undoes_the_others(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2.1": [Refused("insufficient_funds", "No.")]}
    handle = await engine.start(task_group, Order(order_id="o1"), workflow_id="w1")
    with pytest.raises(Refused, match="insufficient_funds"):
        await handle.result()
    assert engines.world.effects == {}


async def test_a_branch_under_way_comes_to_its_outcome_before_anything_is_undone(engines: Engines) -> None:
    engine = await engines.open()
    world = engines.world
    gate = asyncio.Event()
    world.faults = {"3": [Refused("insufficient_funds", "No.")]}
    attempted = world.take

    async def slow(key: str, amount: int) -> None:
        if key == "w1:2":
            await gate.wait()
        await attempted(key, amount)

    world.take = slow  # type: ignore[method-assign]
    handle = await engine.start(branches, Order(order_id="o1", steps=2), workflow_id="w1")
    await eventually(lambda: world.attempts["w1:3"])
    await asyncio.sleep(0.05)
    assert world.undone == []
    gate.set()
    with pytest.raises(Refused, match="insufficient_funds"):
        await handle.result()
    assert world.undone == ["w1:2", "w1:1"]
    assert world.effects == {}


async def test_a_failure_while_another_branch_is_in_doubt_is_not_guessed_away(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2": [Unknown("lost", "Lost.")] * 3, "3": [Refused("insufficient_funds", "No.")]}
    handle = await engine.start(branches, Order(order_id="o1", steps=2), workflow_id="w1")
    with pytest.raises(Refused, match="insufficient_funds"):
        await handle.result()
    assert engines.world.effects == {}
