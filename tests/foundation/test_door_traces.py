"""A trace crosses the doors: what a caller began is continued, and handed on to whoever is called next."""

# grpcio ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Generator

import grpc.aio
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from kessai.foundation.door import close_client, rest_app, rest_client
from kessai.foundation.errors import Invalid, PaymentError
from kessai.foundation.telemetry import (
    close_traces,
    configure_traces,
    open_traces,
    span,
    trace_context,
    traced,
    tracing,
)
from tests.foundation.demo_door import CreateThing, Demo, DemoService, ExportThings, authenticate
from tests.foundation.door_ways import entered, grpc_served, served

SERVICE = "kessai.demo.v1.Demo"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture
def spans() -> Generator[InMemorySpanExporter]:
    """What this process has traced."""
    exporter = InMemorySpanExporter()
    open_traces(SimpleSpanProcessor(exporter))
    yield exporter
    close_traces()


def _named(spans: InMemorySpanExporter, name: str, kind: SpanKind) -> ReadableSpan:
    (found,) = (each for each in spans.get_finished_spans() if each.name == name and each.kind is kind)
    return found


async def test_a_grpc_call_is_one_trace_from_caller_to_callee(spans: InMemorySpanExporter) -> None:
    async with entered("grpc", DemoService()) as demo:
        with span("shop.checkout") as checkout:
            await demo.create_thing(CreateThing(name="it", amount_minor=5))
    sent = _named(spans, f"{SERVICE}/CreateThing", SpanKind.CLIENT)
    done = _named(spans, f"{SERVICE}/CreateThing", SpanKind.SERVER)
    assert sent.parent is not None
    assert done.parent is not None
    assert sent.context is not None
    assert done.context is not None
    assert sent.parent.span_id == checkout.get_span_context().span_id
    assert done.parent.span_id == sent.context.span_id
    assert done.context.trace_id == checkout.get_span_context().trace_id
    assert dict(done.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "CreateThing",
        "rpc.grpc.status_code": 0,
    }


async def test_a_strangers_traceparent_is_continued_over_grpc(spans: InMemorySpanExporter) -> None:
    async with grpc_served(DemoService()) as target, grpc.aio.insecure_channel(target) as channel:
        call = channel.unary_unary(f"/{SERVICE}/CreateThing")
        metadata = (
            ("authorization", "Bearer writer"),
            ("idempotency-key", "k"),
            ("traceparent", f"00-{TRACE}-{PARENT}-01"),
        )
        await call(b"\x0a\x02it\x10\x05", metadata=metadata)
    done = _named(spans, f"{SERVICE}/CreateThing", SpanKind.SERVER)
    assert done.context is not None
    assert done.parent is not None
    assert (f"{done.context.trace_id:032x}", f"{done.parent.span_id:016x}") == (TRACE, PARENT)


async def test_a_refusal_is_no_error_of_the_server_and_its_status_is_told(spans: InMemorySpanExporter) -> None:
    async with entered("grpc", DemoService()) as demo:
        with pytest.raises(PaymentError) as caught:
            await demo.create_thing(CreateThing(name="it", amount_minor=-1))
    assert isinstance(caught.value, Invalid)
    done = _named(spans, f"{SERVICE}/CreateThing", SpanKind.SERVER)
    assert (done.attributes or {})["rpc.grpc.status_code"] == 3
    assert done.status.status_code is StatusCode.UNSET


async def test_a_stream_is_one_span(spans: InMemorySpanExporter) -> None:
    async with entered("grpc", DemoService()) as demo:
        things = [thing async for thing in demo.export_things(ExportThings(count=3))]
    assert len(things) == 3
    assert _named(spans, f"{SERVICE}/ExportThings", SpanKind.SERVER).end_time is not None


async def test_a_rest_request_continues_its_callers_trace(spans: InMemorySpanExporter) -> None:
    async with served(traced(rest_app([(Demo, DemoService())], authenticate=authenticate))) as url:
        demo = rest_client(Demo, url, "writer")
        with span("shop.checkout") as checkout:
            await demo.create_thing(CreateThing(name="it", amount_minor=5))
        await close_client(demo)
    done = _named(spans, "POST", SpanKind.SERVER)
    assert done.parent is not None
    assert done.parent.span_id == checkout.get_span_context().span_id
    assert (done.attributes or {})["http.response.status_code"] == 201


def test_without_an_endpoint_nothing_is_traced() -> None:
    configure_traces(endpoint=None, ratio=1.0)
    with span("shop.checkout") as nowhere:
        assert not nowhere.is_recording()
    assert not tracing()
    assert trace_context() == {}
