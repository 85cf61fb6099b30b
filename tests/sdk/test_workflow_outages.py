"""Answers of the database that are lost: nothing that was done is told as not done, and nothing is left to nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from asyncpg.transaction import Transaction

from kessai.foundation.db import Connection, Database, writes
from kessai.foundation.errors import Refused, Unavailable, Unknown
from kessai.foundation.lease import Lease
from kessai.sdk.workflow import Alert, Engine, Queue, StartUnknown, Workflow, define
from kessai.sdk.workflow.messages import MessageKind
from kessai.sdk.workflow.operate import Operator
from kessai.sdk.workflow.store import Adopted, Store
from kessai.sdk.workflow.timers import REBUILT_FROM, Timers
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import errand_child, three
from tests.sdk.shop.workflows import Order, World
from tests.sdk.story import told

ORDER = Order(order_id="o1", amount=5)
LAPSE = "UPDATE shop.lease SET lease_until = '2000-01-01'"
OPEN = "SELECT workflow_id, executor_id FROM shop.workflow_open"


class CommitCut:
    """Cuts the connection after a commit was carried out and before its answer, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
        self.left = times
        commit: Callable[[Any], Awaitable[None]] = vars(Transaction)["_Transaction__commit"]

        async def cut(transaction: Any) -> None:
            await commit(transaction)
            if self.left:
                self.left -= 1
                raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

        monkeypatch.setattr(Transaction, "_Transaction__commit", cut)


# -- the database -------------------------------------------------------------------------------------------------


async def _effect(connection: Connection) -> None:
    await connection.execute("INSERT INTO shop.effect (event_id, count) VALUES ('x', 1)")


async def test_a_commit_whose_answer_was_lost_is_unknown(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    CommitCut(monkeypatch)
    with pytest.raises(Unknown, match="commit_unknown"):
        await shop.transaction("kessai_shop", _effect)
    assert await rows(shop, "SELECT event_id FROM shop.effect") == [("x",)]


async def test_a_connection_lost_before_the_commit_is_unavailable(shop: Database) -> None:
    async def cut(connection: Connection) -> None:
        await _effect(connection)
        raise asyncpg.ConnectionDoesNotExistError("cut")

    with pytest.raises(Unavailable, match="database_unavailable"):
        await shop.transaction("kessai_shop", cut)
    assert await rows(shop, "SELECT event_id FROM shop.effect") == []


async def test_a_statement_that_was_cut_off_is_unknown_only_when_it_changes_rows(shop: Database) -> None:
    end = "SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(Unavailable):
        await shop.fetch(None, end)
    with pytest.raises(Unknown, match="commit_unknown"):
        await shop.fetch(None, f"WITH gone AS ({end}) INSERT INTO shop.effect SELECT 'y', 1 FROM gone")
    assert not writes("SELECT 1 FROM shop.lease FOR UPDATE")
    assert writes("WITH a AS (DELETE FROM shop.lease RETURNING name) SELECT name FROM a")
    assert writes("UPDATE shop.lease AS l SET epoch = 1")


# -- starts -------------------------------------------------------------------------------------------------------


async def _replaced_meanwhile(engines: Engines, stalled: Engine[World], *, forgets: bool) -> None:
    """The next flush is committed, the connection cut, and another executor has the work before it is back."""
    other = await engines.open()
    journal = stalled.journal
    write = journal._write  # pyright: ignore[reportPrivateUsage]

    async def cut(number: int, entries: Any) -> None:
        await write(number, entries)
        journal._write = write  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
        await engines.database.fetch(None, f"{LAPSE} WHERE holder = $1", journal.lease.holder)
        other._scan.set()  # pyright: ignore[reportPrivateUsage]
        await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
        if forgets:
            await engines.database.fetch(None, "DELETE FROM shop.workflow_flush")
        raise ConnectionResetError("cut")

    journal._write = cut  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("forgets", [False, True], ids=["with-its-token", "without"])
async def test_a_start_that_another_executor_finished_is_joined(engines: Engines, forgets: bool) -> None:
    stalled = await engines.open(lease_s=30.0)
    await _replaced_meanwhile(engines, stalled, forgets=forgets)
    handle = await stalled.start(errand_child, ORDER, workflow_id="w1")
    assert await handle.result() == 5
    assert len(engines.world.effects) == 1


async def test_a_start_in_doubt_is_unknown_and_never_unavailable(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    stalled = await engines.open(lease_s=30.0)
    await _replaced_meanwhile(engines, stalled, forgets=True)

    async def away(_self: Store, _workflow_id: str) -> None:
        raise Unavailable("database_unavailable", "Away.")

    monkeypatch.setattr(Store, "find", away)
    with pytest.raises(StartUnknown):
        await stalled.start(errand_child, ORDER, workflow_id="w1")


async def test_an_executor_that_stops_while_a_start_is_on_its_way_does_not_deny_it(engines: Engines) -> None:
    engine = await engines.open()
    journal, sent, gate = engine.journal, asyncio.Event(), asyncio.Event()
    write = journal._write  # pyright: ignore[reportPrivateUsage]

    async def slow(number: int, entries: Any) -> None:
        sent.set()
        await gate.wait()
        await write(number, entries)

    journal._write = slow  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    start = asyncio.create_task(engine.start(errand_child, ORDER, workflow_id="w1"))
    await sent.wait()
    closing = asyncio.create_task(engine.close(grace_s=0))
    with pytest.raises(StartUnknown):
        await start
    gate.set()
    await closing
    assert await told(await engines.open(), errand_child, ORDER, "w1") == 5


async def test_an_outcome_that_cannot_be_looked_up_is_unknown(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await engines.open()
    await (await engine.start(errand_child, ORDER, workflow_id="w1")).result()
    handle = await engine.attach(errand_child, "w1")
    assert handle is not None
    handle._found = handle._run = None  # pyright: ignore[reportPrivateUsage]

    async def away(_workflow_id: str) -> None:
        raise Unavailable("database_unavailable", "Away.")

    monkeypatch.setattr(engine, "find", away)
    with pytest.raises(Unknown, match="workflow_interrupted"):
        await handle.result()


@define("outages.bug", version=1)
async def bug(wf: Workflow[World], order: Order) -> int:
    await wf.activity(_raises, order)
    return 1


async def _raises(_activity: Any, _order: Order) -> None:
    raise ValueError("a bug, with a character that no text column takes: \x00")


async def test_who_asks_again_for_what_is_parked_is_told_so(engines: Engines) -> None:
    engine = await engines.open()
    assert await told(engine, bug, ORDER, "w1") == "workflow_parked"
    with pytest.raises(Unknown, match="workflow_parked"):
        await engine.start(bug, ORDER, workflow_id="w1", conflict="refuse")


# -- what was adopted, woken, claimed or taken without hearing of it ----------------------------------------------


@pytest.mark.parametrize("lost", ["commit", "journals"])
async def test_what_was_adopted_without_hearing_of_it_is_taken_up(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    first = await engines.open()
    engines.world.gate = asyncio.Event()
    await first.start(errand_child, ORDER, workflow_id="w1")
    await engines.world.entered.wait()
    await first.crash()
    engines.world.gate.set()
    await engines.database.fetch(None, LAPSE)
    losses = 0
    adopt, with_logs = Store.adopt, Store._with_logs  # pyright: ignore[reportPrivateUsage]

    async def deaf(store: Store, lease: Lease) -> list[Adopted]:
        nonlocal losses
        adopted = await adopt(store, lease)
        losses += bool(adopted)
        if adopted and losses == 1:
            raise Unknown("commit_unknown", "Lost.")
        return adopted

    async def blind(store: Store, found: list[Any]) -> list[Adopted]:
        nonlocal losses
        losses += bool(found)
        if found and losses == 1:
            raise Unavailable("database_unavailable", "Away.")
        return await with_logs(store, found)

    if lost == "commit":
        monkeypatch.setattr(Store, "adopt", deaf)
    else:
        monkeypatch.setattr(Store, "_with_logs", blind)
    second = Engine(engines.database, service="shop", deps=engines.world, clock=engines.clock, lease_s=0.4)
    engines.opened.append(second)
    with pytest.raises((Unknown, Unavailable)):
        await second._take_lease() or await second._adopt()  # type: ignore[func-returns-value]  # pyright: ignore[reportPrivateUsage]
    assert [each for _, each in await rows(engines.database, OPEN)] == [second.journal.lease.holder]
    await second._adopt()  # pyright: ignore[reportPrivateUsage]
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
    assert losses == (1 if lost == "commit" else 2)
    assert len(engines.world.effects) == 1


async def test_what_is_open_under_a_living_executor_and_carried_by_no_task_is_taken_up(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(errand_child, ORDER, workflow_id="w1")
    await engines.world.entered.wait()
    run = engine.run_of("w1")
    assert run is not None
    run.leave()  # whatever the reason: nothing of it is in memory, and its row is still ours
    engine._tasks[run].cancel()  # pyright: ignore[reportPrivateUsage]
    engines.world.gate.set()
    assert await handle.result() == 5
    assert (engine.counts.adopted, engine.counts.replaced) == (1, 0)


async def test_what_runs_is_never_taken_for_a_stray(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    await engine.start(errand_child, ORDER, workflow_id="w1")
    await engines.world.entered.wait()
    run = engine.run_of("w1")
    await engine._take_up_strays()  # pyright: ignore[reportPrivateUsage]
    assert engine.run_of("w1") is run
    assert engine.counts.adopted == 0


async def test_a_claim_whose_answer_was_lost_is_made_again(engines: Engines) -> None:
    queue = Queue(name="errands")
    engine = await engines.open(queues=[queue])
    await engine.queues.close()
    await engine.enqueue("errands", errand_child, ORDER, workflow_id="w1")
    holder = engine.journal.lease.holder
    await engines.database.fetch(None, "UPDATE shop.workflow_queued SET executor_id = $1", holder)
    await engine.queues.open()
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_done"))
    assert engines.world.attempts == {"w1:1": 1}


@define("outages.waits", version=1)
async def waits(wf: Workflow[World], _order: Order) -> str:
    return await wf.receive("answer", str)


async def test_a_message_that_was_marked_as_seen_and_never_came_is_taken_again(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await engines.open()
    handle = await engine.start(waits, ORDER, workflow_id="w1")
    messages, losses = engine._messages, 0  # pyright: ignore[reportPrivateUsage]

    async def lost(adopted: list[str]) -> Any:
        nonlocal losses
        found = await messages(adopted)
        losses += bool(found)
        if found and losses == 1:
            raise Unknown("commit_unknown", "Lost.")
        return found

    monkeypatch.setattr(engine, "_messages", lost)
    await Operator(engines.database, "shop", engines.clock).send("w1", MessageKind.SIGNAL, "answer", "yes")
    assert await handle.result() == "yes"
    assert losses == 2


# -- undoing ------------------------------------------------------------------------------------------------------


async def test_what_is_away_for_long_does_not_park_an_undoing(engines: Engines) -> None:
    alerts: list[Alert] = []
    engine = await engines.open(alert=alerts.append, compensation_attempts=3)
    engines.world.faults = {"2": [Refused("no", "No.")], "undo": [Unavailable("away", "Away."), Unknown("?", "?")] * 3}
    assert await told(engine, three, ORDER, "w1") == "no"
    assert engine.counts.compensation_failures == 6
    assert [(each.workflow_id, each.compensating, each.parked) for each in alerts] == [("w1", True, False)]
    assert engines.world.effects == {}


# -- memory -------------------------------------------------------------------------------------------------------


async def test_a_signal_that_nobody_waits_for_does_not_keep_waking_what_rests(engines: Engines) -> None:
    engine = await engines.open(rest_after_s=0.05)
    handle = await engine.start(waits, ORDER, workflow_id="w1")
    await engine.signal("w1", "other", "nobody waits for this one")
    await eventually(lambda: engine.counts.rested >= 1)
    before = engine.journal.lease.renewed_at
    await eventually(lambda: engine.journal.lease.renewed_at > before + 2)  # several looks later
    assert engine.counts.woken == 0
    await engine.signal("w1", "answer", "yes")
    assert await handle.result() == "yes"


async def test_a_message_that_met_nobody_wakes_what_had_just_left(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await engines.open(rest_after_s=0.05)
    store = engine._store  # pyright: ignore[reportPrivateUsage]
    rest, operator = store.rest, Operator(engines.database, "shop", engines.clock)

    async def overtaken(holder: str, until: Mapping[str, datetime], now: datetime) -> None:
        if not engine.counts.woken:
            await operator.send("w1", MessageKind.SIGNAL, "answer", "yes", "m1")
            await engine._take_messages()  # pyright: ignore[reportPrivateUsage]
        await rest(holder, until, now)

    monkeypatch.setattr(store, "rest", overtaken)
    handle = await engine.start(waits, ORDER, workflow_id="w1")
    assert await handle.result() == "yes"


async def test_timers_that_were_answered_early_are_forgotten(engines: Engines) -> None:
    timers, loop = Timers(engines.clock, lambda: False), asyncio.get_running_loop()
    at = engines.clock.now().replace(year=engines.clock.now().year + 1)
    for _ in range(20 * REBUILT_FROM):
        future = loop.create_future()
        timers.add(at, future)
        future.set_result(None)
    assert len(timers._heap) <= REBUILT_FROM  # pyright: ignore[reportPrivateUsage]
    await timers.close()
