"""A running world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from tests.bank.filing import FilesWorld
from tests.bank.filing import opened as filing_world
from tests.bank.world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real bank service on a fresh database, with a simulated bank outside."""
    async with opened(database) as running:
        yield running


@pytest.fixture
async def filing(database: Database) -> AsyncIterator[FilesWorld]:
    """A running world on a Monday morning, with a bank that takes files."""
    async with filing_world(database) as files:
        yield files
