"""The `kessai` program as a child process: the platform under measurement, under demonstration, or under fire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from types import TracebackType

from kessai.foundation.errors import OperatorError

KESSAI: Sequence[str] = (sys.executable, "-m", "kessai.apps.cli")
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PORTS_TRIED_MAX = 3
_API_KEY = re.compile(rb"\bkes_[0-9a-f]{16}_[A-Za-z0-9_-]{43}")


async def first_finding(dsn: str) -> str | None:
    """What `kessai verify`, in a process of its own, finds broken first; None when every invariant holds."""
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "verify", "--database-url", dsn, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    if process.returncode == 0:
        return None
    if process.returncode == 1 and out.strip():
        return out.decode().strip()[:2000]
    return f"kessai verify exited {process.returncode}: {errors.decode().strip()[-500:]}"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PlatformProcess:
    """`kessai up` in a process group of its own; it can be killed without warning and started again."""

    def __init__(
        self,
        *options: str,
        program: Sequence[str] = KESSAI,
        api_key: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = (*program, "up")
        self._options = options
        self.port = free_port()
        self.grpc_port = free_port()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        self._process: asyncio.subprocess.Process | None = None
        self._key = api_key
        self._environment = dict(environment or {})

    @property
    def url(self) -> str:
        """Where its public HTTP API is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that was started (its workers are below it)."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def api_key(self) -> str:
        """The first API key, which it printed when it first started on its database."""
        if self._key is None:
            match = _API_KEY.search(self.output().encode())
            if match is None:
                raise OperatorError(f"kessai up printed no API key: {self.output()[-500:]}")
            self._key = match[0].decode()
        return self._key

    def output(self) -> str:
        """Everything it has printed."""
        self._output.seek(0)
        return self._output.read().decode(errors="replace")

    async def start(self) -> None:
        """Start it and wait until it answers; on other ports when somebody took these before its first start."""
        first = self._process is None
        for _ in range(PORTS_TRIED_MAX):
            try:
                await self._start()
            except OperatorError:
                if not first or "cannot listen on" not in self.output():
                    raise
                self.port, self.grpc_port = free_port(), free_port()
                self._output.seek(0)
                self._output.truncate()
            else:
                return
        await self._start()

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(*self._command, "--port", str(self.port), "--grpc-port", str(self.grpc_port), *self._options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
            env=os.environ | self._environment,
        )
        await self.wait_until_ready()

    async def wait_until_ready(self) -> None:
        """Until it answers that it can serve; OperatorError when it has ended instead."""
        assert self._process is not None
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not await asyncio.to_thread(self._ready):
                if not self.running:
                    raise OperatorError(f"kessai up ended with {self._process.returncode}: {self.output()[-2000:]}")
                await asyncio.sleep(0.02)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:  # noqa: S310  (our own address)
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    async def kill(self) -> None:
        """SIGKILL, workers included: nothing is flushed, nobody is told."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, as Ctrl-C does; killed when it does not within a time."""
        if not self.running:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                assert self._process is not None
                self._process.send_signal(signal.SIGINT)
                await self._process.wait()
        finally:
            await self.kill()

    async def close(self) -> None:
        """Kill it if it still runs, and forget what it printed."""
        await self.kill()
        self._output.close()

    async def wait(self) -> int:
        """Its exit code, when it ends."""
        assert self._process is not None
        return await self._process.wait()

    async def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        await self._process.wait()

    async def __aenter__(self) -> PlatformProcess:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        await self.close()
