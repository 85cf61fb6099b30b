"""A simulator's listener: uvicorn on loopback in the running event loop, whose lines can be cut under a reply."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from kessai.simulators.faults import Fault

_LINE = "kessai.line"
GARBAGE = b'\x00\xff{"state": "author'


class _Line(HttpToolsProtocol):
    """Lets the application reach the connection that a request came on."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # an ASGI scope may carry extensions
        scope["extensions"] = {_LINE: self.transport}


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to its host."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing to capture."""
        yield


class Listener:
    """Serves an application on one address; it can stop and start again there, as a party that goes down does."""

    def __init__(self, app: ASGIApp, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._port, "it has not been started"
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; a free port is taken once and kept."""
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self._host, self._port))
        self._port = bound.getsockname()[1]
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http=_Line,
            ws="none",
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([bound]))
        while not self._server.started and not self._serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.002)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(ClientDisconnect):  # gone before the request was whole: it was never made
            await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Cut every line and listen no more."""
        if self._server is None or self._serving is None:
            return
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        for task in list(self._server.server_state.tasks):
            task.cancel()
        self._server.should_exit = True
        await self._serving
        self._server = self._serving = None


class Cut(Response):
    """No reply: the line is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport = scope["extensions"][_LINE]
        transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


class Twice(Response):
    """The same reply two times on one line."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        head = [f"HTTP/1.1 {self.status_code} OK".encode()]
        head += [name + b": " + value for name, value in self.raw_headers]
        transport = scope["extensions"][_LINE]
        if not transport.is_closing():
            transport.write(b"\r\n".join(head) + b"\r\n\r\n" + bytes(self.body))


def spoiled(reply: Response, fault: Fault | None) -> Response:
    """What the caller hears in place of a reply."""
    match fault.reply if fault is not None else "normal":
        case "normal":
            return reply
        case "drop":
            return Cut()
        case "twice":
            return Twice(reply.body, reply.status_code, media_type="application/json")
        case "garbage":
            return Response(GARBAGE, 200, media_type="application/json")
        case "fail":
            assert fault is not None
            return Response(b'{"code": "internal"}', fault.status, media_type="application/json")


async def pause(delay_ms: int) -> None:
    """Wait in real time."""
    if delay_ms:
        await asyncio.sleep(delay_ms / 1000)


async def body_of(request: Request) -> bytes:
    """A request's body; empty when there is none."""
    return await request.body()
