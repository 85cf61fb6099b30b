"""One verb over HTTP. The deadline answers the caller; the work itself is carried on to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import perf_counter
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.contract import BoundVerb, Message
from kessai.foundation.door.admission import admit, body_bytes_max, late, perform, request_id_of, timeout_ms_of
from kessai.foundation.door.principal import Gate
from kessai.foundation.door.problem import (
    PROBLEM_TYPE,
    BodyTooLarge,
    MethodNotAllowed,
    UnsupportedMediaType,
    encode_problem,
    public_error,
)
from kessai.foundation.door.requests import RequestReader
from kessai.foundation.errors import PaymentError, RequestInProgress, Unauthenticated, Unavailable

STREAM_CHUNK_BYTES = 64 * 1024
CLIENT_CLOSED_STATUS = 499
"""Only ever counted, never sent: the caller left before its answer."""

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", PROBLEM_TYPE.encode())
_NDJSON = (b"content-type", b"application/x-ndjson")
_REPLAYED = (b"idempotent-replayed", b"true")

Headers = dict[bytes, bytes]


class _Gone(Exception):
    """The caller left before its request was complete."""


class _Reply:
    """One request's answer: whoever answers first, the verb or the deadline, is the one who did."""

    __slots__ = ("_expiry", "_send", "request_id", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._expiry: asyncio.Task[None] | None = None
        self.request_id = request_id
        self.status = 0

    def expire(self) -> None:
        """Called by the deadline's timer."""
        if self.status == 0:
            error = late()
            self.status = error.http_status
            self._expiry = asyncio.get_running_loop().create_task(self._refuse(error, None))

    async def result(self, status: int, body: bytes, call: Call) -> None:
        """Send an answer unless the deadline did."""
        if self.status:
            return
        self.status = status
        await self._write(status, _JSON, body, [_REPLAYED] if call.replayed else [])

    async def refusal(self, error: PaymentError, call: Call | None) -> None:
        """Send problem details unless the deadline did."""
        if self.status:
            return
        self.status = error.http_status
        await self._refuse(error, call)

    async def _refuse(self, error: PaymentError, call: Call | None) -> None:
        more: list[tuple[bytes, bytes]] = []
        if call is not None and call.replayed:
            more.append(_REPLAYED)
        match error:
            case Unauthenticated():
                more.append((b"www-authenticate", b"Bearer"))
            case Unavailable() | RequestInProgress():
                more.append((b"retry-after", b"1"))
            case MethodNotAllowed():
                more.append((b"allow", error.allow.encode()))
            case _:
                pass
        await self._write(error.http_status, _PROBLEM, encode_problem(error, self.request_id), more)

    async def _write(
        self, status: int, content_type: tuple[bytes, bytes], body: bytes, more: list[tuple[bytes, bytes]]
    ) -> None:
        headers = [
            content_type,
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", self.request_id.encode()),
            *more,
        ]
        whole = getattr(getattr(self._send, "__self__", None), "write_whole", None)
        if whole is not None and whole(status, headers, body):
            return
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _text(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


class ErrorEndpoint:
    """Answers with one error."""

    def __init__(self, error: PaymentError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, send: Send) -> None:
        request_id = request_id_of(_text(dict(scope["headers"]), b"x-request-id"))
        await _Reply(send, request_id).refusal(self._error, None)


class _Verb:
    """What both kinds of endpoint share: who may come in, and what they ask."""

    def __init__(self, bound: BoundVerb, method: Callable[[Any], Any], gate: Gate) -> None:
        self._spec = bound.spec
        self._method = method
        self._gate = gate
        self._reader = RequestReader(bound)
        self._body_bytes_max = body_bytes_max(bound.spec)
        self._encoder = msgspec.json.Encoder()
        self._deadlines = gate.deadlines

    async def _admit(self, headers: Headers, request_id: str) -> Call:
        return await admit(
            self._spec,
            self._gate.authenticate,
            authorization=_text(headers, b"authorization"),
            idempotency_key=_text(headers, b"idempotency-key"),
            processing_id=_text(headers, b"processing-id"),
            request_id=request_id,
        )

    async def _request(self, scope: Scope, receive: Receive, headers: Headers, values: tuple[str, ...]) -> Message:
        if not self._reader.takes_body:
            return self._reader.of_query(values, scope["query_string"])
        body = await _body(receive, headers, self._body_bytes_max)
        if body or not self._reader.body_optional:
            _require_json(headers.get(b"content-type"))
        return self._reader.of_body(values, scope["query_string"], body)


def _require_json(content_type: bytes | None) -> None:
    if content_type == b"application/json":
        return
    media, *parameters = (part.strip().lower() for part in (content_type or b"").split(b";"))
    charsets = [part for part in parameters if part.startswith(b"charset=")]
    if media != b"application/json" or any(charset[8:].strip(b'"') != b"utf-8" for charset in charsets):
        raise UnsupportedMediaType


async def _body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body, never more than its limit in memory, whatever Content-Length says."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLarge(limit)
    message = await receive()
    chunks: list[bytes] = [message.get("body", b"")]
    size = len(chunks[0])
    while message.get("more_body", False) and size <= limit:
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
    if message["type"] == "http.disconnect":
        raise _Gone
    if size > limit:
        raise BodyTooLarge(limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class VerbEndpoint(_Verb):
    """A verb with one answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: tuple[str, ...]) -> None:
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        reply = _Reply(send, request_id_of(_text(headers, b"x-request-id")))
        loop = asyncio.get_running_loop()
        call: Call | None = None
        step: int | None = None
        try:
            call = await self._admit(headers, reply.request_id)
            timeout_ms = timeout_ms_of(_text(headers, b"x-request-timeout-ms"), self._gate.timeout_ms)
            call.deadline = loop.time() + timeout_ms / 1000
            step = self._deadlines.add(call.deadline, reply.expire)
            request = await self._request(scope, receive, headers, values)
            if not reply.status:
                body = self._encoder.encode(await perform(self._method, request, call))
                await reply.result(self._spec.status, body, call)
        except _Gone:
            reply.status = reply.status or CLIENT_CLOSED_STATUS
        except Exception as error:  # noqa: BLE001 - the edge: nothing may pass unanswered
            known = public_error(error, verb=self._spec.name, request_id=reply.request_id)
            await reply.refusal(known, call)
        finally:
            if step is not None:
                self._deadlines.met(step, reply.expire)
        self._gate.observe(self._spec.name, reply.status, perf_counter() - started)


class StreamEndpoint(_Verb):
    """A verb that answers line after line. It has no deadline; it ends when its caller leaves."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, values: tuple[str, ...]) -> None:
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        reply = _Reply(send, request_id_of(_text(headers, b"x-request-id")))
        call: Call | None = None
        try:
            call = await self._admit(headers, reply.request_id)
            request = await self._request(scope, receive, headers, values)
            await self._stream(self._method(request), receive, send, reply, call)
        except _Gone:
            reply.status = reply.status or CLIENT_CLOSED_STATUS
        except Exception as error:
            known = public_error(error, verb=self._spec.name, request_id=reply.request_id)
            if reply.status:
                raise  # the answer has begun: cutting it short is the only way left to say that it is not whole
            await reply.refusal(known, call)
        finally:
            self._gate.observe(self._spec.name, reply.status, perf_counter() - started)

    async def _stream(
        self, items: AsyncIterator[Message], receive: Receive, send: Send, reply: _Reply, call: Call
    ) -> None:
        token = enter_call(call)
        gone = asyncio.get_running_loop().create_task(_gone(receive))
        lines = bytearray()
        try:
            async for item in items:
                lines += self._encoder.encode(item)
                lines += b"\n"
                if len(lines) >= STREAM_CHUNK_BYTES:
                    await self._chunk(send, reply, bytes(lines), more=True)
                    lines.clear()
                    if gone.done():
                        return
            await self._chunk(send, reply, bytes(lines), more=False)
        finally:
            leave_call(token)
            gone.cancel()
            close: Callable[[], Awaitable[None]] | None = getattr(items, "aclose", None)
            if close is not None:
                await close()

    async def _chunk(self, send: Send, reply: _Reply, lines: bytes, *, more: bool) -> None:
        """The head goes with the first lines, so that an error before them is still a proper answer."""
        if not reply.status:
            reply.status = self._spec.status
            headers = [_NDJSON, (b"x-request-id", reply.request_id.encode())]
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": lines, "more_body": more})
        await asyncio.sleep(0)  # others' turn, also when neither the verb nor the network ever waits


async def _gone(receive: Receive) -> None:
    """Ends when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
