"""Where the platform's data is: the embedded PostgreSQL on a folder, or a database of the operator's."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from msgspec.structs import replace

from kessai.foundation.config import Settings
from kessai.foundation.db import CONNECT_TIMEOUT_S, require_dsn
from kessai.foundation.errors import OperatorError
from kessai.foundation.postgres import EmbeddedPostgres, default_data, running_dsn


@dataclass(frozen=True, slots=True)
class Place:
    """A database that answers; `server` is the embedded one where we started it."""

    dsn: str
    server: EmbeddedPostgres | None
    sandbox: bool
    """Whether the clock may be moved."""


@asynccontextmanager
async def own_place(settings: Settings) -> AsyncGenerator[Place]:
    """The place of a platform that is to be started: nobody else may be on its data folder."""
    if settings.database_url is not None:
        yield Place(await _reachable(settings.database_url), None, bool(settings.sandbox))
        return
    server = EmbeddedPostgres(data_folder(settings))
    await server.start()
    try:
        yield Place(server.dsn, server, settings.sandbox is not False)
    finally:
        await server.stop()


@asynccontextmanager
async def shared_place(settings: Settings) -> AsyncGenerator[Place]:
    """The place of a platform that may be running: its server is used, or started for as long as this lasts."""
    dsn = None if settings.database_url is not None else running_dsn(data_folder(settings))
    if dsn is not None:
        yield Place(dsn, None, settings.sandbox is not False)
        return
    if settings.database_url is None and not (data_folder(settings) / "cluster").exists():
        raise OperatorError(f"There is no platform in {data_folder(settings)} yet; kessai up makes one.")
    async with own_place(settings) as place:
        yield place


def data_folder(settings: Settings) -> Path:
    """The embedded PostgreSQL's folder."""
    return default_data(Path.cwd()) if settings.data is None else Path(settings.data)


def settled(settings: Settings, place: Place) -> Settings:
    """The settings of a platform at its place: whether its clock moves, and the keys of its data folder."""
    from kessai.foundation.signing import signing_keys_in
    from kessai.foundation.vault import vault_keys_in

    keys, evidence = settings.vault_keys, settings.evidence_keys
    if settings.database_url is None:
        keys = vault_keys_in(data_folder(settings)) if keys is None else keys
        evidence = signing_keys_in(data_folder(settings)) if evidence is None else evidence
    return replace(settings, sandbox=place.sandbox, vault_keys=keys, evidence_keys=evidence)


async def _reachable(database_url: str) -> str:
    """The URL itself once its database has answered; OperatorError with the reason (and no password) otherwise."""
    try:
        connection = await asyncpg.connect(require_dsn(database_url), timeout=CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or "no answer in time"
        raise OperatorError(f"The database at {_shown(database_url)} cannot be reached: {reason}.") from error
    await connection.close()
    return database_url


def _shown(database_url: str) -> str:
    place = urlsplit(database_url)
    return f"{(place.netloc or '').rpartition('@')[2]}{place.path}"
