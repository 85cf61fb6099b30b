"""A lean HTTP/1.1 client: kept-alive connections, one request at a time on each, parsed by httptools."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

import httptools

CONNECTIONS_MAX = 64
CONNECT_TIMEOUT_S = 5.0
IDLE_S_MAX = 4.0
"""Below what servers keep an idle connection open for (uvicorn: 5 s), so that few are found closed."""
BUFFER_BYTES_MAX = 1024 * 1024


class NotSent(Exception):
    """The server cannot have seen the request."""


class NoAnswer(Exception):
    """The request was sent, but its answer did not come back whole."""


@dataclass(slots=True)
class Answer:
    """Status, headers in lower case, and a body that may still be arriving."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Connection(asyncio.Protocol):
    """One connection; `ask` sends a request, `head` and `chunks` read its answer."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.reusable = False
        self.untouched = True
        """Not one byte has come back for the request in flight."""
        self._changed: asyncio.Future[None] | None = None
        self._lost = False
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer = Answer()
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._headed = False
        self._complete = False
        self.reusable = False
        self.untouched = True

    @property
    def open(self) -> bool:
        """Whether a request may be tried on it."""
        return not self._lost and self.transport is not None and not self.transport.is_closing()

    def ask(self, request: bytes) -> None:
        """Send a whole request."""
        assert self.transport is not None
        self._begin()
        self.transport.write(request)

    async def head(self) -> Answer:
        """The answer as soon as its headers are there."""
        while not self._headed:
            await self._wait()
        return self._answer

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's pieces as they arrive."""
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._buffered -= len(chunk)
                if self._buffered < BUFFER_BYTES_MAX // 2 and self.transport is not None and not self._lost:
                    self.transport.resume_reading()
                yield chunk
            if self._complete:
                return
            await self._wait()

    async def _wait(self) -> None:
        if self._lost:
            raise NoAnswer
        self._changed = asyncio.get_running_loop().create_future()
        await self._changed
        self._changed = None

    def _wake(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    def close(self) -> None:
        """Drop the connection."""
        if self.transport is not None:
            self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        self.untouched = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._lost = True
            self.close()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._lost = True
        self._wake()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._answer.status = self._parser.get_status_code()
        self._headed = True

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > BUFFER_BYTES_MAX and self.transport is not None:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = True
        self.reusable = bool(self._parser.should_keep_alive())


class Wire:
    """Connections to one server."""

    def __init__(self, base_url: str, *, connections_max: int = CONNECTIONS_MAX) -> None:
        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or url.hostname is None:
            raise ValueError(f"not an HTTP address: {base_url}")
        self._host, self._tls = url.hostname, url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._prefix = url.path.rstrip("/")
        self._host_line = f"host: {url.netloc.rpartition('@')[2]}\r\n"
        self._idle: list[_Connection] = []
        self._room = asyncio.Semaphore(connections_max)

    async def request(
        self, method: str, target: str, headers: dict[str, str], body: bytes, *, repeatable: bool
    ) -> Answer:
        """One request and its whole answer; `repeatable` allows a second try on a connection found closed."""
        async with self._room:
            connection, answer = await self._ask(method, target, headers, body, repeatable=repeatable)
            try:
                answer.body = b"".join([chunk async for chunk in connection.chunks()])
            finally:
                self._give_back(connection)
            return answer

    async def stream(self, method: str, target: str, headers: dict[str, str]) -> AsyncIterator[tuple[Answer, bytes]]:
        """The pieces of a long answer, each with its head; at least one, maybe empty."""
        async with self._room:
            connection, answer = await self._ask(method, target, headers, b"", repeatable=True)
            try:
                yield answer, b""
                async for chunk in connection.chunks():
                    yield answer, chunk
            finally:
                self._give_back(connection)

    async def _ask(
        self, method: str, target: str, headers: dict[str, str], body: bytes, *, repeatable: bool
    ) -> tuple[_Connection, Answer]:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = f"content-length: {len(body)}\r\n" if body or method != "GET" else ""
        head = f"{method} {self._prefix}{target} HTTP/1.1\r\n{self._host_line}{lines}{length}\r\n"
        request = head.encode("latin-1") + body
        while True:
            connection, fresh = await self._take()
            connection.ask(request)
            try:
                return connection, await connection.head()
            except NoAnswer:
                if fresh or not repeatable or not connection.untouched:
                    raise
            except BaseException:
                connection.close()
                raise

    async def _take(self) -> tuple[_Connection, bool]:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and now - connection.idle_since < IDLE_S_MAX:
                return connection, False
            connection.close()
        return await self._connect(), True

    async def _connect(self) -> _Connection:
        tls = ssl.create_default_context() if self._tls else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self._host, self._port, ssl=tls)
        except (OSError, TimeoutError) as error:
            raise NotSent from error
        return connection

    def _give_back(self, connection: _Connection) -> None:
        if connection.reusable and connection.open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
