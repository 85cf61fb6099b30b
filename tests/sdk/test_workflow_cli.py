"""`kessai workflow …`, as an operator types it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kessai.apps.cli import main
from kessai.foundation.clock import SystemClock
from kessai.foundation.db import Database
from kessai.foundation.errors import Refused, Unknown
from kessai.sdk.workflow import Engine
from tests.sdk.conftest import eventually
from tests.sdk.errands import CHANGED, approval, three
from tests.sdk.shop.workflows import Order, World

HISTORIES = Path(__file__).parent / "histories"
BY = ("--by", "taro", "--why", "the bank says so")
ORDER = Order(order_id="o1")


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine[World]]:
    """An executor in the payment schema, with errands of the tiny service."""
    engine = Engine(database, service="payment", deps=World(), clock=SystemClock(), lease_s=0.4)
    await engine.open()
    yield engine
    await engine.close(grace_s=1)


class Typed:
    """Types commands and keeps what they print."""

    def __init__(self, engine: Engine[World], capsys: pytest.CaptureFixture[str]) -> None:
        self._url = engine._database.dsn  # pyright: ignore[reportPrivateUsage]
        self._capsys = capsys

    async def __call__(self, *words: str, code: int = 0) -> str:
        arguments = ["workflow", *words, "--database-url", self._url]
        assert await asyncio.to_thread(main, arguments) == code
        captured = self._capsys.readouterr()
        return captured.out if code == 0 else captured.err


@pytest.fixture
def typed(engine: Engine[World], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    monkeypatch.setenv("COLUMNS", "200")
    return Typed(engine, capsys)


async def _stuck(engine: Engine[World]) -> None:
    engine.deps.faults = {"2": [Refused("insufficient_funds", "No.")], "undo": [Refused("closed", "No.")] * 9}
    handle = await engine.start(three, ORDER, workflow_id="w1")
    with pytest.raises(Unknown, match="workflow_parked"):
        await handle.result()
    engine.deps.faults = {}


async def test_a_stuck_workflow_is_found_looked_at_and_skipped(
    engine: Engine[World], typed: Typed, tmp_path: Path
) -> None:
    await _stuck(engine)
    assert "w1" in await typed("list", "--state", "parked")
    assert "There are none." in await typed("list", "--state", "done")
    shown = await typed("show", "w1", "--history", str(tmp_path / "w1.json"))
    assert "stands at: step 1 give_back: step 1 cannot be undone by give_back: closed" in shown
    assert json.loads((tmp_path / "w1.json").read_text())["name"] == "errand.three"
    assert "Done" in await typed("skip", "w1", *BY)

    async def refused() -> bool:
        return "REFUSED" in await typed("list", "--state", "done")

    await eventually(refused)
    assert "audit: " in (shown := await typed("show", "w1"))
    assert "skip by taro: the bank says so [step 1 give_back]" in shown


async def test_every_verb_reaches_the_workflow(engine: Engine[World], typed: Typed) -> None:
    handle = await engine.start(approval, ORDER, workflow_id="w1")
    for verb in ("pause", "resume", "cancel"):
        await typed(verb, "w1", *BY)
    with pytest.raises(Refused, match="workflow_cancelled"):
        await handle.result()
    await _stuck_again(engine, typed, "retry")
    await typed("fork", "w1", "--new-id", "w9", "--keep-to", "0", *BY)
    await eventually(lambda: engine.counts.adopted)
    await typed("terminate", "w9", *BY)


async def _stuck_again(engine: Engine[World], typed: Typed, verb: str) -> None:
    engine.deps.faults = {"1": [Unknown("lost", "Lost.")], "undo": [Refused("closed", "No.")] * 9}
    engine.deps.faults["2"] = [Refused("insufficient_funds", "No.")]
    handle = await engine.start(three, ORDER, workflow_id="w2")
    with pytest.raises(Unknown):
        await handle.result()
    engine.deps.faults = {}
    await typed(verb, "w2", *BY)
    with pytest.raises(Refused, match="insufficient_funds"):
        await handle.result()


async def test_what_the_operator_has_wrong_is_one_sentence(engine: Engine[World], typed: Typed) -> None:
    assert await typed("cancel", "w9", *BY, code=2) == "No workflow of this id is under way.\n"
    assert await typed("show", "w9", code=2) == "There is no workflow of this id.\n"
    assert "--service is one of" in await typed("list", "--service", "ledger", code=2)
    assert "--state is one of" in await typed("list", "--state", "lost", code=2)
    assert "either --result or --refused" in await typed("resolve", "w9", *BY, code=2)
    assert "is no JSON" in await typed("resolve", "w9", "--result", "{", *BY, code=2)
    await engine.start(approval, ORDER, workflow_id="w1")
    assert await typed("retry", "w1", *BY, code=2) == "This workflow does not wait for an operator.\n"


async def test_histories_are_replayed_and_what_differs_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHANGED, "patched", True)
    arguments = ["workflow", "replay", "--module", "tests.sdk.errands"]
    assert await asyncio.to_thread(main, [*arguments, str(HISTORIES)]) == 0
    assert capsys.readouterr().out.count("agrees") == len(list(HISTORIES.glob("*.json")))
    monkeypatch.setitem(CHANGED, "renamed", True)
    shutil.copy(HISTORIES / "changing-before.json", tmp_path)
    assert await asyncio.to_thread(main, [*arguments, str(tmp_path)]) == 1
    assert "DIFFERS  changing-before.json: step 2 was recorded as take#" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["workflow", "replay", str(tmp_path / "none")]) == 2
    assert await asyncio.to_thread(main, ["workflow", "replay", str(tmp_path), "--module", "no.such"]) == 2
