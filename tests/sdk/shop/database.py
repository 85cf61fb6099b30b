"""Fresh databases with the tiny service's schema, copied from a template that is made once a session."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

from kessai.foundation.db import Database
from kessai.foundation.migrations import migrate
from tests.conftest import ISOLATION, SharedServer
from tests.sdk.shop import SCHEMA

TEMPLATE = "template_shop"


@asynccontextmanager
async def fresh_shop(server: SharedServer) -> AsyncGenerator[Database]:
    """A database of the test's own, dropped afterwards."""
    await _make_template(server)
    name = f"shop_{uuid4().hex[:12]}"
    await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
    database = Database(server.dsn_of(name), isolation=ISOLATION)
    try:
        yield database
    finally:
        await database.close()
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _make_template(server: SharedServer) -> None:
    with (Path(server.folder) / "shop.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one worker at a time
        connection = await asyncpg.connect(server.dsn_of("postgres"))
        made = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", TEMPLATE)
        await connection.close()
        if made:
            return
        await server.execute(f'CREATE DATABASE "{TEMPLATE}_new"')
        database = Database(server.dsn_of(f"{TEMPLATE}_new"))
        await migrate(database, [SCHEMA])
        await database.close()
        await server.execute(f'ALTER DATABASE "{TEMPLATE}_new" RENAME TO "{TEMPLATE}"')
