"""OpenTelemetry spans of runs and attempts, where the engine was given a tracer. Payloads are never attributes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.model import Activity


@contextmanager
def attempt_span(tracer: Tracer, name: str, activity: Activity[Any]) -> Generator[None]:
    """The span of one attempt; its error's code is an attribute, its message is not."""
    attributes = {
        "kessai.workflow.id": activity.workflow_id,
        "kessai.activity.key": activity.key,
        "kessai.activity.attempt": activity.attempt,
    }
    with _span(tracer, f"activity {name}", attributes):
        yield


@contextmanager
def run_span(tracer: Tracer, name: str, workflow_id: str, *, resumed: bool) -> Generator[None]:
    """The span of one run: from its start, or from its recovery, until this executor is done with it."""
    with _span(tracer, f"workflow {name}", {"kessai.workflow.id": workflow_id, "kessai.workflow.resumed": resumed}):
        yield


@contextmanager
def _span(tracer: Tracer, name: str, attributes: dict[str, Any]) -> Generator[None]:
    with tracer.start_as_current_span(
        name, kind=SpanKind.INTERNAL, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield
        except PaymentError as error:
            span.set_attribute("kessai.error.code", error.code)
            span.set_status(Status(StatusCode.ERROR, error.code))
            raise
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
