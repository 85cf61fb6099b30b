"""gRPC: the same verbs, the same refusals, standard protobuf on the wire, with reflection and health.

Metadata in: `authorization`, `idempotency-key`, `x-request-id`, `processing-id`, `traceparent`. Trailing metadata out:
`x-request-id`, `idempotent-replayed`, and on a refusal `kessai-error-bin`: its problem details as JSON.
"""

# grpcio ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportMissingModuleSource=false

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.admission import (
    BATCH_BODY_BYTES_MAX,
    TIMEOUT_MS_DEFAULT,
    TIMEOUT_MS_MAX,
    admit,
    body_bytes_max,
    carry,
    late,
    perform,
    request_id_of,
)
from kessai.foundation.door.principal import Authenticate, Gate, Observe
from kessai.foundation.door.problem import BodyTooLarge, encode_problem, public_error
from kessai.foundation.door.proto import Codec, method_of, package_of, pool_of, service_of
from kessai.foundation.door.rest import Doors, observe_nothing
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.telemetry import mark_failed, span, tracing

ERROR_KEY = "kessai-error-bin"
ERROR_BYTES_MAX = 6 * 1024
"""Trailing metadata is bounded on the way: past this an error crosses without its details."""
_OPTIONS = (
    # A body just above the limit still arrives, so that it is refused with its code.
    ("grpc.max_receive_message_length", BATCH_BODY_BYTES_MAX + 1024 * 1024),
    ("grpc.max_send_message_length", -1),
)

_OUR_FAULT = frozenset(
    getattr(grpc.StatusCode, name).value[0]
    for name in ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""Statuses that make a span an error one; the others are refusals (OpenTelemetry's semantic conventions for RPC)."""

Context: TypeAlias = Any
"""A grpc.aio.ServicerContext."""


def grpc_server(
    doors: Doors,
    *,
    authenticate: Authenticate,
    host: str,
    port: int,
    observe: Observe = observe_nothing,
    reuse_port: bool = False,
    timeout_ms: int = TIMEOUT_MS_DEFAULT,
) -> tuple[Any, int]:
    """A grpc.aio.Server for some doors, not yet started, and the port it is bound to (0 picks a free one).

    `reuse_port` lets several worker processes share the port; `timeout_ms` is the deadline of a call that names none.
    Raises OperatorError when it cannot be bound.
    """
    server = grpc.aio.server(options=[*_OPTIONS, ("grpc.so_reuseport", int(reuse_port))])
    pool = pool_of(door for door, _ in doors)
    gate = Gate(authenticate, observe, timeout_ms)
    for door, implementation in doors:
        handlers = {
            method_of(bound): _handler(pool, door, bound, getattr(implementation, bound.spec.name), gate)
            for bound in verbs_of(door)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_of(door), handlers),))
    _add_health_and_reflection(server, pool, [service_of(door) for door, _ in doors])
    try:
        bound_port = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError:
        bound_port = 0
    if bound_port == 0:
        raise OperatorError(f"gRPC cannot listen on {host}:{port}; is something else listening there?")
    return server, bound_port


def _add_health_and_reflection(server: Any, pool: Any, services: list[str]) -> None:
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    health_pb2_grpc.add_HealthServicer_to_server(_Health(services), server)
    names = [*services, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=pool)


class _Health(health_pb2_grpc.HealthServicer):
    """grpc.health.v1: a process that answers serves all its services; readiness is `/readyz`'s matter."""

    def __init__(self, services: list[str]) -> None:
        self._services = {"", *services}

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 - the protocol's own name
        """SERVING for the whole server and each of its services."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: N802 - the protocol's own name
        """The status once; it then lasts as long as the connection."""
        del context
        kind = health_pb2.HealthCheckResponse
        yield kind(status=kind.SERVING if request.service in self._services else kind.SERVICE_UNKNOWN)
        await asyncio.Event().wait()


def _handler(pool: Any, door: type, bound: BoundVerb, method: Callable[[Any], Any], gate: Gate) -> Any:
    verb = _Verb(pool, package_of(door), bound, method, gate)
    traces = _Traces(service_of(door), method_of(bound)) if tracing() else None
    if bound.spec.stream:
        return grpc.unary_stream_rpc_method_handler(traces.around_stream(verb.stream) if traces else verb.stream)
    return grpc.unary_unary_rpc_method_handler(traces.around(verb.unary) if traces else verb.unary)


class _Traces:
    """A span around each call of one verb."""

    def __init__(self, service: str, method: str) -> None:
        self._name = f"{service}/{method}"
        self._attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}

    def around(self, unary: Callable[[bytes, Context], Awaitable[bytes]]) -> Any:
        async def traced(raw: bytes, context: Context) -> bytes:
            with self._span(context):
                return await unary(raw, context)

        return traced

    def around_stream(self, stream: Callable[[bytes, Context], AsyncIterator[bytes]]) -> Any:
        async def traced(raw: bytes, context: Context) -> AsyncIterator[bytes]:
            with self._span(context):
                async for item in stream(raw, context):
                    yield item

        return traced

    @contextmanager
    def _span(self, context: Context) -> Generator[None]:
        with span(self._name, self._attributes, kind="server", carrier=_said(context)) as made:
            try:
                yield
            finally:
                code = context.code() or 0
                number: int = code.value[0] if isinstance(code, grpc.StatusCode) else code
                made.set_attribute("rpc.grpc.status_code", number)
                if number in _OUR_FAULT:
                    mark_failed(made)


class _Verb:
    """One verb over gRPC; raw bytes in and out, so that every refusal of a request can carry its code."""

    def __init__(
        self,
        pool: Any,
        package: str,
        bound: BoundVerb,
        method: Callable[[Any], Any],
        gate: Gate,
    ) -> None:
        self._spec = bound.spec
        self._request = Codec(pool, package, bound.request)
        self._response = Codec(pool, package, bound.response)
        self._method = method
        self._gate = gate
        self._bytes_max = body_bytes_max(bound.spec)

    async def unary(self, raw: bytes, context: Context) -> bytes:
        """One answer. The work runs in a task of its own: a caller who leaves or times out does not stop it."""
        started = perf_counter()
        said = _said(context)
        request_id = request_id_of(said.get("x-request-id"))
        call: Call | None = None
        try:
            call = await self._admit(said, request_id)
            answer = self._response.write(await self._carried(self._read(raw), call, context))
        except Exception as error:
            known = public_error(error, verb=self._spec.name, request_id=request_id)
            self._gate.observe(self._spec.name, known.http_status, perf_counter() - started)
            await _refuse(context, known, request_id, call)
            raise
        context.set_trailing_metadata(_trailers(request_id, call))
        self._gate.observe(self._spec.name, self._spec.status, perf_counter() - started)
        return answer

    async def stream(self, raw: bytes, context: Context) -> AsyncIterator[bytes]:
        """Answer after answer; it ends when its caller leaves."""
        started = perf_counter()
        said = _said(context)
        request_id = request_id_of(said.get("x-request-id"))
        call: Call | None = None
        try:
            call = await self._admit(said, request_id)
            async for item in self._items(self._method(self._read(raw)), call):
                yield self._response.write(item)
        except Exception as error:  # noqa: BLE001 - the edge: nothing may pass unanswered
            known = public_error(error, verb=self._spec.name, request_id=request_id)
            self._gate.observe(self._spec.name, known.http_status, perf_counter() - started)
            await _refuse(context, known, request_id, call)
        else:
            context.set_trailing_metadata(_trailers(request_id, call))
            self._gate.observe(self._spec.name, self._spec.status, perf_counter() - started)

    async def _admit(self, said: dict[str, str], request_id: str) -> Call:
        return await admit(
            self._spec,
            self._gate.authenticate,
            authorization=said.get("authorization"),
            idempotency_key=said.get("idempotency-key"),
            processing_id=said.get("processing-id"),
            request_id=request_id,
        )

    def _read(self, raw: bytes) -> Message:
        if len(raw) > self._bytes_max:
            raise BodyTooLarge(self._bytes_max)
        return self._request.read(raw)

    async def _carried(self, request: Message, call: Call, context: Context) -> Message:
        loop = asyncio.get_running_loop()
        left_s = context.time_remaining()
        timeout_s = self._gate.timeout_ms / 1000 if left_s is None else min(left_s, TIMEOUT_MS_MAX / 1000)
        call.deadline = loop.time() + timeout_s
        task = carry(perform(self._method, request, call))
        done, _ = await asyncio.wait((task,), timeout=timeout_s)
        if not done:
            raise late()
        return task.result()

    async def _items(self, items: AsyncIterator[Message], call: Call) -> AsyncIterator[Message]:
        token = enter_call(call)
        try:
            async for item in items:
                yield item
        finally:
            leave_call(token)
            close: Callable[[], Awaitable[None]] | None = getattr(items, "aclose", None)
            if close is not None:
                await close()


def _said(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _trailers(request_id: str, call: Call | None) -> tuple[tuple[str, str | bytes], ...]:
    trailers: list[tuple[str, str | bytes]] = [("x-request-id", request_id)]
    if call is not None and call.replayed:
        trailers.append(("idempotent-replayed", "true"))
    return tuple(trailers)


async def _refuse(context: Context, error: PaymentError, request_id: str, call: Call | None) -> None:
    """End the call with the error's status; raises what grpc.aio wants raised."""
    problem = encode_problem(error, request_id)
    if len(problem) > ERROR_BYTES_MAX:
        problem = encode_problem(_without_details(error), request_id)
    context.set_trailing_metadata((*_trailers(request_id, call), (ERROR_KEY, problem)))
    await context.abort(grpc.StatusCode[error.grpc_status], str(error)[:1024])


def _without_details(error: PaymentError) -> PaymentError:
    bare = type(error).__new__(type(error))
    PaymentError.__init__(bare, error.code, error.message[:1024])
    return bare
