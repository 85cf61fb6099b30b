"""The typed gRPC client of a door: it has the door's verbs and raises the door's own errors."""

# grpcio ships no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, cast

import grpc
import grpc.aio

from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.admission import late
from kessai.foundation.door.problem import error_of
from kessai.foundation.door.proto import Codec, method_of, package_of, pool_of, service_of
from kessai.foundation.door.rpc import ERROR_KEY
from kessai.foundation.door.sending import Sent, current_sending, metadata_of, timeout_s_of
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.telemetry import span, tracing

D = TypeVar("D")

_OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 60_000),
)


def grpc_client(door: type[D], target: str, api_key: str, *, credentials: Any = None) -> D:
    """A client of `door` at `target` (`host:port`); `credentials` are grpc.ChannelCredentials, None is plain text."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
    return cast("D", _GrpcClient(door, channel, api_key))


class _GrpcClient:
    """Its attributes are the door's verbs."""

    def __init__(self, door: type, channel: Any, api_key: str) -> None:
        self._channel = channel
        pool = pool_of([door])
        for bound in verbs_of(door):
            verb = _Verb(pool, door, bound, channel, api_key)
            setattr(self, bound.spec.name, verb.items if bound.spec.stream else verb)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._channel.close()


class _Verb:
    def __init__(self, pool: Any, door: type, bound: BoundVerb, channel: Any, api_key: str) -> None:
        self._spec = bound.spec
        self._api_key = api_key
        self._path = f"{service_of(door)}/{method_of(bound)}"
        self._attributes = {"rpc.system": "grpc", "rpc.service": service_of(door), "rpc.method": method_of(bound)}
        open_call: Callable[..., Any] = channel.unary_stream if bound.spec.stream else channel.unary_unary
        self._call = open_call(
            f"/{self._path}",
            request_serializer=Codec(pool, package_of(door), bound.request).write,
            response_deserializer=Codec(pool, package_of(door), bound.response).read_answer,
        )

    async def __call__(self, request: Message) -> Message:
        if not tracing():
            return await self._ask(request)
        with span(self._path, self._attributes, kind="client"):
            return await self._ask(request)

    async def _ask(self, request: Message) -> Message:
        sent = current_sending()
        call = self._call(request, metadata=self._metadata(sent), timeout=timeout_s_of(sent))
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            raise self._error(error, sent) from None
        _note(sent, await call.trailing_metadata())
        return answer

    async def items(self, request: Message) -> AsyncIterator[Message]:
        """The answers of a streaming verb, one after the other."""
        sent = current_sending()
        call = self._call(request, metadata=self._metadata(sent), timeout=sent.timeout_s)
        try:
            async for item in call:
                yield item
        except grpc.aio.AioRpcError as error:
            raise self._error(error, sent) from None
        finally:
            call.cancel()

    def _metadata(self, sent: Sent) -> tuple[tuple[str, str], ...]:
        return tuple(metadata_of(self._spec, self._api_key, sent).items())

    def _error(self, error: Any, sent: Sent) -> PaymentError:
        trailers = error.trailing_metadata() or ()
        _note(sent, trailers)
        for key, value in trailers:
            if key == ERROR_KEY and (known := error_of(value)) is not None:
                return known
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return late()
        if self._spec.method == "GET":
            return Unavailable("unreachable", "The server cannot be reached just now.")
        # Whether the request arrived cannot be told: only the same key makes sending it again safe.
        return Unknown("no_answer", "The connection failed before an answer; inquire, or send the same key again.")


def _note(sent: Sent, trailers: Any) -> None:
    said = dict(trailers)
    sent.request_id = said.get("x-request-id", sent.request_id)
    sent.replayed = said.get("idempotent-replayed") == "true"
