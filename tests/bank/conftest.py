"""A running world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from tests.bank.world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real bank service on a fresh database, with a simulated bank outside."""
    async with opened(database) as running:
        yield running
