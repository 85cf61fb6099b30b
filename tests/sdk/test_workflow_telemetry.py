"""What an engine tells: spans, figures; and how little it asks of the database while nothing happens."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from kessai.foundation.db import Database
from kessai.foundation.errors import Refused, Unavailable
from kessai.sdk.workflow import Engine, Queue
from kessai.sdk.workflow.metrics import WorkflowMetrics
from tests.sdk.conftest import Engines, eventually
from tests.sdk.errands import three
from tests.sdk.shop.workflows import Order
from tests.sdk.story import told

ORDER = Order(order_id="secret-order", amount=5)


async def test_runs_and_attempts_are_spans_without_payloads(engines: Engines) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    engine = await engines.open(tracer=provider.get_tracer("test"))
    engines.world.faults = {"2": [Unavailable("away", "Away."), Refused("insufficient_funds", "No.")]}
    assert await told(engine, three, ORDER, "w1") == "insufficient_funds"
    await eventually(lambda: len(exporter.get_finished_spans()) == 5)
    spans = list(exporter.get_finished_spans())
    assert [_shape(each) for each in spans] == [
        ("activity take", "w1:1", 1, None),
        ("activity take", "w1:2", 1, "away"),
        ("activity take", "w1:2", 2, "insufficient_funds"),
        ("activity give_back", "w1:1:undo", 1, None),
        ("workflow errand.three", None, None, None),
    ]
    run = spans[-1].context
    assert run is not None
    assert {each.parent.span_id for each in spans[:-1] if each.parent} == {run.span_id}
    assert "secret-order" not in "".join(each.to_json() for each in spans)


def _shape(span: ReadableSpan) -> tuple[object, ...]:
    attributes = span.attributes or {}
    names = ("kessai.activity.key", "kessai.activity.attempt", "kessai.error.code")
    return (span.name, *(attributes.get(name) for name in names))


async def test_figures_tell_what_was_done_and_what_waits(engines: Engines) -> None:
    engine = await engines.open(compensation_attempts=2)
    engines.world.faults = {"2": [Unavailable("away", "Away."), Refused("no", "No.")]}
    assert await told(engine, three, ORDER, "w1") == "no"
    engines.world.faults = {"2": [Refused("no", "No.")], "undo": [Refused("no", "No.")] * 9}
    assert await told(engine, three, ORDER, "w2") == "workflow_parked"
    registry = CollectorRegistry()
    registry.register(WorkflowMetrics(engine))

    def figure(what: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"kessai_workflow_{what}", {"service": "shop", **labels})

    await eventually(lambda: figure("open") == 0)
    expected = {"started": 2, "finished": 1, "failed": 1, "parked": 1, "retries": 1, "compensations": 1}
    assert {name: figure(f"{name}_total") for name in expected} == expected
    assert figure("compensation_failures_total") == 5
    assert figure("alerts_total", name="errand.three") == 1
    assert 1 <= (figure("batch_size") or 0) <= 2


async def test_recovery_is_timed(engines: Engines) -> None:
    engine = await engines.open()
    engines.world.gate = asyncio.Event()
    await engine.start(three, ORDER, workflow_id="w1")
    await engine.crash()
    survivor = await engines.open()
    await eventually(lambda: survivor.counts.adopted)
    engines.world.gate.set()
    assert survivor.counts.recovery_s > 0


async def test_an_idle_engine_asks_next_to_nothing(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Engine[object] = Engine(
        engines.database, service="shop", deps=None, clock=engines.clock, lease_s=0.8, queues=[Queue(name="errands")]
    )
    asked: list[str] = []
    fetch, transaction = Database.fetch, Database.transaction

    async def counted(self: Database, role: str | None, query: str, *arguments: object) -> object:
        asked.append(query)
        return await fetch(self, role, query, *arguments)

    async def counted_too(self: Database, *arguments: object, **options: object) -> object:
        asked.append("transaction")
        return await transaction(self, *arguments, **options)  # type: ignore[arg-type]

    await engine.open()
    monkeypatch.setattr(Database, "fetch", counted)
    monkeypatch.setattr(Database, "transaction", counted_too)
    renewals = 0
    while renewals < 6:
        await asyncio.sleep(0.02)
        renewals = sum("lease_until" in query and "UPDATE" in query for query in asked)
    assert "transaction" not in asked
    assert len(asked) <= 2.0 * renewals, asked  # a lease of ten seconds is renewed every 2.5
    await engine.close()
