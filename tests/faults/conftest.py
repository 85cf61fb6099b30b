"""What the fault tests share: how many times to kill, and the platform as a process that may be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from kessai.apps.bench.program import KESSAI, PlatformProcess, first_finding
from tests.faults.traffic import Traffic

KILLS = int(os.environ.get("KESSAI_FAULT_ROUNDS", "5"))
"""Kills of the server in one run: 5 in the suite, at least 50 in `make faults`."""
SEED = int(os.environ.get("KESSAI_FAULT_SEED", "20250401"))
"""Where the dice of a run begin; printed with every failure, so that it can be run again."""

SHOWN_MAX = 4_000

IMPATIENT = (sys.executable, "-m", "tests.faults.impatient")
"""`kessai` with short leases."""

StartPlatform = Callable[..., Awaitable[PlatformProcess]]
StartTraffic = Callable[..., Awaitable[Traffic]]


@pytest.fixture
async def start_platform() -> AsyncIterator[StartPlatform]:
    """`await start_platform(*options)`: a running `kessai up`, killed when the test ends."""
    started: list[PlatformProcess] = []

    async def start(*options: str, api_key: str | None = None, impatient: bool = False) -> PlatformProcess:
        platform = PlatformProcess(*options, api_key=api_key, program=IMPATIENT if impatient else KESSAI)
        started.append(platform)
        await platform.start()
        return platform

    yield start
    for platform in started:
        await platform.kill()
        print(platform.output()[-SHOWN_MAX:])  # shown by pytest when the test failed
        await platform.close()


@pytest.fixture
async def start_traffic() -> AsyncIterator[StartTraffic]:
    """`await start_traffic(platform, …)`: customers with money, who have not begun to pay."""
    started: list[Traffic] = []

    async def start(*platforms: PlatformProcess, customers: int = 12, seed: int = SEED) -> Traffic:
        urls = [platform.url for platform in platforms]
        traffic = Traffic(urls, platforms[0].api_key, seed, customers)
        started.append(traffic)
        await traffic.open_accounts()
        return traffic

    yield start
    for traffic in started:
        await traffic.close()


@pytest.fixture
def throwaway_folder() -> Iterator[Path]:
    """A folder that the database's own user can reach, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kessai-faults-"))
    folder.chmod(0o711)
    yield folder / "data"
    _stop_database(folder / "data")
    print((folder / "data" / "postgres.log").read_text()[-SHOWN_MAX:])
    shutil.rmtree(folder, ignore_errors=True)


def _stop_database(data: Path) -> None:
    """The server that a killed platform has left behind."""
    pid_file = data / "cluster" / "postmaster.pid"
    if pid_file.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGQUIT)


async def require_invariants(dsn: str) -> None:
    """`kessai verify`, as an operator would run it, finds nothing."""
    assert await first_finding(dsn) is None
