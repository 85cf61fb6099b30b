"""Code that changes under a running workflow: pins, patches, and histories that are rehearsed for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kessai.foundation.errors import Unavailable
from kessai.sdk.workflow.history import load_history, read_histories, rehearse
from kessai.sdk.workflow.testing import SkippingClock
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import CHANGED, Verdict, approval, branches, changing, parent, sleeper, too_large
from tests.sdk.shop.workflows import Order, saga
from tests.sdk.story import told

HISTORIES = Path(__file__).parent / "histories"
ORDER = Order(order_id="o1", amount=5)


@pytest.fixture(autouse=True)
def _code_of_before() -> Iterator[None]:
    CHANGED.update(patched=False, renamed=False)
    yield
    CHANGED.update(patched=False, renamed=False)


async def _interrupted(engines: Engines, *, fails_at: str) -> None:
    """A run of the code of before, whose executor dies at a step."""
    engine = await engines.open()
    engines.world.faults = {fails_at: [Unavailable("away", "Away.")] * 1000}
    await engine.start(changing, ORDER, workflow_id="w1")
    await eventually(lambda: engines.world.attempts[f"w1:{fails_at}"])
    await engine.crash()
    engines.world.faults = {}


@pytest.mark.parametrize("fails_at", ["1", "2"])
async def test_a_run_from_before_goes_the_old_way_and_a_new_one_the_new(engines: Engines, fails_at: str) -> None:
    await _interrupted(engines, fails_at=fails_at)
    CHANGED["patched"] = True
    engine = await engines.open()
    old, new = await told(engine, changing, ORDER, "w1"), await told(engine, changing, ORDER, "w2")
    assert new == "new"
    if fails_at == "2":
        assert old == "old"
        assert engines.world.effects["w1:2"] == 2
    assert engines.world.effects["w2:2"] == 9


async def test_a_patched_run_stays_so_over_a_crash(engines: Engines) -> None:
    CHANGED["patched"] = True
    await _interrupted(engines, fails_at="2")
    assert await told(await engines.open(), changing, ORDER, "w1") == "new"
    assert engines.world.effects == {"w1:1": 1, "w1:2": 9, "w1:3": 2}


async def test_changed_code_without_a_patch_parks_and_shows_both_steps(engines: Engines) -> None:
    engine = await engines.open()
    await _interrupted(engines, fails_at="2")
    await engines.database.fetch(
        None,
        "INSERT INTO shop.workflow_log"
        " (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at, started_at)"
        " SELECT workflow_id, 2, 1, 'take', argument_hash, false, '2', 0, recorded_at, started_at"
        " FROM shop.workflow_log WHERE seq = 1",
    )
    CHANGED["renamed"] = True
    assert await told(engine, changing, ORDER, "w1") == "workflow_parked"
    (parked,) = await engine.parked()
    assert "step 2 was recorded as take#" in parked.error
    assert "but the code now calls weigh#" in parked.error


async def test_a_payload_above_the_limit_parks_and_names_the_step(engines: Engines) -> None:
    engine = await engines.open()
    assert await told(engine, too_large, ORDER, "w0") == 1
    assert await told(engine, too_large, Order(order_id="o1", amount=300_000), "w1") == "workflow_parked"
    (parked,) = await engine.parked()
    assert parked.error.startswith("take: a payload of 300")
    assert parked.error.endswith("bytes is above the limit of 262144")


STORIES = {
    "saga": (saga, Order(order_id="o1", steps=2)),
    "branches": (branches, Order(order_id="o1", steps=2)),
    "parent": (parent, Order(order_id="o1")),
    "sleeper": (sleeper, Order(order_id="o1", steps=2)),
}


async def test_what_is_journalled_today_can_be_rehearsed(engines: Engines) -> None:
    engines.clock = SkippingClock()
    engine = await engines.open()
    for name, (definition, order) in STORIES.items():
        await engines.database.fetch(None, "DELETE FROM shop.purchase")
        await engines.database.fetch(None, "INSERT INTO shop.purchase VALUES ('o1', 'NEW', 1)")
        await told(engine, definition, order, name)
        history = await load_history(engines.database, "shop", name)
        again = msgspec.json.decode(history.to_json(), type=type(history))
        rehearsal = await rehearse(again)
        assert rehearsal.agrees, f"{name}: {rehearsal.reason}"
        assert history.finished


async def test_an_unfinished_history_agrees_as_far_as_it_goes(engines: Engines) -> None:
    engine = await engines.open()
    await engine.start(approval, ORDER, workflow_id="w1")
    await eventually(lambda: rows(engines.database, "SELECT 1 FROM shop.workflow_log WHERE seq = 2"))
    rehearsal = await rehearse(await load_history(engines.database, "shop", "w1"))
    assert rehearsal.agrees
    assert "stands before" not in rehearsal.reason or "2 signal verdict" in rehearsal.reason
    await engine.signal("w1", "verdict", Verdict(accepted=False))
    await told(engine, approval, ORDER, "w1")
    history = await load_history(engines.database, "shop", "w1")
    assert (await rehearse(history)).agrees
    assert history.failed


async def test_a_history_that_the_code_no_longer_follows_is_told(engines: Engines) -> None:
    engine = await engines.open()
    assert await told(engine, changing, ORDER, "w1") == "old"
    history = await load_history(engines.database, "shop", "w1")
    assert (await rehearse(history)).agrees
    CHANGED["patched"] = True
    assert (await rehearse(history)).agrees
    CHANGED["renamed"] = True
    rehearsal = await rehearse(history)
    assert not rehearsal.agrees
    assert "step 2 was recorded as take#" in rehearsal.reason
    CHANGED["renamed"] = False
    other = msgspec.structs.replace(history, outcome=msgspec.Raw(b'"other"'))
    assert 'the code now ends with "old"' in (await rehearse(other)).reason
    shorter = msgspec.structs.replace(history, steps=history.steps[:1])
    assert "it had ended, but the code now calls 2 take#" in (await rehearse(shorter)).reason
    gone = msgspec.structs.replace(history, version=9)
    assert "no workflow errand.changing of version 9" in (await rehearse(gone)).reason


@pytest.mark.parametrize("file", sorted(each.name for each in HISTORIES.glob("*.json")))
async def test_recorded_histories_agree_with_the_code_of_today(file: str) -> None:
    CHANGED["patched"] = True
    rehearsal = await rehearse(read_histories(HISTORIES)[file])
    assert rehearsal.agrees, rehearsal.reason


def test_there_are_recorded_histories() -> None:
    assert len(read_histories(HISTORIES)) >= 6
