"""The schema `identity` and nothing else; every function takes the transaction, writes take lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.foundation.ids import ApiKeyId, bare
from kessai.foundation.migrations import SchemaSpec
from kessai.services.identity.api import Approval, ApprovalState, ApprovalStep
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
        [record.service for record in records],
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


async def take_admin_turn(connection: Connection) -> None:
    """Be the only one who revokes administrators until this transaction ends."""
    await connection.execute(_sql["take_admin_turn"])


# -- approvals: the version of one is the number of its last step -------------------------------------------------


async def insert_approvals(connection: Connection, approvals: Sequence[Approval]) -> list[str]:
    """Write new approvals with their first steps; gives the ids of those that were not there before."""
    rows = await connection.fetch(
        _sql["insert_approvals"],
        [bare(each.approval_id) for each in approvals],
        [each.subject for each in approvals],
        [each.action for each in approvals],
        [bytes.fromhex(each.content_sha256) for each in approvals],
        [each.requested_by for each in approvals],
        [each.requested_at for each in approvals],
        [each.expires_at for each in approvals],
    )
    made = {f"apv_{row['approval_id'].hex}" for row in rows}
    await _insert_steps(connection, [each for each in approvals if each.approval_id in made])
    return sorted(made)


async def change_approvals(connection: Connection, approvals: Sequence[Approval]) -> bool:
    """Write approvals that are one step further; False when another step came first (then roll back)."""
    rows = await connection.fetch(
        _sql["change_approvals"],
        [bare(each.approval_id) for each in approvals],
        [each.state.value for each in approvals],
        [each.steps[-1].sequence for each in approvals],
        [each.approved_by for each in approvals],
        [each.consumer_id for each in approvals],
    )
    if len(rows) != len(approvals):
        return False
    await _insert_steps(connection, approvals)
    return True


async def fetch_approvals(connection: Connection, approval_ids: Sequence[str]) -> list[Approval]:
    """Those of the approvals that exist."""
    return await _with_steps(connection, await connection.fetch(_sql["fetch_approvals"], _bare(approval_ids)))


async def list_approvals(
    connection: Connection, *, before: datetime, before_id: str, state: str | None, now: datetime, limit: int
) -> list[Approval]:
    """Approvals asked for before an instant (and id), newest first; in the state that they show at `now`."""
    rows = await connection.fetch(_sql["list_approvals"], before, before_id, state, now, limit)
    return await _with_steps(connection, rows)


async def _insert_steps(connection: Connection, approvals: Sequence[Approval]) -> None:
    steps = [each.steps[-1] for each in approvals]
    await connection.execute(
        _sql["insert_approval_steps"],
        [bare(each.approval_id) for each in approvals],
        [step.sequence for step in steps],
        [step.state.value for step in steps],
        [step.by for step in steps],
        [step.reason for step in steps],
        [step.recorded_at for step in steps],
    )


async def _with_steps(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[Approval]:
    steps: dict[UUID, list[ApprovalStep]] = {row["approval_id"]: [] for row in rows}
    for row in await connection.fetch(_sql["approval_steps"], list(steps)):
        steps[row["approval_id"]].append(
            ApprovalStep(
                sequence=row["sequence"],
                state=ApprovalState(row["state"]),
                by=row["acted_by"],
                reason=row["reason"],
                recorded_at=row["recorded_at"],
            )
        )
    return [_approval(row, steps[row["approval_id"]]) for row in rows]


def _approval(row: asyncpg.Record, steps: list[ApprovalStep]) -> Approval:
    return Approval(
        approval_id=f"apv_{row['approval_id'].hex}",
        state=ApprovalState(row["state"]),
        subject=row["subject"],
        action=row["action"],
        content_sha256=row["content_sha256"].hex(),
        requested_by=row["requested_by"],
        approved_by=row["approved_by"],
        consumer_id=row["consumer_id"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        steps=steps,
    )


def _bare(identifiers: Sequence[str]) -> list[str]:
    return [bare(each) for each in identifiers]


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
        service=row["service"],
    )
