"""Cancel, terminate, pause and resume, and the point of no return."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kessai.foundation.clock import SandboxClock
from kessai.foundation.errors import Refused, Unavailable, Unknown
from kessai.sdk.workflow import Alert, Cancelled, Engine, NotOpen, Terminated, Write
from kessai.sdk.workflow.operate import Operator
from kessai.sdk.workflow.testing import crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import long_errand, pivoting, sleeper, tidies
from tests.sdk.shop import INSERT
from tests.sdk.shop.workflows import Order, World, saga
from tests.sdk.story import ended, opener, told

ORDER = Order(order_id="o1")


async def test_a_sleeping_workflow_that_is_cancelled_undoes_what_it_did(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(sleeper, Order(order_id="o1", steps=2), workflow_id="w1")
    await eventually(lambda: engine.timers.next_at)
    engines.clock.advance(_days(10))
    await eventually(lambda: engines.world.effects)
    await engine.cancel("w1", who="hanako", why="no longer wanted")
    with pytest.raises(Cancelled, match="no longer wanted"):
        await handle.result()
    assert engines.world.effects == {}
    assert await told(await engines.open(), sleeper, Order(order_id="o1", steps=2), "w1") == "workflow_cancelled"
    audit = await rows(engines.database, "SELECT workflow_id, verb, who, why FROM shop.workflow_audit")
    assert audit == [("w1", "cancel", "hanako", "no longer wanted")]


def _days(days: int) -> Any:
    return timedelta(days=days)


async def test_a_cancel_waits_for_the_attempt_under_way_and_begins_no_other(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    writes = [Write(INSERT, ("o1", "NEW"))]
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=writes)
    await engines.world.entered.wait()
    await engine.cancel("w1", why="enough")
    engines.world.gate.set()
    with pytest.raises(Cancelled):
        await handle.result()
    assert engines.world.undone == ["w1:1"]
    assert engines.world.effects == {}


async def test_a_cancel_ends_retries_of_what_was_not_done(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"1": [Unavailable("away", "Away.")] * 10_000}
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=[Write(INSERT, ("o1", "NEW"))])
    await eventually(lambda: engines.world.attempts["w1:1"] > 1)
    await engine.cancel("w1", why="enough")
    with pytest.raises(Cancelled):
        await handle.result()
    assert engine.counts.retries > 0


async def test_code_that_minds_its_cancel_goes_on_to_its_own_end(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(tidies, ORDER, workflow_id="w1")
    await eventually(lambda: engine.timers.next_at)
    await engine.cancel("w1", why="enough")
    assert await handle.result() == "tidied"
    assert engines.world.effects == {"w1:3": 5}


async def test_a_cancel_that_crashes_anywhere_is_not_lost(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        handle = await engine.start(tidies, Order(order_id=name), workflow_id=name)
        asked = await rows(engines.database, f"SELECT 1 FROM shop.workflow_inbox WHERE workflow_id = '{name}'")
        if not handle.replayed and not asked:
            await eventually(lambda: engine.timers.next_at or engine.closing)
            if not engine.closing:
                await engine.cancel(name, why="enough")
        return await ended(engine, handle, tidies, Order(order_id=name))

    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == "tidied", outcome
    assert set(engines.world.effects.values()) == {5}


async def test_a_terminated_workflow_ends_where_it_stands(engines: Engines) -> None:
    engine, elsewhere = await engines.open(), await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=[Write(INSERT, ("o1", "NEW"))])
    await engines.world.entered.wait()
    await elsewhere.terminate("w1", who="taro", why="stuck")
    with pytest.raises(Terminated, match="stuck"):
        await handle.result()
    assert engines.world.undone == []
    assert await rows(engines.database, "SELECT failed FROM shop.workflow_done") == [(True,)]
    with pytest.raises(NotOpen):
        await elsewhere.cancel("w1", why="too late")


async def test_a_parked_workflow_can_be_terminated(engines: Engines) -> None:
    engine = await engines.open()
    await _parked_past_pivot(engines, engine)
    await engine.terminate("w1", who="taro", why="settled by hand")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
    assert engines.world.effects == {"w1:1": 1, "w1:2": 2}


async def test_a_paused_workflow_begins_no_step_until_it_is_resumed(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=[Write(INSERT, ("o1", "NEW"))])
    await engines.world.entered.wait()
    await engine.pause("w1", who="taro", why="wait for the bank")
    engines.world.gate.set()
    await eventually(lambda: "w1:1" in engines.world.effects)
    await asyncio.sleep(0.05)
    assert list(engines.world.attempts) == ["w1:1"]
    await engine.crash()
    survivor = await engines.open()
    await eventually(lambda: survivor.open_runs)
    await asyncio.sleep(0.05)
    assert "w1:2" not in engines.world.attempts
    await survivor.resume("w1", who="taro", why="it is back")
    with pytest.raises(Unknown):
        await handle.result()
    assert (await told(survivor, saga, ORDER, "w1")).state == "DONE"
    verbs = await rows(engines.database, "SELECT verb FROM shop.workflow_audit ORDER BY audit_id")
    assert verbs == [("pause",), ("resume",)]


async def _parked_past_pivot(engines: Engines, engine: Engine[World]) -> None:
    engines.world.faults = {"3": [Refused("insufficient_funds", "No.")]}
    handle = await engine.start(pivoting, ORDER, workflow_id="w1")
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()


async def test_past_the_pivot_nothing_is_undone_and_an_operator_is_told(engines: Engines) -> None:
    alerts: list[Alert] = []
    engine = await engines.open(alert=alerts.append)
    await _parked_past_pivot(engines, engine)
    assert engines.world.undone == []
    assert [(each.workflow_id, each.compensating) for each in alerts] == [("w1", False)]
    assert "point of no return" in alerts[0].reason
    await engine.operator.resolve("w1", who="taro", why="paid by hand", result=3)
    assert await told(engine, pivoting, ORDER, "w1") == 3


async def test_before_the_pivot_a_refusal_undoes_and_after_it_a_cancel_does_nothing(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2": [Refused("insufficient_funds", "No.")]}
    assert await told(engine, pivoting, ORDER, "w0") == "insufficient_funds"
    assert engines.world.effects == {}
    engines.world.faults = {"3": [Unavailable("away", "Away.")] * 20}
    handle = await engine.start(pivoting, ORDER, workflow_id="w1")
    await eventually(lambda: engines.world.attempts["w1:3"])
    await engine.cancel("w1", why="too late")
    assert await handle.result() == 3


async def test_a_silent_attempt_is_cut_off_and_the_next_begins_where_it_was(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(long_errand, Order(order_id="o1", steps=4, amount=2), workflow_id="w1")
    await eventually(lambda: engines.world.attempts["w1:1#2"] > 1)
    engines.world.gate.set()
    assert await handle.result() == 2
    assert engines.world.attempts["w1:1#0"] == 1


async def test_progress_is_told_to_the_attempt_after_a_crash(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    await engine.start(long_errand, Order(order_id="o1", steps=2, amount=0), workflow_id="w1")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_heartbeat"))
    await engine.crash()
    engines.world.gate.set()
    await engines.database.fetch(None, "UPDATE shop.workflow_heartbeat SET progress = '1'")
    assert await told(await engines.open(), long_errand, Order(order_id="o1", steps=2, amount=0), "w1") == 1


async def test_a_long_activity_sees_that_it_is_to_stop(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(long_errand, Order(order_id="o1", steps=100_000, amount=-1), workflow_id="w1")
    await eventually(lambda: engines.world.attempts)
    await engine.cancel("w1", why="enough")
    with pytest.raises(Refused, match="stopped_early"):
        await handle.result()


async def test_a_resume_counts_after_its_pause_whatever_the_senders_clocks_show(engines: Engines) -> None:
    first = await engines.open()
    engines.world.gate = asyncio.Event()
    await first.start(saga, ORDER, workflow_id="w1", writes=[Write(INSERT, ("o1", "NEW"))])
    await engines.world.entered.wait()
    await first.crash()
    ahead = SandboxClock()
    ahead.advance(timedelta(seconds=2))
    await Operator(engines.database, "shop", ahead).pause("w1", who="hanako", why="to look")
    await Operator(engines.database, "shop", engines.clock).resume("w1", who="taro", why="looked")
    engines.world.gate.set()
    await engines.database.fetch(None, "UPDATE shop.lease SET lease_until = '2000-01-01'")
    second = await engines.open()
    found = await second.attach(saga, "w1")
    assert found is not None
    assert (await found.result()).state == "DONE"
