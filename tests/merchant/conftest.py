"""A running world for each test."""

from __future__ import annotations

import pytest

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from tests.merchant.world import World


@pytest.fixture
def world(database: Database) -> World:
    """The real merchant service on a fresh database; time stands still until a test moves it."""
    clock = SandboxClock()
    clock.freeze()
    return World(database, clock)
