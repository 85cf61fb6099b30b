"""Errors at the edge: problem details (RFC 9457) out of a PaymentError, and the same PaymentError out of them again.

gRPC carries the same JSON in the trailing metadata `kessai-error-bin`, so one error reads alike on every way in.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
import structlog

from kessai.foundation.errors import (
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    PaymentError,
    Refused,
    RequestInProgress,
    Unauthenticated,
    Unavailable,
    Unknown,
)

PROBLEM_TYPE = "application/problem+json"
STANDARD_MEMBERS = frozenset({"type", "title", "status", "detail", "code", "retryable", "request_id"})
_log = structlog.get_logger("kessai.door")


class RouteNotFound(NotFound):
    """No verb lives at this path."""

    def __init__(self, path: str) -> None:
        super().__init__("route_not_found", f"There is nothing at {path[:200]}.")


class MethodNotAllowed(Invalid):
    """The path exists, but not with this method."""

    http_status = 405
    grpc_status = "UNIMPLEMENTED"
    allow: str = ""
    """What the path does take, as the header Allow wants it."""

    def __init__(self, method: str, allow: str) -> None:
        super().__init__("method_not_allowed", f"This path takes {allow}, not {method[:20]}.")
        self.allow = allow


class BodyTooLarge(Invalid):
    """The body is above the limit of its verb."""

    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("body_too_large", f"The body may have at most {limit_bytes} bytes.", limit_bytes=limit_bytes)


class UnsupportedMediaType(Invalid):
    """The body is not declared as JSON."""

    http_status = 415

    def __init__(self) -> None:
        super().__init__("unsupported_media_type", "Send the body as Content-Type: application/json in UTF-8.")


class InternalError(Unknown):
    """A fault of the platform's own: the outcome is not known, and the same key may be sent again."""

    http_status = 500
    grpc_status = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("internal_error", "Something went wrong on our side; quote request_id when you report it.")


_BY_CODE: dict[str, type[PaymentError]] = {
    "route_not_found": RouteNotFound,
    "method_not_allowed": MethodNotAllowed,
    "request_in_progress": RequestInProgress,
    "idempotency_key_reused": KeyReused,
    "deadline_exceeded": DeadlineExceeded,
}
_BY_STATUS: dict[int, type[PaymentError]] = {
    400: Invalid,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: BodyTooLarge,
    415: UnsupportedMediaType,
    422: Refused,
    500: InternalError,
    503: Unavailable,
    504: Unknown,
}


def public_error(error: Exception, *, verb: str, request_id: str) -> PaymentError:
    """The error that the caller may see; an unexpected one is logged whole and told as `internal_error`."""
    if isinstance(error, PaymentError) and type(error) is not PaymentError:
        return error
    _log.error("unexpected_error", verb=verb, request_id=request_id, exc_info=error)
    return InternalError()


def problem_of(error: PaymentError, request_id: str) -> dict[str, object]:
    """The problem details of an error; its own details never overwrite a standard member."""
    problem: dict[str, object] = {
        "type": f"urn:kessai:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.http_status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    for name, value in error.details.items():
        problem.setdefault(name, value)
    return problem


def encode_problem(error: PaymentError, request_id: str) -> bytes:
    """Problem details as JSON."""
    return msgspec.json.encode(problem_of(error, request_id), enc_hook=str)


def error_of(body: bytes) -> PaymentError | None:
    """The PaymentError that problem details tell of, or None when they are no problem details."""
    try:
        problem: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(problem, dict) or "code" not in problem or "status" not in problem:
        return None
    return _rebuild(cast("dict[str, Any]", problem))


def _rebuild(problem: dict[str, Any]) -> PaymentError:
    status, code = problem["status"], str(problem["code"])
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status) or (Unknown if status >= 500 else Invalid)
    details = {name: value for name, value in problem.items() if name not in STANDARD_MEMBERS}
    # Not through the subclass's own constructor: several fix their code and take no arguments.
    error = kind.__new__(kind)
    PaymentError.__init__(error, code, str(problem.get("detail", "")), **details)
    return error
