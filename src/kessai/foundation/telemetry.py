"""What the platform tells of itself: logs (one JSON object a line, to stderr), metrics (Prometheus), traces (OTLP).

Secrets never get there: values under telling names, API keys and passwords inside URLs are masked before rendering.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kessai.foundation.call import current_call

if TYPE_CHECKING:  # loaded when they are wanted, and not before: logging comes first of all
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer
    from prometheus_client import CollectorRegistry, Metric

METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set before the first import of prometheus_client when several workers answer one /metrics."""
METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MASK = "•••"
DEPTH_MAX = 6

_SECRET_NAME = re.compile(
    r"secret|password|passwd|authorization|token|api_?key$|\bpan\b|card_number|cvc|dsn", re.IGNORECASE
)
_SECRET_TEXT = (
    (re.compile(r"\bkes_[A-Za-z0-9_-]{8,}"), MASK),  # an API key, wherever it stands
    (re.compile(r"(\w+://[^\s:/@]*):[^\s@/]+@"), rf"\1:{MASK}@"),  # a URL with a password
    (re.compile(r"(?i)\bbearer\s+\S+"), f"Bearer {MASK}"),
)


# -- logs -------------------------------------------------------------------------------------------------------


def configure_logging(*, level: str, form: str) -> None:
    """Everything that logs, structlog and the standard library alike, goes to stderr in one form, masked."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_call,
        structlog.processors.format_exc_info,
        masked,
    ]
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if form == "json" else console
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("uvicorn", "uvicorn.error", "asyncio", "httpx"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))


def _with_call(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the ids of the call being served, so that lines of one request can be found together."""
    call = current_call()
    if call.caller != "internal":
        event.setdefault("request_id", call.request_id)
        event.setdefault("caller", call.caller)
        if call.processing_id is not None:
            event.setdefault("processing_id", call.processing_id)
    return event


def masked(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask secrets by name and by look; a structlog processor."""
    for key, value in event.items():
        if not key.startswith("_"):  # structlog's own
            event[key] = MASK if _SECRET_NAME.search(key) else mask(value)
    return event


def mask(value: object, depth: int = 0) -> object:
    """The same value with secrets masked, inside containers too; what is nested too deep is left out."""
    if isinstance(value, str):
        for pattern, replacement in _SECRET_TEXT:
            value = pattern.sub(replacement, value)
        return value
    if depth >= DEPTH_MAX:
        return "…"
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {key: MASK if _SECRET_NAME.search(str(key)) else mask(inner, depth + 1) for key, inner in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(inner, depth + 1) for inner in cast("list[object]", value)]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value), depth + 1)


# -- metrics ----------------------------------------------------------------------------------------------------


def new_registry() -> CollectorRegistry:
    """A registry with this process's own memory, CPU time and open files in it."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry, own: CollectorRegistry | None = None) -> bytes:
    """The metrics in Prometheus' text form: where there are several workers, those of `registry` are of all together.

    What is in `own` each worker tells of itself; with several, a label `worker` keeps their series apart.
    """
    from prometheus_client import CollectorRegistry, generate_latest, multiprocess

    own = own or CollectorRegistry()
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return generate_latest(registry) + generate_latest(own)
    together, mine = CollectorRegistry(), CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # pyright: ignore[reportUnknownMemberType]
    mine.register(_OfWorker(own, str(os.getpid())))
    return generate_latest(together) + generate_latest(mine)


class _OfWorker:
    """Figures of one of several workers."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._worker = worker

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in metric.samples
            ]
            yield metric


# -- traces -----------------------------------------------------------------------------------------------------

Kind = Literal["internal", "server", "client"]
FLUSH_TIMEOUT_MS = 5_000


class Traces:
    """This process's tracer, and what its spans go through."""

    def __init__(self, processor: SpanProcessor, ratio: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource.create({"service.name": "kessai"})
        )
        self._provider.add_span_processor(processor)
        self.tracer = self._provider.get_tracer("kessai")

    def close(self) -> None:
        """Send what has not been sent yet; may take `FLUSH_TIMEOUT_MS`."""
        self._provider.force_flush(FLUSH_TIMEOUT_MS)
        self._provider.shutdown()


_traces: Traces | None = None


def open_traces(processor: SpanProcessor, ratio: float = 1.0) -> None:
    """From now on spans are made: of all calls that their callers trace, and of this share of the others."""
    global _traces
    _traces = Traces(processor, ratio)


def configure_traces(*, endpoint: str | None, ratio: float) -> None:
    """Send spans to `endpoint` (OTLP over HTTP); without one none are made, and nothing of OpenTelemetry is loaded."""
    if endpoint is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        open_traces(BatchSpanProcessor(OTLPSpanExporter(endpoint)), ratio)


def close_traces() -> None:
    """Make no more spans, and send what is left. Blocks for a moment: call it off the loop."""
    global _traces
    traces, _traces = _traces, None
    if traces is not None:
        traces.close()


def tracer() -> Tracer | None:
    """What makes this process's spans; None when it makes none."""
    return None if _traces is None else _traces.tracer


def tracing() -> bool:
    """Whether this process makes spans."""
    return _traces is not None


@contextmanager
def span(
    name: str,
    attributes: Mapping[str, str | int] | None = None,
    *,
    kind: Kind = "internal",
    carrier: Mapping[str, str] | None = None,
) -> Generator[Span]:
    """A span around a block, current within it; one that leads nowhere when this process makes none.

    `carrier` are the headers of a call being served: its `traceparent` is continued, and the decision to sample is
    the caller's where it made one. What is raised passes through and is not recorded: most of it is refusals.
    """
    from opentelemetry.context import Context
    from opentelemetry.propagate import extract
    from opentelemetry.trace import INVALID_SPAN, SpanKind

    if _traces is None:
        yield INVALID_SPAN
        return
    with _traces.tracer.start_as_current_span(
        name,
        context=None if carrier is None else extract(carrier, context=Context()),
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        yield made


def trace_context() -> dict[str, str]:
    """The headers that let whoever is called continue the current trace; none when this process makes no spans."""
    if _traces is None:
        return {}
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def mark_failed(failed: Span) -> None:
    """Tell that a span ended in an error."""
    from opentelemetry.trace import Status, StatusCode

    failed.set_status(Status(StatusCode.ERROR))


def traced(app: ASGIApp) -> ASGIApp:
    """The app with a span around each request; the app itself when this process makes none."""
    return _Traced(app) if tracing() else app


class _Traced:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with span(scope["method"], attributes, kind="server", carrier=carrier) as made:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    made.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        mark_failed(made)
                await send(message)

            await self._app(scope, receive, observed)
