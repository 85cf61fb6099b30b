"""A running world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.apps.wiring import SCHEMAS
from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.migrations import migrate
from kessai.services.nfc.store import SCHEMA
from tests.nfc.world import World


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real service on a fresh database, with both parties outside; time stands still until a test moves it."""
    if SCHEMA not in SCHEMAS:  # a platform that is not wired with it has no such schema in its template
        await migrate(database, [SCHEMA])
    clock = SandboxClock()
    clock.freeze()
    made = World(database, clock)
    await made.start()
    yield made
    await made.stop()
