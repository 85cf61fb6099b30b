"""Queues: order, limits, and what becomes of a claim whose executor is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from kessai.foundation.errors import KeyReused
from kessai.sdk.workflow import AlreadyStarted, Engine, Queue
from kessai.sdk.workflow.queues import Candidate, Room, refilled_milli
from kessai.sdk.workflow.testing import crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import errand_child
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told

ERRANDS = Queue(name="errands", concurrency=2)


def test_room_is_given_in_order_within_every_limit() -> None:
    waiting = [Candidate(f"w{n}", "ab"[n % 2]) for n in range(10)]
    keyed = Room(Queue(name="q", key_concurrency=2), by_key=Counter(a=1))
    assert [each.workflow_id for each in keyed.admit(waiting)] == ["w0", "w1", "w3"]
    assert keyed.full_keys() == ["a", "b"]
    assert len(Room(Queue(name="q", concurrency=3), running=1).admit(waiting)) == 2
    assert len(Room(Queue(name="q", worker_concurrency=3), running_here=1, running=9).admit(waiting)) == 2
    assert len(Room(Queue(name="q", rate=5), tokens=4).admit(waiting)) == 4
    assert Room(Queue(name="q", concurrency=1), running=4).admit(waiting) == []


def test_a_rate_is_saved_up_no_further_than_one_period() -> None:
    queue = Queue(name="q", rate=10, rate_s=2.0)
    assert refilled_milli(queue, 0, 0.1) == 500
    assert refilled_milli(queue, 0, 60) == 10_000
    assert refilled_milli(queue, 3_000, -5) == 3_000


async def _put(engine: Engine[World], n: int, **options: object) -> None:
    await engine.enqueue("errands", errand_child, Order(order_id=f"o{n}", amount=n), workflow_id=f"w{n}", **options)  # type: ignore[arg-type]


async def test_no_more_run_at_once_than_the_queue_allows(engines: Engines) -> None:
    both = [await engines.open(queues=[ERRANDS]), await engines.open(queues=[ERRANDS])]
    engines.world.gate = asyncio.Event()
    for n in range(6):
        await _put(both[n % 2], n)
    await eventually(lambda: len(engines.world.attempts) == 2)
    await asyncio.sleep(0.1)
    assert sum(each.open_runs for each in both) == 2
    engines.world.gate.set()
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done HAVING count(*) = 6"))
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_queued") == [(0,)]


async def test_the_more_urgent_goes_first_then_who_came_first(engines: Engines) -> None:
    putter = await engines.open()
    order: list[str] = []
    engines.world.on_attempt = order.append
    for n, priority in enumerate((5, 5, 1)):
        engines.clock.advance(timedelta(seconds=1))
        await _put(putter, n, priority=priority)
    await _put(putter, 3, not_before=engines.clock.now() + timedelta(days=1))
    await engines.open(queues=[Queue(name="errands", concurrency=1)])
    await eventually(lambda: len(order) == 3)
    assert order == ["w2:1", "w0:1", "w1:1"]
    engines.clock.advance(timedelta(days=1))
    await eventually(lambda: len(order) == 4)


async def test_one_at_a_time_of_each_key(engines: Engines) -> None:
    engine = await engines.open(queues=[Queue(name="errands", key_concurrency=1)])
    engines.world.gate = asyncio.Event()
    for n in range(4):
        await _put(engine, n, key=f"customer{n % 2}")
    await eventually(lambda: len(engines.world.attempts) == 2)
    await asyncio.sleep(0.05)
    assert sorted(engines.world.attempts) == ["w0:1", "w1:1"]
    engines.world.gate.set()
    await eventually(lambda: len(engines.world.attempts) == 4)


async def test_no_more_begin_in_a_time_than_the_rate_allows(engines: Engines) -> None:
    engine = await engines.open(queues=[Queue(name="errands", rate=2, rate_s=3_600)])
    for n in range(5):
        await _put(engine, n)
    await eventually(lambda: len(engines.world.attempts) == 2)
    await engines.database.fetch(None, "UPDATE shop.workflow_queue SET tokens_milli = 1000")
    engine.queues.wake()
    await eventually(lambda: len(engines.world.attempts) == 3)


async def test_an_id_is_queued_once_and_compared(engines: Engines) -> None:
    engine = await engines.open(queues=[ERRANDS])
    order = Order(order_id="o1", amount=3)
    handles = [await engine.enqueue("errands", errand_child, order, workflow_id="w1") for _ in range(2)]
    assert [await each.result() for each in handles] == [3, 3]
    with pytest.raises(KeyReused):
        await engine.enqueue("errands", errand_child, Order(order_id="o2"), workflow_id="w1")
    with pytest.raises(AlreadyStarted):
        await engine.enqueue("errands", errand_child, order, workflow_id="w1", conflict="new")
    assert engines.world.attempts == {"w1:1": 1}
    attached = await engine.attach(errand_child, "w1")
    assert attached is not None
    assert await attached.result() == 3


async def test_a_queue_whose_executor_crashes_anywhere_is_worked_off(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        order = Order(order_id=name, amount=3)
        try:
            handle = await engine.enqueue("errands", errand_child, order, workflow_id=name)
            return await handle.result()
        except Exception:
            if not engine.closing:
                raise
            return "crashed"

    async for outcome in crashes_everywhere(opener(engines, queues=[ERRANDS]), scenario):
        assert outcome.result == 3, outcome
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_queued HAVING count(*) = 0"))


async def test_a_story_that_ends_before_its_executor_has_is_crashed_at_its_last_flush_too(engines: Engines) -> None:
    told: list[str] = []

    async def scenario(engine: Engine[World], name: str) -> str:
        await engine.start(errand_child, Order(order_id=name, amount=3), workflow_id=name)
        told.append(name)
        return name  # without waiting for what it comes to

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.happened == 1
    await engines.open()
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_open HAVING count(*) = 0"))
    done = await rows(engines.database, "SELECT workflow_id FROM shop.workflow_done")
    assert {each for (each,) in done} == set(told)


async def test_a_story_that_once_has_fewer_flushes_is_told_again(engines: Engines) -> None:
    told: list[str] = []

    async def scenario(engine: Engine[World], name: str) -> str:
        told.append(name)
        if name != "crash1":  # nothing is flushed in that one: what is counted on a slow machine varies
            await engine.start(errand_child, Order(order_id=name, amount=3), workflow_id=name)
        return name

    outcomes = [outcome async for outcome in crashes_everywhere(opener(engines), scenario)]
    assert [outcome.happened for outcome in outcomes] == [1] * 4
    assert [outcome.crashes for outcome in outcomes] == [((n, when),) for n in (1, 2) for when in ("before", "after")]
    assert told.count("crash1") == 1
    assert "crash1-1" in told


async def test_a_boundary_that_no_story_comes_to_is_an_error(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> str:
        if name.startswith("whole"):
            await engine.start(errand_child, Order(order_id=name, amount=3), workflow_id=name)
        return name

    stories = crashes_everywhere(opener(engines), scenario)
    with pytest.raises(AssertionError, match="no crash before 1"):
        await anext(stories)


async def test_a_queued_id_that_was_started_some_other_way_gives_up_its_place(engines: Engines) -> None:
    putter = await engines.open()
    engines.world.gate = asyncio.Event()
    await _put(putter, 1)
    direct = await putter.start(errand_child, Order(order_id="o1", amount=1), workflow_id="w1")
    await engines.open(queues=[Queue(name="errands", concurrency=1)])
    await _put(putter, 2)
    await eventually(lambda: "w2:1" in engines.world.attempts)
    engines.world.gate.set()
    assert await direct.result() == 1
    assert engines.world.attempts["w1:1"] == 1
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_queued HAVING count(*) = 0"))


@pytest.mark.parametrize("verb", ["cancel", "terminate"])
async def test_what_is_cancelled_before_its_turn_does_nothing(engines: Engines, verb: str) -> None:
    putter = await engines.open()
    await _put(putter, 1)
    await getattr(putter, verb)("w1", why="the customer withdrew")
    engine = await engines.open(queues=[ERRANDS], lease_s=10.0)
    code = "workflow_cancelled" if verb == "cancel" else "workflow_terminated"
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
    assert await told(engine, errand_child, Order(order_id="o1", amount=1), "w1") == code
    assert engines.world.attempts == {}
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_queued HAVING count(*) = 0"))


async def test_what_is_paused_before_its_turn_waits_until_it_is_resumed(engines: Engines) -> None:
    putter = await engines.open()
    await _put(putter, 1)
    await putter.pause("w1", why="let us look first")
    await engines.open(queues=[ERRANDS])
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_open"))
    assert engines.world.attempts == {}
    await putter.resume("w1", why="looked")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
