"""The schema `identity` and nothing else; every function takes the transaction, writes take lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.foundation.ids import ApiKeyId, bare
from kessai.foundation.migrations import SchemaSpec
from kessai.services.identity.domain import KeyRecord

SCHEMA = SchemaSpec(service="identity", package="kessai.services.identity")
_sql = load_queries("kessai.services.identity")


async def insert_keys(connection: Connection, records: Sequence[KeyRecord]) -> None:
    """Write new keys."""
    await connection.execute(
        _sql["insert_keys"],
        [bare(record.key_id) for record in records],
        [record.secret_sha256 for record in records],
        [record.last_four for record in records],
        [record.name for record in records],
        [" ".join(record.scopes) for record in records],
        [record.created_at for record in records],
        [record.created_by for record in records],
    )


async def claim_first_key(connection: Connection, key_id: ApiKeyId) -> bool:
    """Whether this key is the database's first; False for all others, for good."""
    return await connection.fetchval(_sql["claim_first_key"], bare(key_id)) is not None


async def fetch_keys(connection: Connection, key_ids: Sequence[ApiKeyId]) -> list[KeyRecord]:
    """Those of the keys that exist."""
    rows = await connection.fetch(_sql["fetch_keys"], [bare(key_id) for key_id in key_ids])
    return [_record(row) for row in rows]


async def list_keys(
    connection: Connection, *, before: datetime, before_id: str, include_revoked: bool, limit: int
) -> list[KeyRecord]:
    """Keys made before an instant (and id), newest first."""
    rows = await connection.fetch(_sql["list_keys"], before, before_id, include_revoked, limit)
    return [_record(row) for row in rows]


async def list_holders(connection: Connection, scope: str) -> list[ApiKeyId]:
    """Up to two unrevoked keys that hold a scope."""
    return [_key_id(row["key_id"]) for row in await connection.fetch(_sql["list_holders"], scope)]


async def revoke_keys(connection: Connection, key_ids: Sequence[ApiKeyId], at: datetime) -> None:
    """Revoke those that are not yet."""
    await connection.execute(_sql["revoke_keys"], [bare(key_id) for key_id in key_ids], at)


def _key_id(value: UUID) -> ApiKeyId:
    return ApiKeyId(f"key_{value.hex}")


def _record(row: asyncpg.Record) -> KeyRecord:
    return KeyRecord(
        key_id=_key_id(row["key_id"]),
        secret_sha256=row["secret_sha256"],
        last_four=row["last_four"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        created_by=row["created_by"],
        revoked_at=row["revoked_at"],
    )
