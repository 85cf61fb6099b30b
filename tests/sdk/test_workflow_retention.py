"""Retention: histories go first, by the week; ids much later; a reused id never replays a stale result."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kessai.sdk.workflow import Forgotten
from kessai.sdk.workflow.operate import Operator
from kessai.sdk.workflow.partitions import WEEKS_AHEAD, Week, make_ahead, weeks_of
from kessai.sdk.workflow.retention import Retention, Retired, retire
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import collector, tagged, three
from tests.sdk.shop.workflows import Order
from tests.sdk.story import told

ORDER = Order(order_id="o1", amount=5)
KEPT = Retention(history=timedelta(days=10), ids=timedelta(days=100))
TABLES = ("done", "log", "inbox", "answer", "attribute", "heartbeat", "fork", "stuck")


async def _left(engines: Engines) -> dict[str, int]:
    counts = {each: await rows(engines.database, f"SELECT count(*) FROM shop.workflow_{each}") for each in TABLES}
    return {each: count[0][0] for each, count in counts.items() if count[0][0]}


async def _retired(engines: Engines) -> Retired:
    return await retire(engines.database, "shop", engines.clock, KEPT)


async def _lie_in(engines: Engines, table: str = "done") -> dict[str, int]:
    """How many rows are in which partition."""
    query = f"SELECT tableoid::regclass::text, count(*) FROM shop.workflow_{table} GROUP BY 1"
    return {name.partition(f"workflow_{table}_")[2]: count for name, count in await rows(engines.database, query)}


@pytest.mark.parametrize("partitioned", [True, False], ids=["by-partition", "in-the-partition-for-the-rest"])
async def test_what_finished_long_ago_is_forgotten_in_two_steps(engines: Engines, *, partitioned: bool) -> None:
    if partitioned:
        await make_ahead(engines.database, "shop", engines.clock.now())
    engine = await engines.open()
    assert await told(engine, tagged, ORDER, "w1") == "o1"
    handle = await engine.start(collector, Order(order_id="o1", steps=1), workflow_id="w2")
    await engine.signal("w2", "yes", 1)
    await handle.result()
    assert (await _retired(engines)).histories == 0

    engines.clock.advance(timedelta(days=18))
    retired = await _retired(engines)
    assert (retired.histories, retired.ids, retired.postponed) == (2, 0, False)
    assert await _left(engines) == {}
    attached = await engine.attach(tagged, "w1")
    assert attached is not None
    with pytest.raises(Forgotten):
        await attached.result()
    assert await told(engine, tagged, ORDER, "w1") == "workflow_forgotten"
    assert await told(engine, tagged, Order(order_id="o2"), "w1") == "idempotency_key_reused"
    assert engines.world.attempts == {"w1:1": 1}

    engines.clock.advance(timedelta(days=90))
    assert (await _retired(engines)).ids == 2
    assert await engine.attach(tagged, "w1") is None
    assert await told(engine, tagged, Order(order_id="o2", amount=9), "w1") == "o2"
    assert await engine.search(order="o2") == ["w1"]


async def test_a_week_is_dropped_whole_and_the_next_ones_are_there_before_they_come(engines: Engines) -> None:
    await make_ahead(engines.database, "shop", engines.clock.now())
    engine = await engines.open()
    this = Week.of(engines.clock.now())
    assert await told(engine, three, ORDER, "w1") == 6
    assert await _lie_in(engines) == {f"{this.since:%Y%m%d}": 1}
    assert set(await _lie_in(engines, "log")) == {f"{this.since:%Y%m%d}"}
    assert len(await weeks_of(engines.database, "shop")) == WEEKS_AHEAD + 1

    engines.clock.advance(timedelta(days=21))
    assert await told(engine, three, ORDER, "w2") == 6
    over = [
        each for each in await weeks_of(engines.database, "shop") if each.until <= engines.clock.now() - KEPT.history
    ]
    assert await _retired(engines) == Retired(1, 0, weeks=len(over))
    assert set(await _lie_in(engines)) == {f"{Week.of(engines.clock.now()).since:%Y%m%d}"}
    assert (await weeks_of(engines.database, "shop"))[-1] == Week.of(engines.clock.now() + timedelta(days=28))


async def test_a_week_stays_while_a_workflow_that_began_in_it_is_open_and_its_journal_with_it(engines: Engines) -> None:
    await make_ahead(engines.database, "shop", engines.clock.now())
    engine = await engines.open()
    assert await told(engine, tagged, ORDER, "w1") == "o1"
    handle = await engine.start(collector, Order(order_id="o1", steps=2), workflow_id="w2")
    await engine.signal("w2", "yes", 1)
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_inbox WHERE consumed"))
    engines.clock.advance(timedelta(days=30))
    assert (await _retired(engines)).histories == 0
    await engine.crash()
    survivor = await engines.open()
    await eventually(lambda: survivor.counts.adopted)
    await survivor.signal("w2", "yes", 2)
    found = await survivor.attach(collector, "w2")
    assert found is not None
    assert await found.result() == ["yes1", "yes2"]
    assert handle.workflow_id == "w2"
    engines.clock.advance(timedelta(days=11))
    assert (await _retired(engines)).histories == 2
    assert await _left(engines) == {}


async def test_what_began_before_its_week_was_made_is_moved_into_it(engines: Engines) -> None:
    engine = await engines.open()
    await told(engine, three, ORDER, "w1")
    assert await _lie_in(engines) == {"rest": 1}
    assert await make_ahead(engines.database, "shop", engines.clock.now()) == WEEKS_AHEAD + 1
    this = f"{Week.of(engines.clock.now()).since:%Y%m%d}"
    assert await _lie_in(engines) == {this: 1}
    assert set(await _lie_in(engines, "log")) == {this}
    assert await told(engine, three, ORDER, "w1") == 6
    assert await make_ahead(engines.database, "shop", engines.clock.now()) == 0


async def test_a_fork_lies_beside_what_it_was_forked_from(engines: Engines) -> None:
    await make_ahead(engines.database, "shop", engines.clock.now())
    engine = await engines.open()
    await told(engine, three, ORDER, "w1")
    engines.clock.advance(timedelta(days=8))
    operator = Operator(engines.database, "shop", engines.clock)
    await operator.fork("w1", new_id="w9", keep_to="1", who="taro", why="try again")
    await eventually(lambda: _lie_in_has(engines, 2))
    assert len(await _lie_in(engines)) == 1


async def _lie_in_has(engines: Engines, count: int) -> bool:
    return sum((await _lie_in(engines)).values()) == count


async def test_retention_waits_for_no_long_reader(engines: Engines) -> None:
    await make_ahead(engines.database, "shop", engines.clock.now())
    engine = await engines.open()
    assert await told(engine, tagged, ORDER, "w1") == "o1"
    engines.clock.advance(timedelta(days=18))
    reader = await engines.database.connect(None)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT count(*) FROM shop.workflow_done")
            retired = await _retired(engines)
            assert (retired.postponed, retired.histories) == (True, 0)
    finally:
        await reader.close()
    assert (await _retired(engines)).histories == 1


def test_a_week_begins_on_monday_in_utc() -> None:
    week = Week.of(datetime(2026, 11, 22, 23, 59, tzinfo=UTC))
    assert (week.since, week.until) == (datetime(2026, 11, 16, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
    assert week.partition("workflow_done") == "workflow_done_20261116"


def test_an_id_is_kept_as_long_as_its_history() -> None:
    with pytest.raises(AssertionError):
        Retention(history=timedelta(days=10), ids=timedelta(days=9))
