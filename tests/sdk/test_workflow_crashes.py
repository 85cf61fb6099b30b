"""A workflow whose executor dies, stalls or loses its connection: another one carries it to the same end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kessai.foundation.db import LOST
from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Definition, Engine, Write
from kessai.sdk.workflow.testing import CrashAt
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.shop import INSERT
from tests.sdk.shop.workflows import (
    Order,
    Receipt,
    World,
    broken,
    buy,
    careful,
    declines,
    gives_up,
    saga,
    times,
    together,
)

FLUSHES_MAX = 12
KILLS = 20


def _refused(world: World) -> None:
    world.faults = {"3": [Refused("insufficient_funds", "No.")] * FLUSHES_MAX}


def _clear(world: World) -> None:
    world.faults = {}


STORIES: dict[str, tuple[Definition[World, Order, Any], Callable[[World], None], str, dict[int, int]]] = {
    "one activity": (buy, _clear, "PAID", {1: 1}),
    "a saga that ends well": (saga, _clear, "DONE", {1: 1, 2: 2, 3: 3}),
    "a saga that is refused": (saga, _refused, "insufficient_funds", {}),
    "activities at once": (together, _clear, "DONE", {1: 1, 2: 2, 3: 3}),
    "rows made visible": (careful, _clear, "DONE", {1: 1, 3: 8}),
    "undone by itself": (declines, _clear, "not_today", {}),
}


async def _outcome(engine: Engine[World], definition: Definition[World, Order, Any], order: Order, key: str) -> str:
    """As a client does it: the same request, until it is answered."""
    while True:
        try:
            handle = await engine.start(definition, order, workflow_id=key)
            return (await handle.result()).state
        except PaymentError as error:
            if not error.retryable:
                return error.code
            if engine.closing:
                return "crashed"


async def _told(engines: Engines, story: str, key: str, crash: CrashAt) -> str:
    """Begin on an executor that crashes, end on another."""
    definition, prepare, _, _ = STORIES[story]
    prepare(engines.world)
    order = Order(order_id=key)
    await engines.database.fetch(None, f"INSERT INTO shop.purchase VALUES ('{key}', 'NEW', 1)")
    doomed = await engines.open(hook=crash)
    survivor = await engines.open()
    first = await _outcome(doomed, definition, order, key)
    assert crash.crashed == (first == "crashed")
    last = await _outcome(survivor, definition, order, key)
    assert first in ("crashed", last)
    await doomed.close()
    await survivor.close()
    return last


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("story", STORIES)
async def test_a_crash_at_every_journal_boundary_comes_to_the_same_end(engines: Engines, story: str, when: Any) -> None:
    _, _, expected, effects = STORIES[story]
    for flush in range(1, FLUSHES_MAX):
        key, crash = f"w{flush}", CrashAt(flush, when)
        assert await _told(engines, story, key, crash) == expected
        made = {int(k.split(":")[1]): v for k, v in engines.world.effects.items() if k.startswith(key + ":")}
        assert made == effects
        undone = [int(k.split(":")[1]) for k in engines.world.undone if k.startswith(key + ":")]
        assert undone == sorted(undone, reverse=True)
        if not crash.crashed:
            break
    else:
        pytest.fail("the story is longer than was thought")
    assert flush > 2
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_open") == [(0,)]


async def test_open_workflows_are_adopted_without_being_asked_for(engines: Engines) -> None:
    doomed = await engines.open()
    engines.world.gate = asyncio.Event()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 1)")
    await doomed.start(buy, Order(order_id="o1"), workflow_id="w1")
    await engines.world.entered.wait()
    await doomed.crash()
    engines.world.gate.set()
    survivor = await engines.open()
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
    assert survivor.counts.adopted == 1
    assert await rows(engines.database, "SELECT state FROM shop.purchase") == [("PAID",)]


async def test_closing_leaves_what_is_open_to_the_next_executor_at_once(engines: Engines) -> None:
    first = await engines.open(lease_s=60)
    engines.world.gate = asyncio.Event()
    handle = await first.start(
        saga, Order(order_id="o1", steps=1), workflow_id="w1", writes=[Write(INSERT, ("o1", "N"))]
    )
    await first.close(grace_s=0.05)
    with pytest.raises(Unknown, match="workflow_interrupted"):
        await handle.result()
    engines.world.gate.set()
    second = await engines.open(lease_s=60)
    attached = await second.attach(saga, "w1")
    assert attached is not None
    assert (await attached.result()).state == "DONE"


async def test_a_stalled_executor_cannot_write_once_it_was_replaced(engines: Engines) -> None:
    stalled = await engines.open()
    engines.world.gate = asyncio.Event()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 1)")
    handle = await stalled.start(buy, Order(order_id="o1"), workflow_id="w1")
    before = stalled.journal
    before.lease.renew = _never_renewed  # type: ignore[method-assign]  # as if its process were stopped
    survivor = await engines.open()
    await eventually(lambda: survivor.counts.adopted)
    engines.world.gate.set()
    assert (await handle.result()).state == "PAID"
    await eventually(lambda: stalled.journal is not before and stalled.journal.lease.epoch)
    assert before.stopped
    assert await rows(engines.database, "SELECT state, version FROM shop.purchase") == [("PAID", 2)]
    again = await stalled.start(saga, Order(order_id="o2", steps=0), workflow_id="w2")
    assert (await again.result()).state == "DONE"


async def _never_renewed() -> bool:
    return True


@pytest.mark.parametrize("committed", [False, True])
async def test_a_connection_cut_during_a_commit_is_not_seen_by_the_code(engines: Engines, committed: bool) -> None:
    engine = await engines.open(hook=None)
    cuts = 0
    write = engine.journal._write  # pyright: ignore[reportPrivateUsage]

    async def cut(number: int, entries: list[Any]) -> Any:
        nonlocal cuts
        if number <= 3 and cuts < number:
            cuts += 1
            if committed:
                await write(number, entries)
            raise ConnectionResetError("cut")
        return await write(number, entries)

    engine.journal._write = cut  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    handle = await engine.start(
        saga, Order(order_id="o1", steps=2), workflow_id="w1", writes=[Write(INSERT, ("o1", "NEW"), guarded=True)]
    )
    assert (await handle.result()).state == "DONE"
    assert cuts == 3
    assert isinstance(ConnectionResetError(), LOST)
    assert engines.world.attempts == {"w1:1": 1, "w1:2": 1}
    assert await rows(engines.database, "SELECT state, version FROM shop.purchase") == [("STEP2", 3)]


async def test_backends_that_are_terminated_under_load_lose_and_double_nothing(engines: Engines) -> None:
    engine = await engines.open()

    async def kill() -> None:
        connection = await engines.database.connect(None)
        for _ in range(KILLS):
            await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await asyncio.sleep(0.03)
        await connection.close()

    async def one(n: int) -> str:
        order = Order(order_id=f"o{n}")
        writes = [Write(INSERT, (f"o{n}", "NEW"), guarded=True)]
        while True:
            try:
                return (await (await engine.start(buy, order, workflow_id=f"w{n}", writes=writes)).result()).state
            except Unavailable:
                await asyncio.sleep(0.01)

    killer = asyncio.create_task(kill())
    assert {await each for each in asyncio.as_completed([one(n) for n in range(200)])} == {"PAID"}
    await killer
    assert await rows(engines.database, "SELECT count(*), sum(version) FROM shop.purchase") == [(200, 400)]
    assert len(engines.world.effects) == 200


async def test_an_activity_cut_off_by_a_crash_is_not_taken_for_undone(engines: Engines) -> None:
    doomed = await engines.open()
    engines.world.gate = asyncio.Event()
    await doomed.start(gives_up, Order(order_id="o1", amount=1), workflow_id="w1")
    await engines.world.entered.wait()
    await doomed.crash()
    engines.world.gate.set()
    engines.world.faults = {"2": [Unavailable("away", "Away.")] * 2, "1": [Unavailable("away", "Away.")]}
    survivor = await engines.open()
    handle = await survivor.attach(gives_up, "w1")
    assert handle is not None
    with pytest.raises(Refused, match="gave_up"):
        await handle.result()


async def test_a_journal_that_tells_of_another_step_parks_and_shows_both(engines: Engines) -> None:
    doomed = await engines.open()
    engines.world.faults = {"2": [Unavailable("away", "Away.")] * 1000}
    writes = [Write(INSERT, ("o1", "NEW"))]
    handle = await doomed.start(saga, Order(order_id="o1"), workflow_id="w1", writes=writes)
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_log WHERE seq = 2"))
    await doomed.crash()
    await engines.database.fetch(None, "UPDATE shop.workflow_log SET name = 'reserve' WHERE kind = 1")
    survivor = await engines.open()
    with pytest.raises(Unknown):
        await handle.result()
    attached = await survivor.attach(saga, "w1")
    assert attached is not None
    with pytest.raises(Unknown, match="workflow_parked"):
        await attached.result()
    (parked,) = await survivor.parked()
    assert "recorded as reserve#" in parked.error
    assert "calls take#" in parked.error
    assert survivor.counts.parked == 1
    engines.world.faults = {}
    await engines.database.fetch(None, "UPDATE shop.workflow_log SET name = 'take' WHERE kind = 1")
    assert await survivor.unpark("w1")
    assert not await survivor.unpark("w1")
    assert (await attached.result()).state == "DONE"
    assert await rows(engines.database, "SELECT state, version FROM shop.purchase") == [("STEP3", 4)]


async def test_a_workflow_that_this_program_does_not_know_is_parked(engines: Engines) -> None:
    doomed = await engines.open()
    engines.world.gate = asyncio.Event()
    await doomed.start(buy, Order(order_id="o1"), workflow_id="w1")
    await doomed.crash()
    await engines.database.fetch(None, "UPDATE shop.workflow_open SET version = 7")
    survivor = await engines.open()
    await eventually(lambda: survivor.parked())
    assert "no workflow shop.buy of version 7" in (await survivor.parked())[0].error


async def test_a_bug_parks_the_workflow_and_loses_nothing(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.factor = 0
    handle = await engine.start(broken, Order(order_id="o1"), workflow_id="w1")
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    assert engines.world.undone == []
    assert "ZeroDivisionError" in (await engine.parked())[0].error
    engines.world.factor = 1
    assert await engine.unpark("w1")
    again = await engine.start(broken, Order(order_id="o1"), workflow_id="w1")
    assert await again.result() == Receipt(order_id="o1", state="PAID", parts=(0,))
    assert engines.world.attempts == {"w1:1": 1}


async def test_business_time_is_the_same_after_a_recovery(engines: Engines) -> None:
    doomed = await engines.open(hook=CrashAt(3, "before"))
    handle = await doomed.start(times, Order(order_id="o1"), workflow_id="w1")
    with pytest.raises(Unknown):
        await handle.result()
    recorded = await rows(engines.database, "SELECT recorded_at FROM shop.workflow_log")
    started = await rows(engines.database, "SELECT started_at FROM shop.workflow_open")
    survivor = await engines.open()
    attached = await survivor.attach(times, "w1")
    assert attached is not None
    assert (await attached.result())[:2] == [started[0][0].isoformat(), recorded[0][0].isoformat()]
