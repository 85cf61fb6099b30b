"""Runs that wait for long are in nobody's memory, and go on when their time or a message has come."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from kessai.foundation.errors import Refused
from kessai.sdk.workflow import Engine, Workflow, define
from kessai.sdk.workflow.messages import MessageKind
from kessai.sdk.workflow.operate import Operator
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.shop.workflows import Order, World, take

ORDER = Order(order_id="o1", amount=5)
RESTING = "SELECT workflow_id FROM shop.workflow_open WHERE executor_id = 'resting' ORDER BY 1"


@define("resting.month", version=1)
async def month(wf: Workflow[World], order: Order) -> int:
    taken = await wf.activity(take, order)
    await wf.sleep(timedelta(days=30))
    return taken + await wf.activity(take, order)


@define("resting.asks", version=1)
async def asks(wf: Workflow[World], _order: Order) -> str:
    return await wf.receive("answer", str, within=timedelta(days=3))


@define("resting.waits", version=1)
async def waits(wf: Workflow[World], _order: Order) -> str:
    return await wf.receive("answer", str)


@define("resting.parent", version=1)
async def parent(wf: Workflow[World], order: Order) -> int:
    return await wf.child(month, order, workflow_id="child")


async def _open(engines: Engines) -> Engine[World]:
    return await engines.open(rest_after_s=0.05)


async def _rest(engines: Engines, *workflow_ids: str) -> None:
    async def resting() -> bool:
        kept = await rows(engines.database, RESTING) == [(each,) for each in sorted(workflow_ids)]
        return kept and sum(each.counts.rested for each in engines.opened) >= len(workflow_ids)

    await eventually(resting)


async def test_a_run_that_sleeps_for_long_is_in_nobodys_memory_and_goes_on_in_time(engines: Engines) -> None:
    engine = await _open(engines)
    handle = await engine.start(month, ORDER, workflow_id="w1")
    await _rest(engines, "w1")
    assert (engine.open_runs, engine.counts.rested) == (0, 1)
    engines.clock.advance(timedelta(days=31))
    assert await handle.result() == 10
    assert engine.counts.woken == 1
    assert engines.world.attempts == {"w1:1": 1, "w1:3": 1}


async def test_what_rests_is_woken_by_whoever_is_there(engines: Engines) -> None:
    first = await _open(engines)
    for n in range(20):
        await first.start(month, ORDER, workflow_id=f"w{n:02}")
    await _rest(engines, *(f"w{n:02}" for n in range(20)))
    await first.close()
    others = [await _open(engines), await _open(engines)]
    engines.clock.advance(timedelta(days=31))
    found = [await others[n % 2].attach(month, f"w{n:02}") for n in range(20)]
    assert [await each.result() for each in found if each is not None] == [10] * 20
    assert set(engines.world.attempts.values()) == {1}
    assert sum(each.counts.woken for each in others) == 20
    assert await rows(engines.database, RESTING) == []


@pytest.mark.parametrize("definition", [asks, waits], ids=["with-a-deadline", "without"])
async def test_a_signal_wakes_what_waits_for_it(engines: Engines, definition: object) -> None:
    assert definition in (asks, waits)
    engine = await _open(engines)
    handle = await engine.start(asks if definition is asks else waits, ORDER, workflow_id="w1")
    await _rest(engines, "w1")
    elsewhere = Operator(engines.database, "shop", engines.clock)
    await elsewhere.send("w1", MessageKind.SIGNAL, "answer", "yes")
    assert await handle.result() == "yes"


async def test_what_rests_is_cancelled_and_listed_like_any_other(engines: Engines) -> None:
    engine = await _open(engines)
    handle = await engine.start(month, ORDER, workflow_id="w1")
    await _rest(engines, "w1")
    found = await engine.find("w1")
    assert found is not None
    assert (found.finished, found.resting) == (False, True)
    await engine.cancel("w1", why="not wanted any more")
    with pytest.raises(Refused, match="workflow_cancelled"):
        await handle.result()


async def test_a_message_that_came_while_it_was_let_rest_wakes_it(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await _open(engines)
    store, operator = engine._store, Operator(engines.database, "shop", engines.clock)  # pyright: ignore[reportPrivateUsage]
    rest = store.rest

    async def overtaken(holder: str, until: Mapping[str, datetime], now: datetime) -> None:
        await operator.send("w1", MessageKind.SIGNAL, "answer", "yes", "m1")
        await rest(holder, until, now)

    monkeypatch.setattr(store, "rest", overtaken)
    handle = await engine.start(asks, ORDER, workflow_id="w1")
    assert await handle.result() == "yes"
    assert engine.counts.rested == 1


async def test_a_parent_hears_of_a_child_that_rested(engines: Engines) -> None:
    engine = await _open(engines)
    handle = await engine.start(parent, ORDER, workflow_id="w1")
    await _rest(engines, "child")
    assert engine.open_runs == 1
    engines.clock.advance(timedelta(days=31))
    assert await handle.result() == 10


async def test_a_run_that_will_go_on_soon_stays(engines: Engines) -> None:
    engine = await engines.open(rest_after_s=30 * 24 * 3600.0)
    await engine.start(month, ORDER, workflow_id="w1")
    await eventually(lambda: engine.is_idle() and engine.open_runs)
    before = await rows(engines.database, "SELECT lease_until FROM shop.lease")

    async def renewed_twice() -> bool:
        return await rows(engines.database, "SELECT lease_until FROM shop.lease") > before

    await eventually(renewed_twice)
    assert engine.open_runs == 1
    assert await rows(engines.database, RESTING) == []
