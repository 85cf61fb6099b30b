"""The listener on a bare socket: each answer in one piece, and everything else as uvicorn does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.foundation.door_ways import served

BODY = b'{"kept":"together"}'
SOUND = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
ASK = b"GET %s HTTP/1.1\r\nHost: here\r\n\r\n"


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as its path says."""
    headers: list[Any] = {
        "/told": [*SOUND, (b"x-note", b"one\r\ntwo: three")],
        "/shut": [*SOUND, (b"connection", b"close")],
    }.get(scope["path"], SOUND)
    if scope["path"] in ("/untold", "/streamed"):
        headers = SOUND[:1]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/broken":
        raise RuntimeError("after the head")
    if scope["path"] == "/streamed":
        await send({"type": "http.response.body", "body": BODY, "more_body": True})
        await send({"type": "http.response.body", "body": BODY})
        return
    await send({"type": "http.response.body", "body": BODY})


class _Wire(asyncio.Protocol):
    """One connection that keeps what comes, piece by piece."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.pieces: list[bytes] = []
        self.came = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.came.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    async def until(self, end: bytes, times: int = 1) -> bytes:
        """Everything up to the so-manieth `end`."""
        async with asyncio.timeout(10):
            while b"".join(self.pieces).count(end) < times:
                self.came.clear()
                await self.came.wait()
        return b"".join(self.pieces)


@asynccontextmanager
async def _connected(app: Any = _app) -> AsyncGenerator[_Wire]:
    async with served(app) as url:
        host, _, port = url.removeprefix("http://").partition(":")
        transport, wire = await asyncio.get_running_loop().create_connection(_Wire, host, int(port))
        try:
            yield wire
        finally:
            transport.close()
            await wire.lost.wait()


async def test_an_answer_comes_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    made = HttpToolsProtocol.connection_made

    def watched(self: HttpToolsProtocol, transport: Any) -> None:
        made(self, transport)
        self.transport = _Watched(transport, written)  # type: ignore[assignment]

    monkeypatch.setattr(HttpToolsProtocol, "connection_made", watched)
    async with _connected() as wire:
        for turn in (1, 2):
            wire.transport.write(ASK % b"/")
            answer = await wire.until(BODY, turn)
    assert len(written) == 2
    head, _, body = written[1].partition(b"\r\n\r\n")
    assert body == BODY
    assert answer == b"".join(written)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ndate: " in head
    assert b"\r\ncontent-length: 19" in head


class _Watched:
    """A transport whose writes are noted."""

    def __init__(self, transport: Any, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    async with _connected() as wire:
        wire.transport.write(ASK % b"/" + ASK % b"/streamed" + ASK % b"/")
        answers = await wire.until(BODY, 4)
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert answers.index(b"chunked") < answers.rindex(b"content-length")


async def test_a_body_of_untold_length_is_chunked() -> None:
    async with _connected() as wire:
        wire.transport.write(ASK % b"/untold")
        answer = await wire.until(b"0\r\n\r\n")
    assert b"transfer-encoding: chunked" in answer
    assert BODY in answer


async def test_a_header_that_would_end_its_line_is_never_written() -> None:
    async with _connected() as wire:
        wire.transport.write(ASK % b"/told")
        await wire.lost.wait()
    assert wire.pieces == []


async def test_an_answer_that_breaks_off_after_its_head_is_an_error() -> None:
    async with _connected() as wire:
        wire.transport.write(ASK % b"/broken")
        answer = await wire.until(b"Internal Server Error", 2)
    assert answer.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("path", [b"/shut", b"/"])
async def test_a_connection_is_closed_after_its_last_answer(path: bytes) -> None:
    close = b"" if path == b"/shut" else b"Connection: close\r\n"
    async with _connected() as wire:
        wire.transport.write(b"GET %s HTTP/1.1\r\nHost: here\r\n%s\r\n" % (path, close))
        answer = await wire.until(BODY)
        await wire.lost.wait()
    assert answer.lower().count(b"connection: close") == 1


async def test_head_gives_the_head_alone() -> None:
    async with _connected() as wire:
        wire.transport.write(b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n")
        answer = await wire.until(b"\r\n\r\n")
        wire.transport.write(ASK % b"/")
        both = await wire.until(BODY)
    assert answer.count(BODY) == 0
    assert both.count(BODY) == 1
