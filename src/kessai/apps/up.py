"""`kessai up`: the database, the migrations, the first API key, then one serving process or several."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncGenerator

import structlog
import uvloop
from msgspec.structs import replace

from kessai import __version__
from kessai.apps.place import Place, data_folder, own_place
from kessai.apps.serve import Stopping, bound_socket, serve
from kessai.apps.wiring import Platform, prepare
from kessai.apps.workers import supervise
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.postgres import EmbeddedPostgres

log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM; raises OperatorError when it cannot start or cannot go on."""
    uvloop.run(_up(settings))


async def _up(settings: Settings) -> None:
    stopping = Stopping()
    stopping.listen(signal.SIGINT, signal.SIGTERM)
    several = settings.workers > 1
    # First of all, and for oneself: a shared port would not tell that somebody is there already.
    bound_socket(settings.host, settings.port).close()
    bound_socket(settings.host, settings.grpc_port, way="gRPC").close()
    rest_socket = bound_socket(settings.host, settings.port, reuse_port=several)
    settings = replace(settings, port=rest_socket.getsockname()[1])
    with contextlib.closing(rest_socket):
        async with own_place(settings) as place, _watched(place.server, stopping):
            await _serve(place, replace(settings, sandbox=place.sandbox), rest_socket, stopping)


async def _serve(place: Place, settings: Settings, rest_socket: socket.socket, stopping: Stopping) -> None:
    try:
        first_key = await prepare(place.dsn, settings)
        if first_key is not None:
            print(f"API key (shown only now): {first_key}", flush=True)
        if settings.workers > 1:
            await supervise(place.dsn, settings, stopping.asked, ready=lambda port: _announce(place, settings, port))
            return
        platform = Platform(place.dsn, settings)
        await serve(
            platform, settings, rest_socket, stopping.asked, ready=lambda port: _announce(place, settings, port)
        )
    except PaymentError as error:
        raise OperatorError(f"The platform cannot start: {error.message}") from error


def _announce(place: Place, settings: Settings, grpc_port: int) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    where = "a database of yours" if place.server is None else f"{data_folder(settings)} (embedded PostgreSQL)"
    lines = (
        f"kessai (決済) {__version__} is up; Ctrl-C stops it.",
        f"  REST  http://{host}:{settings.port}  (documents: http://{host}:{settings.port}/docs)",
        f"  gRPC  {host}:{grpc_port}",
        f"  data  {where}",
    )
    print("\n".join(lines), flush=True)


@contextlib.asynccontextmanager
async def _watched(server: EmbeddedPostgres | None, stopping: Stopping) -> AsyncGenerator[None]:
    """Keep the embedded PostgreSQL alive; when it will not start again the platform stops, and says why."""
    if server is None:
        yield
        return
    watching = asyncio.create_task(server.watch())
    watching.add_done_callback(lambda _: stopping.asked.set())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
