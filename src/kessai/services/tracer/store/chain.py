"""The chain of seals and what hangs on it, read in order; under any role that may read."""

from __future__ import annotations

from typing import NamedTuple

import asyncpg

from kessai.foundation.db import Database, load_queries
from kessai.services.tracer.store import ROLE
from kessai.services.tracer.store.reports import (
    CHAIN,
    StoredReport,
    StoredSeal,
    StoredVerdict,
    report_of,
    verdict_of,
)

_sql = load_queries("kessai.services.tracer")


class Kept(NamedTuple):
    """A processing as it stands."""

    processing_id: str
    revision: int
    verdict: str


async def head(database: Database, *, role: str = ROLE) -> tuple[int, bytes]:
    """The last batch and its seal."""
    (row,) = await database.fetch(role, _sql["head_of_chain"], CHAIN)
    return row["batch"], row["seal"]


async def seals_from(database: Database, batch: int, limit: int, *, role: str = ROLE) -> list[StoredSeal]:
    """Batches from one on, in order."""
    return [_seal(row) for row in await database.fetch(role, _sql["seals_from"], CHAIN, batch, limit)]


async def seals_named(database: Database, batches: set[int], *, role: str = ROLE) -> dict[int, StoredSeal]:
    """Those of the batches that exist."""
    rows = await database.fetch(role, _sql["seals_named"], CHAIN, sorted(batches))
    return {row["batch"]: _seal(row) for row in rows}


async def processings_from(database: Database, after: str, limit: int, *, role: str = ROLE) -> list[Kept]:
    """Processings after an id, in order of id."""
    rows = await database.fetch(role, _sql["processings_from"], after, limit)
    return [Kept(row["processing_id"], row["revision"], row["verdict"]) for row in rows]


async def verdicts_between(database: Database, first: str, last: str, *, role: str = ROLE) -> list[StoredVerdict]:
    """Verdicts on the processings from one id to another, both included."""
    return [verdict_of(row) for row in await database.fetch(role, _sql["verdicts_between"], first, last)]


async def count_verdicts(database: Database, *, role: str = ROLE) -> int:
    """How many verdicts there are."""
    (row,) = await database.fetch(role, _sql["count_verdicts"])
    return row["verdicts"]


async def reports_between(database: Database, first: str, last: str, *, role: str = ROLE) -> list[StoredReport]:
    """Reports on the processings from one id to another, both included."""
    return [report_of(row) for row in await database.fetch(role, _sql["reports_between"], first, last)]


def _seal(row: asyncpg.Record) -> StoredSeal:
    return StoredSeal(
        batch=row["batch"], leaves=row["leaves"], root=row["root"], seal=row["seal"], sealed_at=row["sealed_at"]
    )
