"""What the platform tells of itself: logs (one JSON object a line, to stderr), metrics (Prometheus), traces (OTLP).

Secrets never get there: values under telling names, API keys and passwords inside URLs are masked before rendering.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, cast

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, multiprocess
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kessai.foundation.call import current_call

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
    renderer = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer()
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
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text form: of all workers together, where there are several."""
    if METRICS_FOLDER_VARIABLE not in os.environ:
        return generate_latest(registry)
    together = CollectorRegistry()
    multiprocess.MultiProcessCollector(together)  # pyright: ignore[reportUnknownMemberType]
    return generate_latest(together)


# -- traces -----------------------------------------------------------------------------------------------------


def traced(app: ASGIApp, *, endpoint: str | None, ratio: float) -> ASGIApp:
    """The app with a sampled span around each request, sent to `endpoint`; the app itself when there is none."""
    return app if endpoint is None else _Traced(app, endpoint, ratio)


class _Traced:
    """Continues a caller's `traceparent`; the decision to sample is the caller's where it made one."""

    def __init__(self, app: ASGIApp, endpoint: str, ratio: float) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )  # only when traces are wanted
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)), resource=Resource.create({"service.name": "kessai"})
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self._tracer = provider.get_tracer("kessai")
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.propagate import extract
        from opentelemetry.trace import SpanKind, Status, StatusCode

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        attributes = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with self._tracer.start_as_current_span(
            scope["method"], context=extract(carrier), kind=SpanKind.SERVER, attributes=attributes
        ) as span:

            async def observed(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, observed)
