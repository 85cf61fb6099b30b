"""A database with the tiny service's schema, and engines on it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.sdk.workflow import Engine
from tests.conftest import SharedServer
from tests.sdk.shop.database import fresh_shop
from tests.sdk.shop.workflows import World

LEASE_S = 0.4


@pytest.fixture
async def shop(postgres: SharedServer) -> AsyncIterator[Database]:
    """A fresh database with the schema `shop`."""
    async with fresh_shop(postgres) as database:
        yield database


class Engines:
    """Opens executors on one database and closes what a test left open."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.world = World()
        self.clock = SandboxClock()
        self.opened: list[Engine[World]] = []

    async def open(self, **options: Any) -> Engine[World]:
        """One more executor, as another process would have."""
        options = {"lease_s": LEASE_S, **options}
        engine = Engine(self.database, service="shop", deps=self.world, clock=self.clock, **options)
        self.opened.append(engine)
        await engine.open()
        return engine

    async def close(self) -> None:
        """End them all."""
        for engine in self.opened:
            if not engine.closing:
                await engine.close(grace_s=1)


@pytest.fixture
async def engines(shop: Database) -> AsyncIterator[Engines]:
    """Executors on a fresh database."""
    made = Engines(shop)
    yield made
    await made.close()


async def eventually(check: Callable[[], object]) -> None:
    """Wait until `check()`, awaited where it is a coroutine, is true; a test that never sees it fails."""
    for _ in range(3_000):
        answer = check()
        if await answer if inspect.isawaitable(answer) else answer:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def rows(database: Database, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    """What the database holds, seen by its owner."""
    return [tuple(row) for row in await database.fetch(None, query, *arguments)]
