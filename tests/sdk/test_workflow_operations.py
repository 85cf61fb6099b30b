"""What an operator does: find, look, retry, skip, resolve and fork, each with a name and a reason."""

from __future__ import annotations

from typing import TypedDict

import pytest

from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Alert, Engine, NotOpen, Write
from kessai.sdk.workflow.listing import list_workflows, show_workflow
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import Verdict, approval, pivoting, tagged, three
from tests.sdk.shop import INSERT
from tests.sdk.shop.workflows import Order, World, gives_up, saga
from tests.sdk.story import told

ORDER = Order(order_id="o1", amount=5)
NEW = [Write(INSERT, ("o1", "NEW"))]
AUDIT = "SELECT workflow_id, verb, who, why, detail FROM shop.workflow_audit ORDER BY audit_id"


class By(TypedDict):
    """Who acts, and why."""

    who: str
    why: str


TARO = By(who="taro", why="the bank says so")


async def _stuck(engines: Engines, **options: object) -> Engine[World]:
    """A saga whose second compensation is refused for ever."""
    engine = await engines.open(**options)
    engines.world.faults = {"3": [Refused("insufficient_funds", "No.")], "undo": [Refused("closed", "No.")] * 100}
    handle = await engine.start(saga, ORDER, workflow_id="w1", writes=NEW)
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    return engine


async def test_a_stuck_compensation_parks_and_alerts_and_does_not_loop(engines: Engines) -> None:
    alerts: list[Alert] = []
    engine = await _stuck(engines, alert=alerts.append)
    assert engine.counts.compensation_failures == 5
    assert [(each.workflow_id, each.compensating) for each in alerts] == [("w1", True)]
    assert "step 2 cannot be undone by give_back" in alerts[0].reason
    assert engine.counts.alerts == {"shop.saga": 1}
    before = engines.world.attempts["w1:2:undo"]
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_stuck"))
    assert engines.world.attempts["w1:2:undo"] == before


async def test_a_compensation_made_by_hand_is_skipped_and_the_rest_is_undone(engines: Engines) -> None:
    engine = await _stuck(engines)
    engines.world.faults = {}
    await engine.operator.skip("w1", **TARO)
    assert await told(engine, saga, ORDER, "w1") == "insufficient_funds"
    assert engines.world.undone == ["w1:1"]
    assert await rows(engines.database, AUDIT) == [("w1", "skip", "taro", "the bank says so", "step 2 give_back")]


async def test_a_parked_workflow_is_retried_once_its_cause_is_mended(engines: Engines) -> None:
    engine = await _stuck(engines)
    engines.world.faults = {}
    await engine.operator.retry("w1", **TARO)
    assert await told(engine, saga, ORDER, "w1") == "insufficient_funds"
    assert engines.world.undone == ["w1:2", "w1:1"]
    for verb in (engine.operator.retry, engine.operator.skip, engine.operator.resolve):
        with pytest.raises(NotOpen):
            await verb("w1", **TARO)


async def test_an_outcome_that_stayed_unknown_is_given_by_hand(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.faults = {"2": [Unknown("lost", "Lost.")] * 1000}
    handle = await engine.start(gives_up, ORDER, workflow_id="w1")
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    await engine.operator.resolve("w1", error=Refused("insufficient_funds", "No."), **TARO)
    assert await told(engine, gives_up, ORDER, "w1") == "insufficient_funds"
    assert engines.world.undone == ["w1:1"]


async def test_what_is_not_parked_or_stands_at_no_step_is_not_settled(engines: Engines) -> None:
    engine = await engines.open()
    await engine.start(approval, ORDER, workflow_id="w1")
    with pytest.raises(Conflict, match="workflow_not_parked"):
        await engine.operator.skip("w1", **TARO)
    with pytest.raises(Conflict, match="workflow_not_parked"):
        await engine.operator.retry("w1", **TARO)
    stuck = await engine.start(saga, Order(order_id="o9", steps=0), workflow_id="w2", writes=[])
    assert (await stuck.result()).state == "DONE"
    assert await rows(engines.database, AUDIT) == []


async def test_a_bug_outside_of_any_step_cannot_be_settled_by_hand(engines: Engines) -> None:
    engine = await engines.open()
    await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 9)")
    engines.world.faults = {"3": [Refused("insufficient_funds", "No.")]}
    handle = await engine.start(pivoting, ORDER, workflow_id="w1")
    with pytest.raises(Unknown):
        await handle.result()
    await engines.database.fetch(None, "DELETE FROM shop.workflow_stuck")
    with pytest.raises(Invalid, match="step_not_settled_by_hand"):
        await engine.operator.resolve("w1", result=1, **TARO)


@pytest.mark.parametrize("finished", [True, False])
async def test_a_fork_has_the_first_steps_behind_it_and_undoes_them_under_their_keys(
    engines: Engines, finished: bool
) -> None:
    engine = await engines.open()
    fault = Refused("insufficient_funds", "No.") if finished else Unavailable("away", "Away.")
    engines.world.faults = {"3": [fault] * (1 if finished else 1000), "undo": []}
    handle = await engine.start(three, ORDER, workflow_id="w1")
    if finished:
        with pytest.raises(Refused):
            await handle.result()
    else:
        await eventually(lambda: engines.world.attempts["w1:3"])
    with pytest.raises(Invalid, match="no_such_step"):
        await engine.operator.fork("w1", new_id="w2", keep_to="7", **TARO)
    await engine.operator.fork("w1", new_id="w2", keep_to="1", **TARO)
    with pytest.raises(Conflict, match="workflow_exists"):
        await engine.operator.fork("w1", new_id="w2", keep_to="1", **TARO)
    engines.world.faults = {"3": [Refused("insufficient_funds", "No.")] * 2}
    assert await told(await engines.open(), three, ORDER, "w2") == "insufficient_funds"
    assert engines.world.attempts["w2:1"] == 0
    assert engines.world.attempts["w2:1:undo"] == 0
    assert engines.world.attempts["w1:1:undo"] >= (2 if finished else 1)
    assert "w2:2" in engines.world.undone
    assert (await rows(engines.database, AUDIT))[-1][1:] == ("fork", "taro", "the bank says so", "of w1 after step 1")


async def test_workflows_are_found_by_what_they_are_about(engines: Engines) -> None:
    engine = await engines.open()
    for n in range(4):
        order = Order(order_id=f"o{n % 2}", amount=10 * n)
        handle = await engine.start(tagged, order, workflow_id=f"w{n}", attributes={"channel": "web"})
        await handle.result()
    assert await engine.search(order="o1") == ["w1", "w3"]
    assert await engine.search(order="o1", amount=31) == ["w3"]
    assert await engine.search(channel="web", limit=2) == ["w0", "w1"]
    assert await engine.search(channel="web", after="w1") == ["w2", "w3"]
    assert await engine.search_range("amount", 11, 21) == ["w1", "w2"]
    assert await engine.search(order="o9") == []
    with pytest.raises(Invalid, match="attribute_too_long"):
        await engine.search(order="x" * 300)


async def test_workflows_are_listed_and_shown(engines: Engines) -> None:
    engine = await _stuck(engines)
    engines.world.faults = {}
    await (await engine.start(tagged, ORDER, workflow_id="w2")).result()
    await engine.enqueue("later", tagged, ORDER, workflow_id="w3")
    database = engines.database
    assert [each.workflow_id for each in await list_workflows(database, "shop", "parked")] == ["w1"]
    assert [each.workflow_id for each in await list_workflows(database, "shop", "done")] == ["w2"]
    assert [each.workflow_id for each in await list_workflows(database, "shop", "queued")] == ["w3"]
    everything = await list_workflows(database, "shop", "all")
    assert [(each.workflow_id, each.state) for each in everything] == [
        ("w1", "PARKED"),
        ("w2", "DONE"),
        ("w3", "QUEUED"),
    ]
    assert await list_workflows(database, "shop", "all", name="errand.tagged", after="w2") == everything[2:]
    shown = await show_workflow(database, "shop", "w1")
    assert shown.state == "PARKED"
    assert [(step.label, step.kind, step.name) for step in shown.steps][:3] == [
        ("1", "intent", "take"),
        ("1", "outcome", "take"),
        ("2", "intent", "take"),
    ]
    assert shown.stuck is not None
    assert shown.stuck.startswith("step 2 give_back")
    assert (await show_workflow(database, "shop", "w2")).attributes == {"order": "o1", "amount": "6"}
    assert await engine.operator.counts() == {"open": 1, "parked": 1, "queued": 1}
    with pytest.raises(NotFound):
        await show_workflow(database, "shop", "w9")


async def test_a_message_that_came_before_it_parked_is_not_lost(engines: Engines) -> None:
    engine = await engines.open()
    handle = await engine.start(approval, ORDER, workflow_id="w1")
    run = engine.run_of("w1")
    assert run is not None
    await eventually(lambda: run.listening)
    engines.world.faults = {"3": [ValueError("a bug")]}  # type: ignore[list-item]
    await engine.signal("w1", "verdict", Verdict(accepted=True, by="hanako"))
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    await engine.cancel("w1", who="taro", why="enough")
    assert await told(engine, approval, ORDER, "w1") in ("hanako", "workflow_cancelled")
