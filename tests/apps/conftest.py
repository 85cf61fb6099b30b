"""Platforms as an operator starts them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.apps.operator import StartUp, Up


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the database's own user can reach, gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="kessai-up-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
async def start_up() -> AsyncIterator[StartUp]:
    """`await start_up(*options)`: a running platform, killed at the end if it still runs."""
    started: list[Up] = []

    async def start(*options: str) -> Up:
        started.append(Up(*options))
        return await started[-1].start()

    yield start
    for each in started:
        await each.end()


@pytest.fixture
async def up(folder: Path, start_up: StartUp) -> Up:
    """A platform on an embedded database."""
    return await start_up("--data", str(folder / "data"))
