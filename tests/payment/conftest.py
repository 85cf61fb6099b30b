"""A running world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from tests.payment.world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running
