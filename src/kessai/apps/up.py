"""`kessai up`: the database, the migrations, the first API key, then one serving process or several.

Most of a start is the database's and Python's own: both go on at the same time, which is why the platform is loaded in
functions here and not at the top.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import socket
from collections.abc import AsyncGenerator
from itertools import combinations
from typing import TYPE_CHECKING

import uvloop
from msgspec.structs import replace

from kessai import __version__
from kessai.apps.nfc_line import WAY, host_of, peers_of, tls_settings
from kessai.apps.outside import simulated
from kessai.apps.place import Place, data_folder, own_place, settled
from kessai.apps.ports import bound_socket
from kessai.apps.signals import Stopping
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from kessai.apps.serve import Ports


def run(settings: Settings) -> None:
    """Serve until Ctrl-C or SIGTERM; raises OperatorError when it cannot start or cannot go on."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")  # children are other programs: nothing to prepare
    uvloop.run(_up(settings))


async def _up(settings: Settings) -> None:
    stopping = Stopping()
    stopping.listen(signal.SIGINT, signal.SIGTERM)
    several = settings.workers > 1
    _require_apart(settings)
    # First of all, and for oneself: a shared port would not tell that somebody is there already.
    bound_socket(settings.host, settings.port).close()
    bound_socket(settings.host, settings.grpc_port, way="gRPC").close()
    bound_socket(host_of(settings), settings.nfc_port, way=WAY).close()
    rest_socket = bound_socket(settings.host, settings.port, reuse_port=several)
    settings = replace(settings, port=rest_socket.getsockname()[1])
    with contextlib.closing(rest_socket):
        loading = asyncio.create_task(asyncio.to_thread(_load, settings))
        async with own_place(settings) as place, _watched(place.server, stopping):
            await loading
            if stopping.asked.is_set():
                return
            nfc_port = asyncio.get_running_loop().create_future()
            async with simulated(settled(settings, place), nfc_port) as known:
                await _serve(place, known, rest_socket, stopping, nfc_port)


def _require_apart(settings: Settings) -> None:
    """OperatorError when two ways in are to listen at the same place."""
    ways = [("REST", settings.host, settings.port), ("gRPC", settings.host, settings.grpc_port)]
    ways.append((WAY, host_of(settings), settings.nfc_port))
    for (one, host, port), (other, *where) in combinations(ways, 2):
        if port and [host, port] == where:
            raise OperatorError(f"{one} and {other} cannot both listen on {host}:{port}; name another port.")


def _load(settings: Settings) -> None:
    """Read the platform and what configures it, and learn its doors, whose documents take longest.

    Raises ConfigError before anything is written when the configuration is wrong.
    """
    from kessai.apps.configured import (
        document_of,
        load_payment_kinds,
        read_books_of,
        read_card_terms_of,
        read_id_clearing_of,
        read_id_rules_of,
    )
    from kessai.apps.patience import read_patience
    from kessai.apps.wiring import DOORS
    from kessai.foundation.door.openapi import openapi_bytes
    from kessai.services.ledger.domain.types import load_account_types
    from kessai.services.tracer.domain.rules import read_rules

    load_account_types(document_of(settings.account_types, "account_types.toml"))
    load_payment_kinds(settings.payment_kinds)
    read_patience(document_of(settings.outside, "outside.toml"))
    read_rules(document_of(settings.tracer, "tracer.toml"))
    read_books_of(settings)
    read_card_terms_of(settings)
    read_id_rules_of(settings)
    read_id_clearing_of(settings)
    peers_of(settings)
    tls_settings(settings)
    importlib.import_module("kessai.apps.workers")
    openapi_bytes(DOORS)


async def _serve(
    place: Place, settings: Settings, rest_socket: socket.socket, stopping: Stopping, nfc_port: asyncio.Future[int]
) -> None:
    from kessai.apps import prover
    from kessai.apps.children import Orders
    from kessai.apps.serve import serve
    from kessai.apps.wiring import Platform, prepare
    from kessai.apps.workers import supervise

    serving = asyncio.Event()

    def ready(ports: Ports) -> None:
        _announce(place, settings, ports)
        nfc_port.set_result(ports.nfc)
        serving.set()

    try:
        first_key = await prepare(place.dsn, settings)
        if first_key is not None:
            print(f"API key (shown only now): {first_key}", flush=True)
        if stopping.asked.is_set():
            return
        if settings.workers > 1:
            await supervise(place.dsn, settings, stopping.asked, ready=ready)
            return
        platform = Platform(place.dsn, settings, proves=False)
        async with prover.beside(Orders(place.dsn, settings), platform.database, after=serving):
            await serve(platform, settings, rest_socket, stopping.asked, ready=ready)
    except PaymentError as error:
        raise OperatorError(f"The platform cannot start: {error.message}") from error


def _announce(place: Place, settings: Settings, ports: Ports) -> None:
    host, nfc_host = (f"[{each}]" if ":" in each else each for each in (settings.host, host_of(settings)))
    where = "a database of yours" if place.server is None else f"{data_folder(settings)} (embedded PostgreSQL)"
    lines = (
        f"kessai (決済) {__version__} is up; Ctrl-C stops it.",
        f"  REST  http://{host}:{settings.port}  (documents: http://{host}:{settings.port}/docs)",
        f"  gRPC  {host}:{ports.grpc}",
        f"  iD    {nfc_host}:{ports.nfc}  (ISO 8583 over TCP{', TLS' if settings.nfc_tls_certificate else ''})",
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
