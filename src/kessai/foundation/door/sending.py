"""How a caller of a typed client says more than the request: the idempotency key, and what came back beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from kessai.foundation.call import current_call
from kessai.foundation.contract import VerbSpec
from kessai.foundation.door.admission import TIMEOUT_MS_DEFAULT
from kessai.foundation.ids import new_hex
from kessai.foundation.telemetry import trace_context


@dataclass(slots=True)
class Sent:
    """What is sent along with the calls made within `sending(…)`, and what the last answer said."""

    idempotency_key: str | None = None
    request_id: str | None = None
    """Sent when set; afterwards the request id that the server answered with."""
    timeout_s: float | None = None
    replayed: bool = False
    """Whether the last answer came from store (`Idempotent-Replayed`)."""


_sent: ContextVar[Sent | None] = ContextVar("kessai_sent", default=None)


@contextmanager
def sending(
    *, idempotency_key: str | None = None, request_id: str | None = None, timeout_s: float | None = None
) -> Generator[Sent, None, None]:
    """Calls made inside carry these; without a key, value-moving calls get a fresh one each."""
    sent = Sent(idempotency_key, request_id, timeout_s)
    token = _sent.set(sent)
    try:
        yield sent
    finally:
        _sent.reset(token)


def current_sending() -> Sent:
    """What is sent along with the call being made."""
    return _sent.get() or Sent()


def metadata_of(spec: VerbSpec, api_key: str, sent: Sent) -> dict[str, str]:
    """The headers (or gRPC metadata) of one call, in lower case."""
    metadata = {"authorization": f"Bearer {api_key}"}
    if spec.moves_value or (sent.idempotency_key is not None and spec.method != "GET"):
        metadata["idempotency-key"] = sent.idempotency_key or new_hex()
    if sent.request_id is not None:
        metadata["x-request-id"] = sent.request_id
    processing_id = current_call().processing_id
    if processing_id is not None:
        metadata["processing-id"] = processing_id
    metadata.update(trace_context())
    return metadata


def timeout_s_of(sent: Sent) -> float:
    """How long to wait for an answer: the caller's own timeout, else what is left of the call being served."""
    if sent.timeout_s is not None:
        return sent.timeout_s
    deadline = current_call().deadline
    if deadline is None:
        return TIMEOUT_MS_DEFAULT / 1000
    return max(0.001, deadline - asyncio.get_running_loop().time())
