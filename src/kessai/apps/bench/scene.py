"""Where a run takes place: a throwaway PostgreSQL server, or throwaway databases on one that is given."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg

from kessai.apps.bench.peer import Pgbench
from kessai.apps.wiring import SCHEMAS
from kessai.foundation.db import Database, require_dsn
from kessai.foundation.migrations import migrate
from kessai.foundation.postgres import EmbeddedPostgres


def on_database(dsn: str, database: str) -> str:
    """The same server's URL, another database."""
    return urlsplit(dsn)._replace(path=f"/{database}").geturl()


@dataclass(slots=True)
class Scene:
    """A server with databases that exist for one run only."""

    dsn: str
    bin_dir: Path
    folder: Path
    """For files of the run."""
    made: list[str] = field(default_factory=list[str])

    async def empty_database(self, purpose: str) -> str:
        """The URL of a fresh, empty database."""
        name = f"kessai_bench_{purpose}_{uuid4().hex[:8]}"
        await self._execute(f'CREATE DATABASE "{name}"')
        self.made.append(name)
        return on_database(self.dsn, name)

    async def platform_database(self, purpose: str) -> str:
        """The URL of a fresh database with the platform's schemas."""
        dsn = await self.empty_database(purpose)
        database = Database(dsn)
        try:
            await migrate(database, list(SCHEMAS))
        finally:
            await database.close()
        return dsn

    async def pgbench(self) -> Pgbench:
        """The peer, filled and ready in a database of its own."""
        peer = Pgbench(self.bin_dir / "pgbench", await self.empty_database("peer"))
        await peer.prepare()
        return peer

    def platform_options(self, dsn: str) -> tuple[str, ...]:
        """Flags of a platform on one of its databases, whose files go when the run ends."""
        return ("--database-url", dsn, "--data", str(self.folder / "platform"))

    async def settle(self) -> None:
        """A checkpoint, so that nobody's measured stretch pays for an earlier one's preparation."""
        await self._execute("CHECKPOINT")

    async def vacuum(self, dsn: str) -> None:
        """Statistics and visibility of a database that was just filled, as a server has them that grew over time."""
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute("VACUUM (ANALYZE)", timeout=None)
        finally:
            await connection.close()

    async def drop_databases(self) -> None:
        """Leave the server as it was found."""
        for name in self.made:
            await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def open_scene(database_url: str | None) -> AsyncGenerator[Scene]:
    """A durable server of our own in a temporary folder, or the given one; nothing of it is left afterwards."""
    folder = _folder()
    server = EmbeddedPostgres(folder / "data", durable=True)
    try:
        if database_url is None:
            await server.start()
            yield Scene(server.dsn, server.bin_dir, folder)
            return
        scene = Scene(require_dsn(database_url), server.bin_dir, folder)
        try:
            yield scene
        finally:
            await scene.drop_databases()
    finally:
        await server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kessai-bench-"))
    folder.chmod(0o711)  # when we are root, the database's own user must reach its folder inside
    return folder
