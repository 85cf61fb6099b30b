"""One embedded PostgreSQL a session, shared by all workers; a fresh database from a migrated template a test."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import asyncpg
import pytest
import uvloop

from kessai.apps.wiring import SCHEMAS
from kessai.foundation.db import Database
from kessai.foundation.migrations import migrate, migrations_of
from kessai.foundation.postgres import EmbeddedPostgres
from tests.canary import Canary, search

ISOLATION = os.environ.get("KESSAI_TEST_ISOLATION")
"""Run the whole suite at another isolation level, e.g. `serializable`."""
CONNECTIONS_MAX = "1000"
"""A test of three processes keeps some 140 connections, and each worker runs a test of its own on the one server."""


@pytest.fixture(autouse=True)
def log_handlers() -> Generator[None]:
    """Programs that a test runs in its own process set logging up for themselves; nobody after it writes there."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@dataclass(frozen=True)
class SharedServer:
    """The session's server, as every worker sees it."""

    template: str
    """A URL with `{database}` in it."""
    folder: str
    bin_dir: str

    def dsn_of(self, database: str) -> str:
        """The URL of one of its databases."""
        return self.template.replace("{database}", database)

    async def execute(self, statement: str) -> None:
        """Run one statement in the maintenance database."""
        connection = await asyncpg.connect(self.dsn_of("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class _Session:
    """Starts the server when the first worker or test asks for it, in the process that owns the session."""

    def __init__(self) -> None:
        self._server: EmbeddedPostgres | None = None
        self._folder: Path | None = None

    def shared(self) -> SharedServer:
        if self._server is None:
            self._folder = Path(tempfile.mkdtemp(prefix="kessai-tests-"))
            self._folder.chmod(0o711)  # the database's user must reach its folder inside
            settings = {"max_connections": CONNECTIONS_MAX}
            if ISOLATION is not None:
                settings["default_transaction_isolation"] = ISOLATION
            self._server = EmbeddedPostgres(self._folder / "data", durable=False, settings=settings)
            asyncio.run(self._server.start())
        server = self._server
        return SharedServer(server.dsn_of("{database}"), str(self._folder), str(server.bin_dir))

    def close(self) -> None:
        if self._server is not None and self._folder is not None:
            asyncio.run(self._server.stop())
            shutil.rmtree(self._folder, ignore_errors=True)
            self._server = None


_session = pytest.StashKey[_Session]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_session] = _Session()
    config.pluginmanager.register(Canary(), "card-numbers")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the session's server is."""
    node.workerinput["postgres"] = asdict(node.config.stash[_session].shared())


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_session].close()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Tests run on the loop that the platform runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> SharedServer:
    """The session's server: `dsn_of(database)`, `bin_dir`."""
    worker = cast("dict[str, Any] | None", getattr(request.config, "workerinput", None))
    return SharedServer(**worker["postgres"]) if worker else request.config.stash[_session].shared()


@contextmanager
def _alone(server: SharedServer) -> Generator[None]:
    """One worker at a time."""
    with (Path(server.folder) / "template.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _exists(server: SharedServer, database: str) -> bool:
    connection = await asyncpg.connect(server.dsn_of("postgres"))
    try:
        return bool(await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database))
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def database_template(postgres: SharedServer) -> str:
    """A database migrated with every schema of the platform; made once a session."""
    digest = hashlib.sha256("".join(m.digest for spec in SCHEMAS for m in migrations_of(spec)).encode())
    name = f"template_{digest.hexdigest()[:12]}"

    async def make() -> None:
        if await _exists(postgres, name):
            return
        await postgres.execute(f'CREATE DATABASE "{name}_new"')
        database = Database(postgres.dsn_of(f"{name}_new"))
        try:
            await migrate(database, list(SCHEMAS))
        finally:
            await database.close()
        await postgres.execute(f'ALTER DATABASE "{name}_new" RENAME TO "{name}"')

    with _alone(postgres):
        asyncio.run(make())
    return name


async def _searched_and_dropped(postgres: SharedServer, name: str) -> None:
    """A test's database goes, after it was searched for card numbers."""
    try:
        await search(postgres.dsn_of(name))
    finally:
        await postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
async def empty_database_url(postgres: SharedServer) -> AsyncIterator[str]:
    """The URL of a database with nothing in it, dropped afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    await postgres.execute(f'CREATE DATABASE "{name}"')
    yield postgres.dsn_of(name)
    await _searched_and_dropped(postgres, name)


@pytest.fixture
async def database_url(postgres: SharedServer, database_template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database, dropped afterwards."""
    name = f"test_{uuid4().hex[:12]}"
    await postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"')
    yield postgres.dsn_of(name)
    await _searched_and_dropped(postgres, name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh, migrated database."""
    opened = Database(database_url, isolation=ISOLATION)
    yield opened
    await opened.close()
