"""A ledger of its own for each test, on a database of its own, with a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Protocol
from uuid import uuid4

import pytest

from kessai.foundation.db import Database
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService

from .book import Another, Book, FakeClock, start
from .rows import empty


class Server(Protocol):
    """The session's PostgreSQL."""

    def dsn_of(self, database: str) -> str: ...

    async def execute(self, statement: str) -> None: ...


@pytest.fixture(scope="module")
def database_of_module(postgres: Server, database_template: str) -> Iterator[str]:
    """The URL of a migrated database for one module of tests: emptied between them, which is faster than made anew."""
    name = f"test_{uuid4().hex[:12]}"
    asyncio.run(postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"'))
    yield postgres.dsn_of(name)
    asyncio.run(postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


@pytest.fixture
async def database(database_of_module: str) -> AsyncIterator[Database]:
    """A migrated database with nothing in it."""
    opened = Database(database_of_module)
    await empty(opened)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> FakeClock:
    """Stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
async def book(database: Database, clock: FakeClock) -> AsyncIterator[Book]:
    """A ledger with the platform's own account types, in the tests' own words."""
    service, book = await start(database, clock, load_account_types(None))
    yield book
    await service.close()


@pytest.fixture
async def another(database: Database, clock: FakeClock) -> AsyncIterator[Another]:
    """Opens further ledgers on the same database, as other processes would."""
    databases: list[Database] = []
    services: list[LedgerService] = []

    async def opened() -> Book:
        databases.append(Database(database.dsn))
        service, book = await start(databases[-1], clock, load_account_types(None))
        services.append(service)
        return book

    yield opened
    for service in services:
        await service.close()
    for each in databases:
        await each.close()
