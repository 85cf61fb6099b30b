"""Child processes of a platform: started, replaced when they die, told to stop.

A child is told what to do by one JSON line on its standard input, which then stays open: its end means that the parent
is gone. It answers with one line on its standard output once it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

import msgspec
import structlog

from kessai.apps.serve import STOP_TIMEOUT_S
from kessai.apps.signals import Stopping
from kessai.foundation.config import Settings
from kessai.foundation.errors import OperatorError

log = structlog.get_logger(__name__)

RESTART_DELAY_S_MAX = 5.0
SHORT_LIFE_S = 10.0
"""A child that lives less long than this is replaced more and more slowly."""
LINE_MAX = 1024 * 1024


class Orders(msgspec.Struct, frozen=True):
    """What a child is told; never on its command line, for the URL may hold a password."""

    dsn: str
    settings: Settings


# -- the parent -------------------------------------------------------------------------------------------------


class Child:
    """One place for a process of a module; the process in it may be replaced."""

    def __init__(self, module: str, orders: Orders, environment: Mapping[str, str] | None = None) -> None:
        self._module = module
        self._orders = msgspec.json.encode(orders) + b"\n"
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._started_at = 0.0

    async def start(self) -> None:
        """Start a process; returns when it works, raises OperatorError when it ends before."""
        self._started_at = time.monotonic()
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self._orders)
        if not await process.stdout.readline():
            name = self._module.rsplit(".", 1)[-1]
            raise OperatorError(f"A process of {name} could not start (exit {await process.wait()}).")

    def tell(self, line: str) -> None:
        """A line more on its standard input; lost when it is not there just now."""
        if self._process is not None and self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\n")

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
            log.error("child_died", child=self._module, exit_code=self._process.returncode, restart_in_s=delay_s)
            await asyncio.wait((stopped,), timeout=delay_s)
            if not stop.is_set():
                await self._start_again()
        await stopped

    async def _start_again(self) -> None:
        try:
            await self.start()
        except OperatorError as error:
            log.error("child_does_not_start", error=str(error))

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


# -- the child --------------------------------------------------------------------------------------------------


async def orders_of(stopping: Stopping, *, told: Callable[[str], None] | None = None) -> Orders:
    """The orders; afterwards each line is `told`, and the end of standard input asks this process to stop.

    Ctrl-C reaches the whole group of processes: the parent alone heeds it, and passes on what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopping.listen(signal.SIGTERM)
    reader = asyncio.StreamReader(limit=LINE_MAX)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    first = await reader.readline()

    async def follow() -> None:
        while line := await reader.readline():
            if told is not None:
                told(line.decode().strip())
        stopping.asked.set()

    stopping.keep(asyncio.create_task(follow()))
    return msgspec.json.decode(first, type=Orders)


def say_ready() -> None:
    """Tell the parent that this process works."""
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; the end of standard input says so too
        print("ready", flush=True)
