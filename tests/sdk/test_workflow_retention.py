"""Retention: histories go first, ids much later; a reused id never replays a stale result."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kessai.sdk.workflow import Forgotten
from kessai.sdk.workflow.retention import Retention, Retired, retire
from tests.sdk.conftest import Engines, rows
from tests.sdk.errands import collector, tagged
from tests.sdk.shop.workflows import Order
from tests.sdk.story import told

ORDER = Order(order_id="o1", amount=5)
KEPT = Retention(history=timedelta(days=10), ids=timedelta(days=100))
TABLES = ("log", "inbox", "answer", "attribute", "heartbeat", "fork", "stuck")


async def _left(engines: Engines) -> dict[str, int]:
    counts = {each: await rows(engines.database, f"SELECT count(*) FROM shop.workflow_{each}") for each in TABLES}
    return {each: count[0][0] for each, count in counts.items() if count[0][0]}


async def test_what_finished_long_ago_is_forgotten_in_two_steps(engines: Engines) -> None:
    engine = await engines.open()
    assert await told(engine, tagged, ORDER, "w1") == "o1"
    handle = await engine.start(collector, Order(order_id="o1", steps=1), workflow_id="w2")
    await engine.signal("w2", "yes", 1)
    await handle.result()
    open_one = await engine.start(collector, Order(order_id="o1", steps=1), workflow_id="w3")
    assert await retire(engines.database, "shop", engines.clock, KEPT) == Retired(0, 0)

    engines.clock.advance(timedelta(days=11))
    assert await retire(engines.database, "shop", engines.clock, KEPT) == Retired(2, 0)
    assert await _left(engines) == {}
    attached = await engine.attach(tagged, "w1")
    assert attached is not None
    with pytest.raises(Forgotten):
        await attached.result()
    assert await told(engine, tagged, ORDER, "w1") == "workflow_forgotten"
    assert await told(engine, tagged, Order(order_id="o2"), "w1") == "idempotency_key_reused"
    assert engines.world.attempts == {"w1:1": 1}

    engines.clock.advance(timedelta(days=90))
    assert await retire(engines.database, "shop", engines.clock, KEPT) == Retired(0, 2)
    assert await engine.attach(tagged, "w1") is None
    assert await told(engine, tagged, Order(order_id="o2", amount=9), "w1") == "o2"
    assert await engine.search(order="o2") == ["w1"]
    await engine.signal("w3", "yes", 1)
    assert await open_one.result() == ["yes1"]


def test_an_id_is_kept_as_long_as_its_history() -> None:
    with pytest.raises(AssertionError):
        Retention(history=timedelta(days=10), ids=timedelta(days=9))
