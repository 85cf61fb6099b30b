"""Several serving processes on one port: a parent starts them, passes signals on, and replaces one that died.

A worker is told what to do by one JSON line on its standard input, which then stays open: its end means that the
parent is gone. It answers with one line on its standard output once it serves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable

import msgspec
import structlog
import uvloop

from kessai.apps.ports import bound_socket
from kessai.apps.serve import STOP_TIMEOUT_S, serve
from kessai.apps.signals import Stopping
from kessai.apps.wiring import Platform
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.telemetry import METRICS_FOLDER_VARIABLE, configure_logging

log = structlog.get_logger(__name__)

RESTART_DELAY_S_MAX = 5.0
SHORT_LIFE_S = 10.0
"""A worker that lives less long than this is replaced more and more slowly."""


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told; never on its command line, for the URL may hold a password."""

    dsn: str
    settings: Settings


# -- the parent -------------------------------------------------------------------------------------------------


async def supervise(dsn: str, settings: Settings, stop: asyncio.Event, *, ready: Callable[[int], None]) -> None:
    """Keep `settings.workers` workers serving until `stop` is set; raises OperatorError when they cannot start."""
    # Held without listening, so that all workers get the same port.
    grpc_reservation = bound_socket(settings.host, settings.grpc_port, reuse_port=True, way="gRPC")
    settings = msgspec.structs.replace(settings, grpc_port=grpc_reservation.getsockname()[1])
    orders = msgspec.json.encode(Orders(dsn, settings)) + b"\n"
    with grpc_reservation, tempfile.TemporaryDirectory(prefix="kessai-metrics-") as metrics:
        workers = [_Worker(orders, metrics) for _ in range(settings.workers)]
        try:
            await asyncio.gather(*(worker.start() for worker in workers))
            ready(settings.grpc_port)
            keeping = [asyncio.create_task(worker.keep(stop)) for worker in workers]
            await stop.wait()
            await asyncio.gather(*keeping)
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))


class _Worker:
    """One place in the row of workers; the process in it may be replaced."""

    def __init__(self, orders: bytes, metrics: str) -> None:
        self._orders = orders
        self._environment = {**os.environ, METRICS_FOLDER_VARIABLE: metrics}
        self._process: asyncio.subprocess.Process | None = None
        self._started_at = 0.0

    async def start(self) -> None:
        """Start a process; returns when it serves, raises OperatorError when it ends before."""
        self._started_at = time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kessai.apps.workers"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self._orders)
        if not await process.stdout.readline():
            raise OperatorError(f"A worker could not start (exit {await process.wait()}).")

    async def keep(self, stop: asyncio.Event) -> None:
        """Replace the process whenever it ends by itself, until `stop` is set."""
        stopped = asyncio.create_task(stop.wait())
        delay_s = 0.1
        while not stop.is_set():
            assert self._process is not None
            ended = asyncio.create_task(self._process.wait())
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                return
            short = time.monotonic() - self._started_at < SHORT_LIFE_S
            delay_s = min(delay_s * 2, RESTART_DELAY_S_MAX) if short else 0.1
            log.error("worker_died", exit_code=self._process.returncode, restart_in_s=delay_s)
            await asyncio.wait((stopped,), timeout=delay_s)
            await self._start_again()
        await stopped

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OperatorError as error:
            log.error("worker_does_not_start", error=str(error))

    async def stop(self) -> None:
        """Ask it to finish what it has; killed when it does not."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(2 * STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


# -- a worker ---------------------------------------------------------------------------------------------------


async def _work() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent passes on what it means
    stopping = Stopping()
    stopping.listen(signal.SIGTERM)
    orders_line = await _first_line(stopping)
    orders = msgspec.json.decode(orders_line, type=Orders)
    settings = orders.settings
    configure_logging(level=settings.log_level, form=settings.log_format)
    rest_socket = bound_socket(settings.host, settings.port, reuse_port=True)
    platform = Platform(orders.dsn, settings)
    await serve(platform, settings, rest_socket, stopping.asked, ready=_say_ready, reuse_port=True)


async def _first_line(stopping: Stopping) -> bytes:
    """The orders; afterwards the end of standard input asks this worker to stop."""
    reader = asyncio.StreamReader(limit=1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    line = await reader.readline()

    async def follow() -> None:
        await reader.read()
        stopping.asked.set()

    stopping.keep(asyncio.create_task(follow()))
    return line


def _say_ready(_: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; the end of standard input says so too
        print("ready", flush=True)


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
