"""The typed REST client of a door: it has the door's verbs and raises the door's own errors.

Value-moving calls carry an Idempotency-Key by themselves; `sending(idempotency_key=…)` sets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec

from kessai.foundation.contract import BoundVerb, Message, verbs_of
from kessai.foundation.door.admission import TIMEOUT_MS_MAX, late
from kessai.foundation.door.problem import error_of
from kessai.foundation.door.requests import path_fields, rest_fields, takes_body
from kessai.foundation.door.sending import Sent, current_sending, metadata_of, timeout_s_of
from kessai.foundation.door.shape import prune
from kessai.foundation.door.wire import CONNECTIONS_MAX, Answer, NoAnswer, NotSent, Wire
from kessai.foundation.errors import PaymentError, Unavailable, Unknown

D = TypeVar("D")

ANSWER_GRACE_S = 1.0
"""How much longer than the server the client waits, so that it hears what became of its request."""


def rest_client(door: type[D], base_url: str, api_key: str, *, connections_max: int = CONNECTIONS_MAX) -> D:
    """A client of `door` at `base_url` (`http://host:port`)."""
    return cast("D", _RestClient(door, Wire(base_url, connections_max=connections_max), api_key))


async def close_client(client: object) -> None:
    """Close what `rest_client` or `grpc_client` made."""
    await cast("Any", client).aclose()


class _RestClient:
    """Its attributes are the door's verbs."""

    def __init__(self, door: type, wire: Wire, api_key: str) -> None:
        self._wire = wire
        for bound in verbs_of(door):
            if bound.spec.public:
                verb = _Verb(bound, wire, api_key)
                setattr(self, bound.spec.name, verb.items if bound.spec.stream else verb)

    async def aclose(self) -> None:
        """Close the connections."""
        self._wire.close()
        await asyncio.sleep(0)  # the loop closes the sockets at its next turn


class _Verb:
    def __init__(self, bound: BoundVerb, wire: Wire, api_key: str) -> None:
        self._spec = bound.spec
        self._wire = wire
        self._api_key = api_key
        self._path = path_fields(bound)
        self._rest = [(field.name, field.default) for field in rest_fields(bound)]
        self._takes_body = takes_body(bound)
        self._encode = msgspec.json.Encoder().encode
        self._decode = _answer_decoder(bound.response)

    async def __call__(self, request: Message) -> Message:
        sent = current_sending()
        timeout_s = timeout_s_of(sent)
        headers = metadata_of(self._spec, self._api_key, sent)
        headers["x-request-timeout-ms"] = str(max(1, min(TIMEOUT_MS_MAX, int(timeout_s * 1000))))
        body = self._body(request, headers)
        repeatable = self._spec.method == "GET" or "idempotency-key" in headers
        try:
            async with asyncio.timeout(timeout_s + ANSWER_GRACE_S):
                answer = await self._wire.request(
                    self._spec.method, self._target(request), headers, body, repeatable=repeatable
                )
        except TimeoutError:
            raise late() from None
        except (NotSent, NoAnswer) as error:
            raise self._unreached(error) from None
        _note(sent, answer)
        if answer.status >= 300:
            raise _error(answer.status, answer.body)
        return self._decode(answer.body)

    async def items(self, request: Message) -> AsyncIterator[Message]:
        """The answers of a streaming verb; Unavailable when they are cut short."""
        sent = current_sending()
        pieces = self._wire.stream(
            self._spec.method, self._target(request), metadata_of(self._spec, self._api_key, sent)
        )
        rest, status = b"", 0
        try:
            async for answer, chunk in pieces:
                _note(sent, answer)
                status = answer.status
                if status >= 300:
                    rest += chunk
                    continue
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield self._decode(line)
            if status >= 300:
                raise _error(status, rest)
        except (NotSent, NoAnswer):
            raise Unavailable("answer_cut_short", "The answer ended before it was whole; ask again.") from None
        finally:
            await cast("Any", pieces).aclose()

    def _target(self, request: Message) -> str:
        values = {name: quote(_plain(getattr(request, name)), safe="") for name in self._path}
        path = self._spec.path.format_map(values)
        if self._takes_body:
            return path
        query = [(name, getattr(request, name)) for name, default in self._rest if getattr(request, name) != default]
        text = urlencode([(name, _query(value)) for name, value in query if value is not None], doseq=True)
        return f"{path}?{text}" if text else path

    def _body(self, request: Message, headers: dict[str, str]) -> bytes:
        if not self._takes_body:
            return b""
        headers["content-type"] = "application/json"
        if not self._path:
            return self._encode(request)
        return self._encode({name: getattr(request, name) for name, _ in self._rest})

    def _unreached(self, error: Exception) -> PaymentError:
        if isinstance(error, NotSent) or self._spec.method == "GET":
            return Unavailable("unreachable", "The server cannot be reached just now.")
        # Whether the request was done cannot be told: only the same key makes sending it again safe.
        return Unknown("no_answer", "The connection failed before an answer; inquire, or send the same key again.")


def _answer_decoder(message: type[Message]) -> Callable[[bytes], Message]:
    """Decodes answers, also those of a newer server, whose additional fields are passed over."""
    decode = msgspec.json.Decoder(message).decode

    def tolerant(body: bytes) -> Message:
        try:
            return decode(body)
        except msgspec.ValidationError:
            return msgspec.convert(prune(message, msgspec.json.decode(body)), message)

    return tolerant


def _plain(value: object) -> str:
    """A value as a path or a query writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat()
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _query(value: object) -> str | list[str]:
    return [_plain(item) for item in cast("list[object]", value)] if isinstance(value, list) else _plain(value)


def _note(sent: Sent, answer: Answer) -> None:
    sent.request_id = answer.headers.get("x-request-id", sent.request_id)
    sent.replayed = answer.headers.get("idempotent-replayed") == "true"


def _error(status: int, body: bytes) -> PaymentError:
    known = error_of(body)
    if known is not None:
        return known
    return Unknown("unexpected_answer", f"The server answered {status} without problem details.")
