"""Statements as they were issued, and the cycles that are to have one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.settlement.store import ROLE

_SQL = load_queries("kessai.services.settlement", file="sql/statements.sql")


async def issued(connection: Connection, payee_id: str, cycle_id: str) -> list[asyncpg.Record]:
    """Every statement that was issued of a cycle, the oldest first."""
    return await connection.fetch(_SQL["statements_issued"], payee_id, cycle_id)


async def issue(
    connection: Connection, payee_id: str, cycle_id: str, version: int, contents: bytes, sha256: str, now: datetime
) -> None:
    """Keep a statement as it is issued."""
    await connection.execute(_SQL["issue_statement"], payee_id, cycle_id, version, contents, sha256, now)


async def to_state(connection: Connection, day: date, after: tuple[str, str], limit: int) -> list[tuple[str, str]]:
    """Cycles (payee, cycle) up to a day of which a payout that is decided has changed since it was last looked at."""
    rows = await connection.fetch(_SQL["cycles_to_state"], day, *after, limit)
    return [(row["payee_id"], row["cycle_id"].hex) for row in rows]


async def note_stated(connection: Connection, looked_at: Sequence[tuple[str, str, int]]) -> None:
    """Of these payouts (payee, payout, version) the statement tells; one that changed meanwhile is looked at again."""
    payees, ids, versions = zip(*looked_at, strict=True)
    await connection.execute(_SQL["note_stated"], list(payees), list(ids), list(versions))


async def first_to_state(database: Database) -> date | None:
    """The last day of the earliest cycle that is to be looked at."""
    (row,) = await database.fetch(ROLE, _SQL["first_to_state"])
    return row["last_day"]
