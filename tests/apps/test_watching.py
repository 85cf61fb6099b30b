"""What the platform tells of its workflows: figures of every engine, spans of the request's trace, alerts, rows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kessai.apps.cli import main
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.errors import Refused, Unknown
from kessai.foundation.telemetry import METRICS_FOLDER_VARIABLE, close_traces, open_traces, traced
from kessai.foundation.vault import new_vault_key
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.cardgateway.workflows import Deps
from kessai.simulators.cardgateway import CardGatewaySimulator
from tests.sdk.conftest import eventually

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def _put(_: Activity[Any], number: int) -> int:
    return number


async def _take_back(_: Activity[Deps], number: int) -> None:
    raise Refused("closed", f"It is closed: {number}.")


@define("watching.stuck", version=1)
async def stuck(wf: Workflow[Deps], number: int) -> int:
    await wf.activity(_put, number, compensate=_take_back)
    raise Refused("unwanted", "Nobody wants it.")


@define("watching.broken", version=1)
async def broken(wf: Workflow[Any], number: int) -> int:
    await wf.activity(_put, number, compensate=_put)
    raise RuntimeError("a bug")


@dataclass
class Watched:
    """A platform behind its HTTP door."""

    platform: Platform
    http: httpx.AsyncClient
    url: str

    async def figure(self, metric: str, /, **labels: str) -> float | None:
        """A figure of /metrics; None where there is none of these labels."""
        text = (await self.http.get("/metrics")).text
        wanted = "".join(rf'(?=[^}}]*{key}="{value}")' for key, value in labels.items())
        found = re.search(rf"^{metric}{{{wanted}[^}}]*}} (\S+)$", text, re.MULTILINE)
        return None if found is None else float(found[1])

    async def register_card(self, **headers: str) -> httpx.Response:
        """A verb that runs a workflow."""
        body = {"customer_id": "cus:1", "form_token": "tok_visa"}
        return await self.http.post("/v1/cards", json=body, headers={"Idempotency-Key": uuid4().hex, **headers})

    async def get_stuck(self, workflow_id: str) -> None:
        """One workflow of the card gateway that cannot undo what it did."""
        handle = await self.platform.cardgateway.engine.start(stuck, 1, workflow_id=workflow_id)
        with pytest.raises(Unknown, match="workflow_parked"):
            await handle.result()


@pytest.fixture
def spans() -> Generator[InMemorySpanExporter]:
    """What this process has traced."""
    exporter = InMemorySpanExporter()
    open_traces(SimpleSpanProcessor(exporter))
    yield exporter
    close_traces()


@pytest.fixture
async def watched(database_url: str) -> AsyncIterator[Watched]:
    """With a simulated card gateway, and payloads sealed."""
    cards = CardGatewaySimulator()
    await cards.start()
    settings = Settings(card_gateway_url=cards.url, vault_keys=new_vault_key(), seal_workflows=True)
    secret = await prepare(database_url, settings)
    platform = Platform(database_url, settings)
    await platform.open()
    transport = httpx.ASGITransport(app=traced(platform.rest()))
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as http:
        yield Watched(platform, http, database_url)
    await platform.close()
    await cards.stop()


async def test_every_engine_of_the_platform_is_on_metrics(watched: Watched) -> None:
    assert (await watched.register_card()).status_code == 201
    for service in ("payment", "cardgateway", "bank"):
        for name in ("open", "recovery_seconds", "batch_size", "retries_total", "parked_total"):
            assert await watched.figure(f"kessai_workflow_{name}", service=service) is not None, (service, name)
    assert await watched.figure("kessai_workflow_finished_total", service="cardgateway") == 1
    assert await watched.figure("kessai_workflow_finished_total", service="payment") == 0


async def test_figures_of_one_of_several_workers_say_whose_they_are(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv(METRICS_FOLDER_VARIABLE, str(tmp_path))
    assert await watched.figure("kessai_workflow_started_total", service="payment", worker=r"\d+") == 0
    assert "kessai_ledger_queue{worker=" in (await watched.http.get("/metrics")).text


async def test_a_run_is_traced_as_part_of_the_request_that_began_it(
    spans: InMemorySpanExporter, watched: Watched
) -> None:
    answer = await watched.register_card(traceparent=f"00-{TRACE}-{PARENT}-01")
    assert answer.status_code == 201
    await eventually(lambda: any(each.name.startswith("workflow ") for each in spans.get_finished_spans()))
    mine = [each for each in spans.get_finished_spans() if each.name.startswith(("workflow ", "activity "))]
    assert {each.name.partition(" ")[0] for each in mine} == {"workflow", "activity"}
    assert {f"{each.context.trace_id:032x}" for each in mine if each.context} == {TRACE}


async def test_a_stuck_compensation_is_a_line_a_figure_and_a_row(
    watched: Watched, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with structlog.testing.capture_logs() as lines:
        await watched.get_stuck("w1")
        handle = await watched.platform.payment.engine.start(broken, 1, workflow_id="w2")
        with pytest.raises(Unknown, match="workflow_parked"):
            await handle.result()
    told = [(each["event"], each["service"], each["workflow_id"]) for each in lines if "service" in each]
    assert told == [
        ("workflow_compensation_stuck", "cardgateway", "w1"),
        ("workflow_waits_for_operator", "payment", "w2"),
    ]
    labels = {"service": "cardgateway", "name": "watching.stuck"}
    assert await watched.figure("kessai_workflow_stuck_compensations_total", **labels) == 1
    assert await watched.figure("kessai_workflow_alerts_total", service="payment", name="watching.broken") == 1

    async def waits() -> bool:
        waiting = "kessai_workflow_waiting_for_operator"
        return (
            await watched.figure(waiting, service="cardgateway", undoing="yes") == 1
            and await watched.figure(waiting, service="payment", undoing="no") == 1
        )

    await eventually(waits)
    arguments = ["workflow", "list", "--parked", "--database-url", watched.url]
    assert await asyncio.to_thread(main, arguments) == 0
    shown = capsys.readouterr().out
    assert [line.split("│")[1].strip() for line in shown.splitlines() if "watching." in line] == [
        "cardgateway",
        "payment",
    ]


async def test_an_operators_verbs_find_whose_workflow_it_is(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    await watched.get_stuck("w1")
    rest = ["--by", "taro", "--why", "undone by hand", "--database-url", watched.url]
    assert await asyncio.to_thread(main, ["workflow", "skip", "w1", *rest]) == 0
    engine = watched.platform.cardgateway.engine

    async def refused() -> bool:
        found = await engine.find("w1")
        return found is not None and found.finished

    await eventually(refused)
    await watched.get_stuck("w2")
    assert await asyncio.to_thread(main, ["workflow", "cancel", "w2", "--service", "bank", *rest]) == 2
    assert capsys.readouterr().err.endswith("No workflow of this id is under way.\n")


async def test_sealed_payloads_are_shown_where_the_vault_has_their_key_and_never_otherwise(
    watched: Watched, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    await watched.get_stuck("w1")
    show = ["workflow", "show", "w1", "--payloads", "--database-url", watched.url]

    async def shown(keys: str | None) -> str:
        if keys is not None:
            monkeypatch.setenv("KESSAI_VAULT_KEYS", keys)
        assert await asyncio.to_thread(main, show) == 0
        return capsys.readouterr().out

    without = await shown(None)
    assert "payload: request: sealed: no key here opens it" in without
    assert "payload: request: sealed" in await shown(new_vault_key())
    history = ["workflow", "show", "w1", "--history", f"{tmp_path}/w1.json", "--database-url", watched.url]
    assert await asyncio.to_thread(main, history) == 2
    keys = watched.platform.settings.vault_keys
    assert "payload: request: 1\n" in (opened := await shown(keys))
    assert "payload: step 1 outcome: 1\n" in opened
    assert await asyncio.to_thread(main, history) == 0
