"""Activities in a transaction of the journal's own database: their rows are written exactly once."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kessai.foundation.errors import Refused, Unavailable
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow import transactions as transactions_module
from kessai.sdk.workflow.testing import boundaries_of, crashes_everywhere
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import rows_in_transactions
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import opener, told

EFFECTS = "SELECT event_id, count FROM shop.effect ORDER BY 1"


async def _scenario(engine: Engine[World], name: str) -> object:
    return await told(engine, rows_in_transactions, Order(order_id=name, steps=2), name)


async def test_rows_and_outcome_are_committed_together_wherever_it_crashes(engines: Engines) -> None:
    _, boundaries = await boundaries_of(opener(engines), _scenario)
    assert {flush for flush, _ in boundaries if flush < 0} == {-1, -2}
    await engines.database.fetch(None, "DELETE FROM shop.effect")
    count = 0
    async for outcome in crashes_everywhere(opener(engines), _scenario):
        assert outcome.result == 6, outcome
        count += 1
    effects = await rows(engines.database, EFFECTS)
    assert {n for _, n in effects} == {1}
    assert len(effects) == 2 * (count + 1)


async def test_a_refusal_leaves_no_rows(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"put": [None, Refused("no_room", "No.")]}
    assert await told(engine, rows_in_transactions, Order(order_id="o1", steps=2), "w1") == "no_room"
    assert await rows(engines.database, EFFECTS) == [("o1-1", 1)]


async def test_a_transaction_that_may_be_made_again_is(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"put": [Unavailable("away", "Away."), asyncpg.SerializationError("40001")]}  # type: ignore[list-item]
    assert await told(engine, rows_in_transactions, Order(order_id="o1", steps=1), "w1") == 2
    assert await rows(engines.database, EFFECTS) == [("o1-1", 1)]
    assert engines.world.attempts["w1:1"] == 3


async def test_a_commit_whose_answer_was_lost_is_found(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = await engines.open()
    run, lost = transactions_module.run_in_transaction, [0]

    async def loses(*arguments: object) -> bytes:
        outcome = await run(*arguments)  # type: ignore[arg-type]
        if not lost[0]:
            lost[0] += 1
            raise Unavailable("database_unavailable", "Cut off.")
        return outcome

    monkeypatch.setattr("kessai.sdk.workflow.engine.run_in_transaction", loses)
    assert await told(engine, rows_in_transactions, Order(order_id="o1", steps=1), "w1") == 2
    assert await rows(engines.database, EFFECTS) == [("o1-1", 1)]
    assert engines.world.attempts["w1:1"] == 1


async def test_an_executor_that_was_replaced_cannot_commit(engines: Engines) -> None:
    stalled = await engines.open(lease_s=60)
    engines.world.gate = asyncio.Event()
    order = Order(order_id="o1", steps=2)
    handle = await stalled.start(rows_in_transactions, order, workflow_id="w1")
    await eventually(lambda: engines.world.attempts["w1:2"])
    await engines.database.fetch(None, "DELETE FROM shop.lease")
    survivor = await engines.open()
    await eventually(lambda: survivor.counts.adopted)
    engines.world.gate.set()
    assert await told(survivor, rows_in_transactions, order, "w1") == 6
    assert await handle.result() == 6
    assert await rows(engines.database, EFFECTS) == [("o1-1", 1), ("o1-2", 1)]
