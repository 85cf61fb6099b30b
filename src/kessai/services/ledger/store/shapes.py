"""The shape of each account type as the database knows it: what may not change under accounts that are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.services.ledger.domain.types import AccountType, AccountTypes
from kessai.services.ledger.store import PACKAGE, SERVICE
from kessai.services.ledger.store.rows import columns

FIXED = ("asset", "owner_kind", "log_only", "has_lots")
"""What every account of a type was opened with; that lots expire may begin, but not end."""
WRITTEN = {"has_lots": "overdraft_limit_minor", "expires": "expires_after_days"}
"""The configuration's attribute that a derived one follows from."""

_sql = load_queries(PACKAGE)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A configured type (or a missing one) that accounts in the database do not fit."""

    account_type: str
    attribute: str | None
    """As it is written in the configuration; None when the type is gone."""
    reason: str


async def settle_shapes(database: Database, types: AccountTypes) -> list[Misfit]:
    """Keep the types' shapes in the database; where accounts of another shape are there, nothing, and what misfits."""

    async def settle(connection: Connection) -> list[Misfit]:
        configured = {each.code: each for each in types}
        known = {row["account_type"]: row for row in await connection.fetch(_sql["account_types"])}
        changed = {code: row for code, row in known.items() if _difference(row, configured.get(code)) is not None}
        used = [row["account_type"] for row in await connection.fetch(_sql["types_in_use"], list(changed))]
        if used:
            return [_misfit(changed[code], configured.get(code)) for code in used]
        await _write(connection, configured, known)
        return []

    return await database.transaction(role_of(SERVICE), settle)


async def _write(connection: Connection, configured: dict[str, AccountType], known: dict[str, asyncpg.Record]) -> None:
    await connection.execute(_sql["change_account_types"], *_columns([configured[c] for c in known if c in configured]))
    fresh = [each for code, each in configured.items() if code not in known]
    await connection.fetch(_sql["insert_account_types"], *_columns(fresh))
    if hot := [each.code for each in fresh if each.log_only]:
        await connection.execute(_sql["forget_incoming"], hot)


def _columns(types: Sequence[AccountType]) -> Sequence[Sequence[object]]:
    rows = [(each.code, each.asset, each.owner_kind, each.log_only, each.has_lots, each.expires) for each in types]
    return columns(rows, 6)


def _difference(row: asyncpg.Record, configured: AccountType | None) -> str | None:
    """The first attribute that differs, or an empty text when the type is gone; None when all is as it was."""
    if configured is None:
        return ""
    if row["expires"] and not configured.expires and row["has_lots"] and configured.has_lots:
        return "expires"
    return next((name for name in FIXED if row[name] != getattr(configured, name)), None)


def _misfit(row: asyncpg.Record, configured: AccountType | None) -> Misfit:
    code, name = row["account_type"], _difference(row, configured)
    if not name:
        return Misfit(code, None, f"the database has accounts of the type {code}, which the configuration lacks")
    was = f"had {name} = {row[name]}".replace("True", "true").replace("False", "false")
    return Misfit(
        code, WRITTEN.get(name, name), f"accounts of the type are there already, which {was}; that is for good"
    )
