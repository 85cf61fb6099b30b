"""A tracer with a shop that depends on a till."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database

from .toys import World


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A shop calls a till."""
    made = World(database, {"shop": ["till"], "till": []})
    yield made
    await made.tracer.close()
