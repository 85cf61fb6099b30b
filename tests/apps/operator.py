"""An operator at the command line: `kessai up` on free ports, and what a `kessai` says that cannot start."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import urllib.request
from collections.abc import Awaitable, Callable

KESSAI = (sys.executable, "-m", "kessai")
TIMEOUT_S = 60.0


class Up:
    """A running `kessai up` on free ports."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.lines: list[str] = []
        self.errors = ""

    async def start(self) -> Up:
        """Start it; returns when it says that it is up."""
        self.process = await asyncio.create_subprocess_exec(
            *(*KESSAI, "up", "--port", "0", "--grpc-port", "0", *self.options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(TIMEOUT_S):
            while not any("data  " in line for line in self.lines):
                line = (await self.process.stdout.readline()).decode()
                if not line:
                    await self.process.wait()
                    raise AssertionError(f"kessai up ended: {self.lines} {await self._rest()}")
                self.lines.append(line)
        return self

    async def _rest(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    @property
    def said(self) -> str:
        """Everything on its standard output."""
        return "".join(self.lines)

    @property
    def url(self) -> str:
        """Where it says that it listens."""
        found = re.search(r"http://127\.0\.0\.1:\d+", self.said)
        assert found
        return found[0]

    @property
    def key(self) -> str | None:
        """The API key that it printed."""
        found = re.search(r"kes_\S+", self.said)
        return found[0] if found else None

    async def ask(self, path: str, *, key: str | None = None, body: object = None) -> dict[str, object]:
        """One request."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        return await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(request, timeout=TIMEOUT_S)))

    async def end(self) -> None:
        """Make an end of it, and of the database it may leave."""
        if self.process.returncode is None:
            await self.stop()

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop; gives its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(TIMEOUT_S):
            out, errors = await self.process.communicate()
        self.lines.append(out.decode())
        self.errors += errors.decode()
        return self.process.returncode or 0


StartUp = Callable[..., Awaitable[Up]]


async def refused(*options: str) -> str:
    """What a `kessai` that cannot start says; it must be one sentence and exit 2."""
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, *options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_S):
        _, errors = await process.communicate()
    said = [line for line in errors.decode().splitlines() if not line.startswith("{")]
    assert process.returncode == 2, errors
    assert len(said) == 1, errors
    return said[0]
