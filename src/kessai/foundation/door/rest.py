"""REST: each verb at its route, one request Message in, one JSON answer (or NDJSON lines) out.

Endpoints are plain ASGI, dispatched before Starlette's own stack, which serves everything else (health, metrics,
pages). Every answer carries X-Request-Id; every error is problem details.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import Lifespan, Receive, Scope, Send

from kessai.foundation.contract import verbs_of
from kessai.foundation.door.admission import TIMEOUT_MS_DEFAULT, request_id_of
from kessai.foundation.door.endpoint import ErrorEndpoint, StreamEndpoint, VerbEndpoint
from kessai.foundation.door.openapi import openapi_bytes
from kessai.foundation.door.page import docs_page
from kessai.foundation.door.principal import Authenticate, Gate, Observe
from kessai.foundation.door.problem import (
    PROBLEM_TYPE,
    MethodNotAllowed,
    RouteNotFound,
    encode_problem,
    public_error,
)
from kessai.foundation.door.routing import Routes
from kessai.foundation.errors import PaymentError

Doors: TypeAlias = Sequence[tuple[type, object]]
"""Each door with the object that implements it."""
Endpoint: TypeAlias = VerbEndpoint | StreamEndpoint


def observe_nothing(verb: str, status: int, seconds: float) -> None:
    """The observer of those who do not count."""


def rest_app(
    doors: Doors,
    *,
    authenticate: Authenticate,
    observe: Observe = observe_nothing,
    extra_routes: Sequence[BaseRoute] = (),
    lifespan: Lifespan[Any] | None = None,
    timeout_ms: int = TIMEOUT_MS_DEFAULT,
) -> DoorApp:
    """The public HTTP interface of some doors, with `/openapi.json` and `/docs`.

    `timeout_ms` is the deadline of a request that names none.
    """
    routes: Routes[Endpoint] = Routes()
    gate = Gate(authenticate, observe, timeout_ms)
    for door, implementation in doors:
        for bound in verbs_of(door):
            if not bound.spec.public:
                continue
            kind = StreamEndpoint if bound.spec.stream else VerbEndpoint
            endpoint = kind(bound, getattr(implementation, bound.spec.name), gate)
            routes.add(bound.spec.method, bound.spec.path, endpoint)
    return DoorApp(routes, _documents([door for door, _ in doors]), extra_routes, lifespan)


def _documents(doors: Sequence[type]) -> dict[str, tuple[bytes, bytes]]:
    document = openapi_bytes(doors)
    return {
        "/openapi.json": (b"application/json", document),
        "/docs": (b"text/html; charset=utf-8", docs_page(document)),
    }


class DoorApp(Starlette):
    """Starlette behind an exact dispatch of verbs: their number does not slow a request down."""

    def __init__(
        self,
        verbs: Routes[Endpoint],
        documents: dict[str, tuple[bytes, bytes]],
        extra_routes: Sequence[BaseRoute],
        lifespan: Lifespan[Any] | None,
    ) -> None:
        handlers = {404: _not_found, 405: _not_allowed, Exception: _unexpected}
        super().__init__(routes=list(extra_routes), exception_handlers=handlers, lifespan=lifespan)
        self.router.redirect_slashes = False
        self._verbs = verbs
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path: str = scope["path"]
        try:
            found = self._verbs.find(path, scope.get("raw_path") or path.encode())
        except PaymentError as error:
            await ErrorEndpoint(error)(scope, send)
            return
        if found is not None:
            methods, values = found
            endpoint = methods.get("GET" if scope["method"] == "HEAD" else scope["method"])
            if endpoint is None:
                await ErrorEndpoint(_wrong_method(scope["method"], list(methods)))(scope, send)
            else:
                await endpoint(scope, receive, send, values)
        elif path in self._documents and scope["method"] in ("GET", "HEAD"):
            await _send_document(scope, send, *self._documents[path])
        else:
            await super().__call__(scope, receive, send)


def _wrong_method(method: str, allowed: list[str]) -> PaymentError:
    return MethodNotAllowed(method, ", ".join(sorted({*allowed, "HEAD"} if "GET" in allowed else allowed)))


async def _send_document(scope: Scope, send: Send, content_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    request_id = request_id_of(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
    headers.append((b"x-request-id", request_id.encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _problem_response(request: Request, error: PaymentError, headers: dict[str, str]) -> Response:
    request_id = request_id_of(request.headers.get("x-request-id"))
    body = encode_problem(error, request_id)
    return Response(body, error.http_status, {**headers, "x-request-id": request_id}, PROBLEM_TYPE)


async def _not_found(request: Request, _: Exception) -> Response:
    return _problem_response(request, RouteNotFound(request.url.path), {})


async def _not_allowed(request: Request, error: Exception) -> Response:
    headers = cast("dict[str, str]", getattr(error, "headers", None) or {})
    allow = headers.get("Allow", "")
    refusal = _wrong_method(request.method, [name for name in allow.split(", ") if name])
    return _problem_response(request, refusal, {"allow": allow})


async def _unexpected(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request.headers.get("x-request-id"))
    return _problem_response(request, public_error(error, verb=request.url.path, request_id=request_id), {})


__all__ = ["DoorApp", "Doors", "observe_nothing", "rest_app"]
