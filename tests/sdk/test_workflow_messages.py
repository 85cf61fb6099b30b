"""Signals, synchronous updates and queries: durable, taken once and in order, wherever the workflow is carried."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kessai.foundation.errors import NotFound, Refused, Unavailable
from kessai.sdk.workflow import Engine, NotOpen
from kessai.sdk.workflow.testing import SkippingClock, crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import Verdict, approval, collector, tally
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import ended, opener, told

ORDER = Order(order_id="o1", amount=5)


async def test_a_signal_lets_the_workflow_go_on(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(approval, ORDER, workflow_id="w1")
    await engine.signal("w1", "verdict", Verdict(accepted=True, by="hanako"))
    assert await handle.result() == "hanako"
    assert engines.world.effects == {"w1:1": 5, "w1:3": 7}


async def test_a_signal_from_another_process_is_found(engines: Engines) -> None:
    engine, elsewhere = await engines.open(), await engines.open()
    handle = await engine.start(approval, ORDER, workflow_id="w1")
    await elsewhere.signal("w1", "verdict", Verdict(accepted=False, by="taro"))
    with pytest.raises(Refused, match="declined"):
        await handle.result()
    assert engines.world.undone == ["w1:1"]


async def test_a_signal_that_does_not_come_in_time_is_told(engines: Engines) -> None:
    engines.clock = SkippingClock()
    engine = await engines.open()
    assert await told(engine, approval, ORDER, "w1") == "lapsed"
    assert engines.world.effects == {}


async def test_signals_that_came_early_are_taken_in_their_order_and_once(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(collector, Order(order_id="o1", steps=4), workflow_id="w1")
    for n, name in enumerate(("yes", "no", "no")):
        engines.clock.advance(timedelta(seconds=1))
        for _ in range(2):
            await engine.signal("w1", name, n, signal_id=f"s{n}")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_inbox WHERE consumed"))
    await engine.signal("w1", "yes", 3)
    assert await handle.result() == ["yes0", "no1", "no2", "yes3"]
    with pytest.raises(NotOpen):
        await engine.signal("w1", "yes", 4)


async def test_a_wait_for_signals_that_crashes_anywhere_takes_each_once(engines: Engines) -> None:
    async def consumed(name: str, count: int) -> bool:
        query = "SELECT count(*) FROM shop.workflow_inbox WHERE workflow_id = $1 AND consumed"
        left = await rows(engines.database, "SELECT 1 FROM shop.workflow_open WHERE workflow_id = $1", name)
        return not left or (await rows(engines.database, query, name))[0][0] >= count

    async def scenario(engine: Engine[World], name: str) -> object:
        handle = await engine.start(collector, Order(order_id=name, steps=3), workflow_id=name)
        for n in range(0 if handle.replayed else 3):
            try:
                await engine.signal(name, "yes", n, signal_id=f"s{n}")
            except NotOpen:
                break
            await eventually(lambda n=n: engine.closing or consumed(name, n + 1))
        return await ended(engine, handle, collector, Order(order_id=name, steps=3))

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == ["yes0", "yes1", "yes2"], outcome


async def test_an_update_is_answered_once_and_the_answer_is_kept(engines: Engines) -> None:
    engine = await engines.open()
    await engine.start(tally, ORDER, workflow_id="w1")
    for _ in range(2):
        assert await engine.update("w1", "add", 2, int, update_id="u1") == 2
    with pytest.raises(Refused, match="not_positive"):
        await engine.update("w1", "add", -1, int, update_id="u2")
    assert await engine.query("w1", "total", int) == 2
    assert await engine.update("w1", "add", 3, int, update_id="u3") == 5
    assert await told(engine, tally, ORDER, "w1") == 5
    assert await engine.update("w1", "add", 3, int, update_id="u3") == 5
    with pytest.raises(NotOpen):
        await engine.update("w1", "add", 3, int, update_id="u4")


async def test_an_update_from_another_process_is_answered(engines: Engines) -> None:
    engine, elsewhere = await engines.open(), await engines.open()
    await engine.start(tally, Order(order_id="o1", amount=2), workflow_id="w1")
    assert await elsewhere.update("w1", "add", 2, int, update_id="u1") == 2


async def test_an_update_that_nobody_takes_up_is_told_and_may_be_asked_again(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(tally, Order(order_id="o1", amount=2), workflow_id="w1")
    with pytest.raises(Unavailable, match="update_not_answered"):
        await engine.update("w1", "unheard_of", 2, int, update_id="u1", timeout_s=0.05)
    assert await engine.update("w1", "add", 2, int, update_id="u2") == 2
    assert await handle.result() == 2


async def test_updates_that_crash_anywhere_are_answered_once(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        order = Order(order_id=name, amount=2)
        answers: list[object] = []
        handle = await engine.start(tally, order, workflow_id=name)
        for n in range(2):
            while not engine.closing:
                try:
                    answers.append(await engine.update(name, "add", 1, int, update_id=f"u{n}", timeout_s=0.3))
                    break
                except Unavailable:
                    continue
        return [answers, await ended(engine, handle, tally, order)]

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == [[1, 2], 2], outcome


async def test_a_query_is_answered_by_replay_where_the_workflow_is_not_carried(engines: Engines) -> None:
    engine, elsewhere = await engines.open(), await engines.open()
    handle = await engine.start(collector, Order(order_id="o1", steps=2), workflow_id="w1")
    await engine.signal("w1", "yes", 1)

    async def found() -> bool:
        return await engine.query("w1", "found", list[str]) == ["yes1"]

    await eventually(found)
    await engine.signal("w1", "no", 2)
    assert await handle.result() == ["yes1", "no2"]
    assert await elsewhere.query("w1", "found", list[str]) == ["yes1", "no2"]
    with pytest.raises(NotFound, match="query_not_found"):
        await elsewhere.query("w1", "unheard_of", list[str])
    with pytest.raises(NotFound, match="workflow_not_found"):
        await elsewhere.query("w9", "found", list[str])
    assert engines.world.attempts == {}
