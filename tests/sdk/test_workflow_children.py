"""Child workflows: started once, awaited over crashes, cancelled with their parent."""

from __future__ import annotations

import pytest

from kessai.foundation.errors import Refused
from kessai.sdk.workflow import Cancelled, Engine
from kessai.sdk.workflow.testing import SkippingClock, crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import errand_child, parent
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told


async def test_a_parent_gets_its_childrens_results(engines: Engines) -> None:
    engine = await engines.open()
    assert await told(engine, parent, Order(order_id="o1"), "w1") == [2, 3]
    done = await rows(engines.database, "SELECT workflow_id, name FROM shop.workflow_done ORDER BY 1")
    assert done == [("w1", "errand.parent"), ("w1:2", "errand.child"), ("w1:3", "errand.child")]
    assert await told(engine, errand_child, Order(order_id="o1", amount=2), "w1:2") == 2


async def test_a_childs_refusal_fails_the_parent_which_undoes_its_own(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.on_attempt = _refuse_child
    handle = await engine.start(parent, Order(order_id="o1"), workflow_id="w1")
    with pytest.raises(Refused, match="child_refused"):
        await handle.result()
    assert "w1:1" not in engines.world.effects
    assert "w1:2:1" not in engines.world.effects


def _refuse_child(key: str) -> None:
    if key == "w1:2:1":
        raise Refused("child_refused", "No.")


async def test_a_family_that_crashes_anywhere_comes_to_the_same_end(engines: Engines) -> None:
    async def scenario(engine: Engine[World], name: str) -> object:
        return await told(engine, parent, Order(order_id=name), name)

    count = 0
    async for outcome in crashes_everywhere(opener(engines), scenario):
        assert outcome.result == [2, 3], outcome
        count += 1
    assert set(engines.world.effects.values()) == {1, 2, 3}
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_open") == [(0,)]


async def test_a_parent_that_is_cancelled_cancels_its_children_and_waits_for_them(engines: Engines) -> None:
    engine, elsewhere = await engines.open(), await engines.open()
    handle = await engine.start(parent, Order(order_id="o1", steps=99), workflow_id="w1")
    await eventually(lambda: engine.timers.next_at)
    await elsewhere.cancel("w1", who="hanako", why="changed her mind")
    with pytest.raises(Cancelled):
        await handle.result()
    assert engines.world.effects == {}
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_done WHERE failed") == [(3,)]


async def test_children_may_sleep_while_the_parent_waits(engines: Engines) -> None:
    engines.clock = SkippingClock()
    engine = await engines.open()
    assert await told(engine, parent, Order(order_id="o1", steps=99), "w1") == [2, 3]
