"""A running world for each test, which the auditor finds in order afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from tests.payment.world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


@pytest.fixture
async def proven_world(database: Database) -> AsyncIterator[World]:
    """The same; afterwards every invariant is proved anew."""
    async with opened(database) as running:
        yield running
    assert await verify(database.dsn) == []
