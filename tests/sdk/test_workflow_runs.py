"""A workflow that runs without faults of its executor: its rows, its outcomes, its idempotency."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from kessai.foundation.call import Call, enter_call
from kessai.foundation.errors import Invalid, KeyReused, Refused, RequestInProgress, Unavailable, Unknown
from kessai.sdk.workflow import Conflicted, Publish, Write
from tests.sdk.conftest import Engines, rows
from tests.sdk.shop import INSERT
from tests.sdk.shop.workflows import (
    Order,
    Receipt,
    buy,
    careful,
    declines,
    gives_up,
    patient,
    saga,
    times,
    together,
)

ORDER = Order(order_id="o1", amount=5)
NEW = Write(INSERT, ("o1", "NEW"), guarded=True)


async def test_a_workflow_with_one_activity_costs_two_flushes(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    assert await handle.result() == Receipt(order_id="o1", state="PAID", parts=(5,))
    assert engine.journal.flushes == 2
    assert not handle.replayed
    assert await rows(engines.database, "SELECT order_id, state, version FROM shop.purchase") == [("o1", "PAID", 2)]
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_open") == [(0,)]
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_log") == [(0,)]
    assert await rows(engines.database, "SELECT workflow_id, failed FROM shop.workflow_done") == [("w1", False)]


async def test_a_start_is_durable_with_its_rows_before_it_returns(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    assert await rows(engines.database, "SELECT state FROM shop.purchase") == [("NEW",)]
    assert await rows(engines.database, "SELECT name FROM shop.workflow_open") == [("shop.buy",)]
    engines.world.gate.set()
    await handle.result()


async def test_the_same_id_and_content_replays_the_stored_result(engines: Engines) -> None:
    engine = await engines.open()
    first = await (await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])).result()
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    assert handle.replayed
    assert await handle.result() == first
    assert engines.world.attempts == {"w1:1": 1}


async def test_the_same_id_with_other_content_is_refused(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    with pytest.raises(KeyReused):
        await engine.start(buy, Order(order_id="o2"), workflow_id="w1")
    engines.world.gate.set()
    await handle.result()
    with pytest.raises(KeyReused):
        await engine.start(buy, Order(order_id="o2"), workflow_id="w1")
    with pytest.raises(KeyReused):
        await engine.start(saga, ORDER, workflow_id="w1")


async def test_content_may_be_named_apart_from_the_request(engines: Engines) -> None:
    engine = await engines.open()
    await (await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW], content="asked")).result()
    handle = await engine.start(buy, Order(order_id="o2"), workflow_id="w1", content="asked")
    assert (await handle.result()).order_id == "o1"


async def test_an_open_id_is_in_progress_or_attached_to(engines: Engines) -> None:
    engine = await engines.open()
    elsewhere = await engines.open()
    engines.world.gate = asyncio.Event()
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    for each in (engine, elsewhere):
        with pytest.raises(RequestInProgress):
            await each.start(buy, ORDER, workflow_id="w1", conflict="refuse")
    attached = [await each.start(buy, ORDER, workflow_id="w1") for each in (engine, elsewhere)]
    engines.world.gate.set()
    results = await asyncio.gather(*(each.result() for each in (handle, *attached)))
    assert [each.state for each in results] == ["PAID"] * 3
    assert engines.world.attempts == {"w1:1": 1}


async def test_many_callers_of_one_id_in_two_processes_start_it_once(engines: Engines) -> None:
    both = [await engines.open(), await engines.open()]

    async def one(n: int) -> Receipt:
        handle = await both[n % 2].start(buy, ORDER, workflow_id=f"w{n // 8}", writes=[])
        return await handle.result()

    engines.world.faults = {}
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 1)")
    results = await asyncio.gather(*(one(n) for n in range(8)))
    assert {each.state for each in results} == {"PAID"}
    assert engines.world.attempts == {"w0:1": 1}


async def test_a_caller_that_goes_away_does_not_stop_the_work(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()

    async def call() -> None:
        await (await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])).result()

    caller = asyncio.create_task(call())
    await engines.world.entered.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    engines.world.gate.set()
    handle = await engine.attach(buy, "w1")
    assert handle is not None
    assert (await handle.result()).state == "PAID"


async def test_a_look_up_compares_the_content_and_starts_nothing(engines: Engines) -> None:
    engine, other = await engines.open(), Order(order_id="o2")
    assert await engine.attach(buy, "w1", content=ORDER) is None
    engines.world.gate = asyncio.Event()
    started = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    await engines.world.entered.wait()
    with pytest.raises(RequestInProgress):
        await engine.attach(buy, "w1", content=ORDER, conflict="refuse")
    with pytest.raises(KeyReused):
        await engine.attach(buy, "w1", content=other)
    engines.world.gate.set()
    receipt = await started.result()

    handle = await (await engines.open()).attach(buy, "w1", content=ORDER, conflict="refuse")
    assert handle is not None
    assert handle.replayed
    assert await handle.result() == receipt
    with pytest.raises(KeyReused):
        await engine.attach(buy, "w1", content=other, conflict="refuse")
    assert engines.world.attempts == {"w1:1": 1}


async def test_a_guarded_row_that_does_not_match_starts_nothing_and_harms_no_neighbour(engines: Engines) -> None:
    engine = await engines.open()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o3', 'NEW', 1)")

    async def one(n: int) -> str:
        order = Order(order_id=f"o{n}")
        try:
            handle = await engine.start(
                buy, order, workflow_id=f"w{n}", writes=[Write(INSERT, (f"o{n}", "NEW"), guarded=True)]
            )
        except Conflicted:
            return "conflicted"
        return (await handle.result()).state

    assert await asyncio.gather(*(one(n) for n in range(8))) == ["PAID"] * 3 + ["conflicted"] + ["PAID"] * 4
    assert await rows(engines.database, "SELECT count(*) FROM shop.workflow_done") == [(7,)]
    assert await engine.attach(buy, "w3") is None


async def test_a_refusal_is_stored_and_replayed_with_its_class_and_details(engines: Engines) -> None:
    engine = await engines.open()
    for expected in (False, True):
        handle = await engine.start(declines, ORDER, workflow_id="w1", writes=[NEW])
        assert handle.replayed is expected
        with pytest.raises(Refused, match="not_today") as caught:
            await handle.result()
        assert caught.value.details == {"order_id": "o1"}
    assert engines.world.undone == ["w1:1"]
    assert await rows(engines.database, "SELECT state FROM shop.purchase") == [("REFUSED",)]


async def test_a_refusal_undoes_in_reverse_order(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"3": [Refused("insufficient_funds", "No.")], "undo": [Unavailable("away", "Away.")] * 3}
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=[NEW])
    with pytest.raises(Refused, match="insufficient_funds"):
        await handle.result()
    assert engines.world.undone == ["w1:2", "w1:1"]
    assert engines.world.effects == {}
    assert engine.counts.compensation_failures == 3


async def test_retryable_errors_are_tried_again_under_the_same_key(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"1": [Unavailable("away", "Away."), Unknown("lost", "Lost."), RequestInProgress()]}
    handle = await engine.start(buy, ORDER, workflow_id="w1", writes=[NEW])
    assert (await handle.result()).state == "PAID"
    assert engines.world.attempts == {"w1:1": 4}
    assert engines.world.effects == {"w1:1": 5}


async def test_an_activity_calls_other_doors_with_a_key_of_its_own(engines: Engines) -> None:
    engine = await engines.open()
    enter_call(Call(request_key="f" * 32))
    await (await engine.start(saga, ORDER, workflow_id="w1", writes=[NEW])).result()
    keys = engines.world.request_keys
    assert len(set(keys.values())) == 3
    assert all(key is not None and len(key) == 32 and key != "f" * 32 for key in keys.values())


async def test_past_the_deadline_nothing_done_is_told_from_unknown(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"1": [Unavailable("away", "Away.")] * 1000}
    nothing = await engine.start(patient, ORDER, workflow_id="w1")
    assert (await nothing.result()).state == "away"
    engines.world.faults = {"1": [Unknown("lost", "Lost."), *[Unavailable("away", "Away.")] * 1000]}
    unknown = await engine.start(patient, ORDER, workflow_id="w2")
    assert (await unknown.result()).state == "outcome_unknown"
    engines.world.gate = asyncio.Event()
    cut_off = await engine.start(patient, ORDER, workflow_id="w3")
    assert (await cut_off.result()).state == "attempt_timed_out"


async def test_giving_up_undoes_everything_and_is_stored_as_a_refusal(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2": [Unavailable("away", "Away.")] * 2}
    handle = await engine.start(gives_up, ORDER, workflow_id="w1")
    with pytest.raises(Refused, match="gave_up"):
        await handle.result()
    assert engines.world.undone == ["w1:1"]
    assert engines.world.effects == {}


async def test_an_unknown_outcome_that_cannot_be_undone_parks(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2": [Unknown("lost", "Lost.")] * 1000}
    handle = await engine.start(gives_up, ORDER, workflow_id="w1")
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    (parked,) = await engine.parked()
    assert "unknown" in parked.error
    assert engines.world.undone == []


async def test_activities_at_the_same_time_keep_their_own_keys(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(together, Order(order_id="o1", steps=5), workflow_id="w1")
    assert (await handle.result()).parts == (1, 2, 3, 4, 5)
    assert engines.world.effects == {f"w1:{n}": n for n in range(1, 6)}


async def test_rows_made_visible_in_between_that_do_not_match_are_told_to_the_code(engines: Engines) -> None:
    engine = await engines.open()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 1), ('o2', 'NEW', 1)")
    done = await engine.start(careful, Order(order_id="o1"), workflow_id="w1")
    assert (await done.result()).state == "DONE"
    engines.world.gate = asyncio.Event()
    conflicted = await engine.start(careful, Order(order_id="o2"), workflow_id="w2")
    await engines.database.fetch(None, "UPDATE shop.purchase SET version = 9 WHERE order_id = 'o2'")
    engines.world.gate.set()
    assert (await conflicted.result()).state == "CONFLICTED"
    assert await rows(engines.database, "SELECT order_id, state FROM shop.purchase ORDER BY order_id") == [
        ("o1", "STEP2"),
        ("o2", "STEP1"),
        ("o2-conflict", "SEEN"),
    ]


async def test_last_rows_that_do_not_match_undo_what_can_be_undone_and_park_what_cannot(engines: Engines) -> None:
    engine = await engines.open()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 9)")
    undone = await engine.start(saga, Order(order_id="o1", steps=1), workflow_id="w1")
    with pytest.raises(Conflicted):
        await undone.result()
    assert engines.world.undone == ["w1:1"]
    stuck = await engine.start(buy, ORDER, workflow_id="w2")
    with pytest.raises(Unknown, match="workflow_parked"):
        await stuck.result()
    await engines.database.fetch(None, "UPDATE shop.purchase SET version = 1")
    assert await engine.unpark("w2")
    handle = await engine.attach(buy, "w2")
    assert handle is not None
    assert (await handle.result()).state == "PAID"
    assert await rows(engines.database, "SELECT state, version FROM shop.purchase") == [("PAID", 2)]


async def test_events_of_one_flush_and_topic_share_an_outbox_row(engines: Engines) -> None:
    engine = await engines.open()
    event = Publish("shop.started", ORDER)

    async def one(n: int) -> None:
        writes = [Write(INSERT, (f"o{n}", "NEW"), guarded=True)]
        order = Order(order_id=f"o{n}")
        await (await engine.start(buy, order, workflow_id=f"w{n}", writes=writes, events=[event])).result()

    await asyncio.gather(*(one(n) for n in range(16)))
    found = await rows(engines.database, "SELECT topic, event_count, payload FROM shop.outbox")
    counts = {topic: sum(n for t, n, _ in found if t == topic) for topic in ("shop.started", "shop.bought")}
    assert counts == {"shop.started": 16, "shop.bought": 16}
    assert len(found) < 16
    for _, count, payload in found:
        assert len(msgspec.json.decode(payload)) == count


async def test_business_time_comes_from_the_journal(engines: Engines) -> None:
    engine = await engines.open()
    engines.clock.freeze()
    frozen = engines.clock.now().isoformat()
    assert await (await engine.start(times, ORDER, workflow_id="w1")).result() == [frozen] * 3


async def test_a_request_above_the_limit_is_refused(engines: Engines) -> None:
    engine = await engines.open()
    with pytest.raises(Invalid, match="workflow_payload_too_large"):
        await engine.start(buy, Order(order_id="x" * 300_000), workflow_id="w1")
