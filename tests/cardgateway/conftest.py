"""A running world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from tests.cardgateway.world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real service's database and a simulated gateway."""
    async with opened(database) as running:
        yield running
