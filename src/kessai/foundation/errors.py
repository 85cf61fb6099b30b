"""The one family of errors that crosses every door.

An error has a stable `code`, one sentence, and says whether the same request may be sent again.
It is turned into HTTP problem details (RFC 9457) or a gRPC status only at the edge.
"""

from __future__ import annotations

from typing import ClassVar


class PaymentError(Exception):
    """Base of all errors that a caller may see. `code` is stable; `message` is one sentence for people."""

    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, code: str, message: str, /, **details: object) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Invalid(PaymentError):
    """The request can never be right as it stands (shape, range, asset)."""

    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class Unauthenticated(PaymentError):
    """No valid key came with the request."""

    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class Forbidden(PaymentError):
    """The key is valid but lacks the scope that the verb needs."""

    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class NotFound(PaymentError):
    """What the request names does not exist."""

    http_status = 404
    grpc_status = "NOT_FOUND"


class Conflict(PaymentError):
    """The request contradicts something that already happened, or is happening."""

    http_status = 409
    grpc_status = "ABORTED"


class RequestInProgress(Conflict):
    """The same idempotency key is being worked on; ask again later."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("request_in_progress", "A request with this idempotency key is still being processed.")


class KeyReused(PaymentError):
    """An idempotency key came back with other content (422, as the Idempotency-Key draft asks)."""

    http_status = 422
    grpc_status = "FAILED_PRECONDITION"

    def __init__(self) -> None:
        super().__init__("idempotency_key_reused", "This idempotency key was used with different content.")


class Refused(PaymentError):
    """A well-formed request that a rule of the business declines (funds, caps, states)."""

    http_status = 422
    grpc_status = "FAILED_PRECONDITION"


class Unavailable(PaymentError):
    """Nothing was done; the same request may be sent again."""

    http_status = 503
    grpc_status = "UNAVAILABLE"
    retryable = True


class DeadlineExceeded(Unavailable):
    """The caller's deadline passed before an answer; resend with the same idempotency key."""

    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"


class Unknown(PaymentError):
    """The outcome is not known: inquire, or resend with the same key; never assume."""

    http_status = 504
    grpc_status = "UNKNOWN"
    retryable = True


def missing_scope(scope: str) -> Forbidden:
    """What a key is told that lacks a scope."""
    return Forbidden("missing_scope", f"This API key lacks the scope {scope}.", scope=scope)


class OperatorError(Exception):
    """Something the operator must mend before the platform can run: printed as one sentence, exit 2."""
