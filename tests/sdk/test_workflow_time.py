"""Durable sleep: in business time, over crashes, and without waiting in a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.testing import SkippingClock, crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import sleeper
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
ENDS = [(BEGIN + timedelta(days=10 * n)).isoformat() for n in range(3)]


async def test_sleep_takes_business_time_and_none_of_the_tests(engines: Engines) -> None:
    engines.clock = SkippingClock(BEGIN)
    engine = await engines.open()
    assert await told(engine, sleeper, Order(order_id="o1", steps=2), "w1") == ENDS


async def test_a_sleep_ends_when_the_clock_is_moved(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(sleeper, Order(order_id="o1", steps=1), workflow_id="w1")
    await eventually(lambda: engine.timers.next_at)
    assert engines.world.attempts == {}
    engines.clock.advance(timedelta(days=10))
    assert len(await handle.result()) == 2


async def test_a_sleep_goes_on_elsewhere_and_ends_when_it_was_to_end(engines: Engines) -> None:
    first = await engines.open()
    await first.start(sleeper, Order(order_id="o1", steps=1), workflow_id="w1")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_log"))
    engines.clock.advance(timedelta(days=6))
    await first.crash()
    second = await engines.open()
    await eventually(lambda: second.timers.next_at)
    engines.clock.advance(timedelta(days=3, hours=23))
    assert engines.world.attempts == {}
    engines.clock.advance(timedelta(hours=1))
    assert len(await told(second, sleeper, Order(order_id="o1", steps=1), "w1")) == 2


async def test_a_sleeper_that_crashes_anywhere_sleeps_no_longer(engines: Engines) -> None:
    engines.clock = SkippingClock(BEGIN)

    async def scenario(engine: Engine[World], name: str) -> object:
        seen = await told(engine, sleeper, Order(order_id=name, steps=2), name)
        if seen == "crashed":
            return seen
        times: list[datetime] = [datetime.fromisoformat(each) for each in seen]
        return [(each - times[0]).days for each in times]

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == [0, 10, 20], outcome


async def test_closing_does_not_wait_for_those_that_sleep(engines: Engines) -> None:
    engine = await engines.open()
    await engine.start(sleeper, Order(order_id="o1", steps=1), workflow_id="w1")
    await eventually(lambda: engine.timers.next_at)
    await engine.close(grace_s=600)
    assert await rows(engines.database, "SELECT parked_error FROM shop.workflow_open") == [(None,)]
