"""Several serving processes on one port, and the prover beside them: a parent starts and keeps them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable

import msgspec
import uvloop

from kessai.apps import prover
from kessai.apps.children import Child, Orders, orders_of, say_ready
from kessai.apps.nfc_line import WAY, host_of
from kessai.apps.ports import bound_socket
from kessai.apps.serve import Ports, serve
from kessai.apps.signals import Stopping
from kessai.apps.wiring import Platform
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.telemetry import METRICS_FOLDER_VARIABLE, configure_logging

MODULE = "kessai.apps.workers"


async def supervise(dsn: str, settings: Settings, stop: asyncio.Event, *, ready: Callable[[Ports], None]) -> None:
    """Keep `settings.workers` workers serving until `stop` is set; raises OperatorError when they cannot start."""
    # Held without listening, so that all workers get the same ports.
    grpc_reservation = bound_socket(settings.host, settings.grpc_port, reuse_port=True, way="gRPC")
    nfc_reservation = bound_socket(host_of(settings), settings.nfc_port, reuse_port=True, way=WAY)
    ports = Ports(grpc_reservation.getsockname()[1], nfc_reservation.getsockname()[1])
    settings = msgspec.structs.replace(settings, grpc_port=ports.grpc, nfc_port=ports.nfc)
    orders = Orders(dsn, settings)
    with grpc_reservation, nfc_reservation, tempfile.TemporaryDirectory(prefix="kessai-metrics-") as metrics:
        workers = [Child(MODULE, orders, {METRICS_FOLDER_VARIABLE: metrics}) for _ in range(settings.workers)]
        try:
            await asyncio.gather(*(worker.start() for worker in workers))
            ready(ports)
            async with prover.beside(orders):
                keeping = [asyncio.create_task(worker.keep(stop)) for worker in workers]
                await stop.wait()
                await asyncio.gather(*keeping)
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))


async def _work() -> None:
    stopping = Stopping()
    orders = await orders_of(stopping)
    settings = orders.settings
    configure_logging(level=settings.log_level, form=settings.log_format)
    rest_socket = bound_socket(settings.host, settings.port, reuse_port=True)
    platform = Platform(orders.dsn, settings, proves=False)
    await serve(platform, settings, rest_socket, stopping.asked, ready=lambda _: say_ready(), reuse_port=True)


def main() -> int:
    """A worker's life: 0 when it was asked to stop, 2 when it could not start."""
    try:
        uvloop.run(_work())
    except (OperatorError, PaymentError) as error:
        print(str(error), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
