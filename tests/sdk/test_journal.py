"""The journal's flush: one statement, refused whole when a guard does not hold, and certain after a lost answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Refused
from kessai.sdk.workflow import Conflicted, Engine, Write
from kessai.sdk.workflow.journal import Journal
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.shop import INSERT
from tests.sdk.shop.workflows import Order, Receipt, World, buy, saga

LONG_LEASE_S = 60.0
"""Nobody renews during a test, so that only flushes wait for the lease's row."""
WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def _order(key: str) -> tuple[Order, list[Write]]:
    return Order(order_id=key), [Write(INSERT, (key, "NEW"), guarded=True)]


async def _buy(engine: Engine[World], key: str, *, of: str | None = None) -> Receipt:
    """What a service does; `of` names other content's rows than the id's own."""
    order, _ = _order(key)
    _, writes = _order(of or key)
    handle = await engine.start(buy, order, workflow_id=f"w-{key}", writes=writes)
    return await handle.result()


@asynccontextmanager
async def _held(database: Database, engine: Engine[World]) -> AsyncGenerator[Connection]:
    """Flushes of this executor begin, and wait for the row of their lease, after their snapshot was taken."""
    connection = await database.connect(None)
    try:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute("SELECT 1 FROM shop.lease WHERE name = $1 FOR UPDATE", engine.journal.lease.name)
            yield connection
    finally:
        await connection.close()


async def _is_waiting(database: Database, number: int = 1) -> bool:
    return len(await rows(database, WAITING)) == number


class _Statements:
    """Counts what a journal sends in its flushes."""

    def __init__(self, journal: Journal) -> None:
        self.count = 0
        self._journal = journal
        connection = journal._connection  # pyright: ignore[reportPrivateUsage]  (what is sent is the point)
        assert connection is not None
        connection.add_query_logger(self._seen)

    def _seen(self, record: Any) -> None:
        self.count += 1


# -- one statement ----------------------------------------------------------------------------------------------


async def test_a_flush_is_one_statement(engines: Engines) -> None:
    engine = await engines.open(lease_s=LONG_LEASE_S)
    await _buy(engine, "first")
    statements, flushes = _Statements(engine.journal), engine.journal.flushes
    await asyncio.gather(*(_buy(engine, f"o{n}") for n in range(8)))
    assert statements.count == engine.journal.flushes - flushes == 2


async def test_a_start_that_is_taken_leaves_its_neighbours_alone(engines: Engines) -> None:
    first, second = await engines.open(), await engines.open()
    await _buy(first, "taken")
    engines.world.gate = asyncio.Event()
    await first.start(buy, _order("open")[0], workflow_id="w-open", writes=_order("open")[1])
    flushes = second.journal.flushes
    asked = [asyncio.create_task(_buy(second, key)) for key in ("o1", "taken", "o2", "open", "o3")]
    await eventually(lambda: second.open_runs == 3)
    assert second.journal.flushes == flushes + 1
    engines.world.gate.set()
    assert {(await each).state for each in asked} == {"PAID"}
    assert await rows(engines.database, "SELECT count(*), max(version) FROM shop.purchase") == [(5, 2)]


async def test_a_guard_that_does_not_match_fails_alone_among_its_neighbours(engines: Engines) -> None:
    engine = await engines.open()
    await _buy(engine, "there")
    asked = [_buy(engine, key, of=row) for key, row in (("o1", None), ("o2", "there"), ("o3", None))]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [getattr(each, "state", type(each)) for each in told] == ["PAID", Conflicted, "PAID"]
    assert await rows(engines.database, "SELECT workflow_id FROM shop.workflow_taken ORDER BY 1") == [
        ("w-o1",), ("w-o3",), ("w-there",)
    ]  # fmt: skip


async def test_nothing_of_a_refused_flush_is_written(engines: Engines) -> None:
    engine = await engines.open()
    await _buy(engine, "there")
    with pytest.raises(Conflicted):
        await _buy(engine, "other", of="there")
    for table in ("workflow_open", "workflow_taken", "workflow_done"):
        assert await rows(engines.database, f"SELECT 1 FROM shop.{table} WHERE workflow_id = 'w-other'") == []


async def test_the_database_refuses_a_token_whose_guards_do_not_hold(engines: Engines) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="workflow_flush_verified"):
        await engines.database.fetch(
            None,
            "INSERT INTO shop.workflow_flush (executor_id, number, expected, verified)"
            " VALUES ('e', 1, '{1,2}', '{2,1}')",
        )


# -- the same id in two processes ---------------------------------------------------------------------------------


async def test_a_workflow_finished_elsewhere_while_its_second_start_was_under_way_is_found(engines: Engines) -> None:
    late, quick = await engines.open(lease_s=LONG_LEASE_S), await engines.open(lease_s=LONG_LEASE_S)
    await asyncio.gather(_buy(late, "warm"), _buy(quick, "warm too"))
    async with _held(engines.database, late):
        second = asyncio.create_task(_buy(late, "o1", of="late row"))
        await eventually(lambda: _is_waiting(engines.database))  # its snapshot knows nothing of the id
        first = await _buy(quick, "o1")
        assert await rows(engines.database, "SELECT 1 FROM shop.workflow_open") == []
    assert await second == first
    assert engines.world.attempts["w-o1:1"] == 1
    assert await rows(engines.database, "SELECT version FROM shop.purchase WHERE order_id = 'o1'") == [(2,)]
    assert await rows(engines.database, "SELECT 1 FROM shop.purchase WHERE order_id = 'late row'") == []


async def test_a_workflow_that_is_open_elsewhere_is_attached_to(engines: Engines) -> None:
    late, quick = await engines.open(lease_s=LONG_LEASE_S), await engines.open(lease_s=LONG_LEASE_S)
    await asyncio.gather(_buy(late, "warm"), _buy(quick, "warm too"))
    engines.world.gate = asyncio.Event()
    async with _held(engines.database, late):
        second = asyncio.create_task(_buy(late, "o1"))
        await eventually(lambda: _is_waiting(engines.database))
        first = asyncio.create_task(_buy(quick, "o1"))
        await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_open"))
    engines.world.gate.set()
    assert await first == await second
    assert engines.world.attempts["w-o1:1"] == 1


async def test_many_processes_start_the_same_ids_at_once_and_each_runs_once(engines: Engines) -> None:
    three = [await engines.open() for _ in range(3)]
    asked = [_buy(engine, f"o{n}") for n in range(40) for engine in three]
    assert {each.state for each in await asyncio.gather(*asked)} == {"PAID"}
    assert set(engines.world.attempts.values()) == {1}
    assert await rows(engines.database, "SELECT count(*), sum(version) FROM shop.purchase") == [(40, 80)]
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_open") == [(0,)]


async def test_a_refusal_stored_elsewhere_comes_back_to_a_start_that_was_under_way(engines: Engines) -> None:
    late, quick = await engines.open(lease_s=LONG_LEASE_S), await engines.open(lease_s=LONG_LEASE_S)
    await _buy(late, "warm")
    engines.world.faults = {"1": [Refused("insufficient_funds", "No.")]}
    async with _held(engines.database, late):
        second = asyncio.create_task(_buy(late, "o1", of="late row"))
        await eventually(lambda: _is_waiting(engines.database))
        with pytest.raises(Refused, match="insufficient_funds"):
            await _buy(quick, "o1")
    with pytest.raises(Refused, match="insufficient_funds"):
        await second
    assert engines.world.attempts["w-o1:1"] == 1


# -- tokens are swept -------------------------------------------------------------------------------------------


async def test_tokens_go_and_ids_stay_taken(engines: Engines) -> None:
    engine = await engines.open(lease_s=LONG_LEASE_S)
    await _buy(engine, "old")
    await _buy(engine, "new")
    await engine.journal.forget_old_tokens()
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_flush") == [(1,)]
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_taken") == [(2,)]
    handle = await engine.start(buy, _order("old")[0], workflow_id="w-old")
    assert handle.replayed


# -- a lost answer --------------------------------------------------------------------------------------------------


async def test_a_flush_whose_connection_was_cut_can_not_come_through_later(engines: Engines) -> None:
    engine = await engines.open(lease_s=LONG_LEASE_S)
    await _buy(engine, "warm")
    journal = engine.journal
    async with _held(engines.database, engine):
        asked = asyncio.create_task(_buy(engine, "o1"))
        await eventually(lambda: _is_waiting(engines.database))
        assert journal._connection is not None  # pyright: ignore[reportPrivateUsage]
        journal._connection.terminate()  # pyright: ignore[reportPrivateUsage]  (the backend does not notice)
        await eventually(lambda: _is_waiting(engines.database, 2))  # sent again, beside the one that was cut off
    assert (await asked).state == "PAID"
    await eventually(lambda: _is_waiting(engines.database, 0))
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_flush WHERE void") == [(1,)]
    assert await rows(engines.database, "SELECT version FROM shop.purchase WHERE order_id = 'o1'") == [(2,)]
    assert engines.world.attempts["w-o1:1"] == 1


async def test_a_flush_that_came_through_unheard_is_not_written_again(engines: Engines) -> None:
    engine = await engines.open(lease_s=LONG_LEASE_S)
    journal, write = engine.journal, engine.journal._write  # pyright: ignore[reportPrivateUsage]

    async def unheard(number: int, entries: list[Any]) -> None:
        await write(number, entries)
        raise ConnectionResetError("cut")

    journal._write = unheard  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    order = Order(order_id="o1", steps=2)
    handle = await engine.start(saga, order, workflow_id="w1", writes=_order("o1")[1])
    assert (await handle.result()).state == "DONE"
    assert await rows(engines.database, "SELECT state, version FROM shop.purchase") == [("STEP2", 3)]
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_flush WHERE void") == [(0,)]
