"""One serving process: REST (uvicorn), gRPC and ISO 8583 side by side over one Platform, until it is told to stop.

Stopping loses nothing: listeners close, requests in flight are answered, queues drain, leases are released. It takes
seconds: a workflow that waits for somebody outside for longer is durable, and goes on in another process or after the
next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn

from kessai.apps.jobs import Scheduler
from kessai.apps.memory import settle_memory
from kessai.apps.nfc_line import listening
from kessai.apps.nfc_server import NfcServer
from kessai.apps.wiring import Platform
from kessai.foundation.config import Settings
from kessai.foundation.door import carried_to_completion
from kessai.foundation.door.listener import DoorProtocol
from kessai.foundation.telemetry import close_traces, configure_traces, traced

log = structlog.get_logger(__name__)

BACKLOG = 2048
KEEP_ALIVE_S = 65
STOP_TIMEOUT_S = 10.0
"""How long requests in flight may take to be answered: no payment takes longer to say that its outcome is UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a process serves, REST apart."""

    grpc: int
    nfc: int


class _Rest(uvicorn.Server):
    """uvicorn that leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Nothing to capture."""
        yield


async def serve(
    platform: Platform,
    settings: Settings,
    rest_socket: socket.socket,
    stop: asyncio.Event,
    *,
    ready: Callable[[Ports], None],
    reuse_port: bool = False,
) -> None:
    """Open the platform and serve until `stop` is set; `ready` is told the ports once all ways in are open."""
    configure_traces(endpoint=settings.traces_endpoint, ratio=settings.traces_ratio)
    await platform.open()
    scheduler = Scheduler(platform)
    grpc_server: Any = None
    nfc_server: NfcServer | None = None
    try:
        grpc_server, grpc_port = platform.grpc(host=settings.host, port=settings.grpc_port, reuse_port=reuse_port)
        rest = _rest(platform, settings)
        serving = asyncio.create_task(rest.serve([rest_socket]))
        while not rest.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.005)
        await grpc_server.start()
        nfc_server = platform.nfc_server = await _nfc(platform, settings, reuse_port=reuse_port)
        await scheduler.open()
        settle_memory()
        ready(Ports(grpc_port, nfc_server.port))
        await _until_either(serving, stop)
        platform.ready = False
        rest.should_exit = True
        loop = asyncio.get_running_loop()
        until = loop.time() + STOP_TIMEOUT_S
        await asyncio.gather(serving, grpc_server.stop(STOP_TIMEOUT_S), nfc_server.stop(grace_s=STOP_TIMEOUT_S))
        if not await carried_to_completion(max(0.0, until - loop.time())):
            log.warning("stopped_with_work_underway")
    finally:
        await scheduler.close()
        if grpc_server is not None:
            await grpc_server.stop(0)
        if nfc_server is not None:
            await nfc_server.stop(grace_s=0)
        await platform.close()
        await asyncio.to_thread(close_traces)


async def _nfc(platform: Platform, settings: Settings, *, reuse_port: bool) -> NfcServer:
    desk = platform.nfc.authorizations
    return await listening(desk, desk.rules.wire, settings, reuse_port=reuse_port)


def _rest(platform: Platform, settings: Settings) -> _Rest:
    return _Rest(
        uvicorn.Config(
            traced(platform.rest()),
            http=DoorProtocol,
            ws="none",
            loop="none",
            lifespan="off",
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=int(STOP_TIMEOUT_S),
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
        )
    )


async def _until_either(serving: asyncio.Task[None], stop: asyncio.Event) -> None:
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, asked), return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
