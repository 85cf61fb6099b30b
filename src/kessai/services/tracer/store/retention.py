"""What is forgotten after its time: under the maintenance role, for the tracer's own may delete nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
import msgspec

from kessai.foundation.db import MAINTENANCE_ROLE, Connection, Database, load_queries
from kessai.services.tracer.domain.findings import finding_hex

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

_sql = load_queries("kessai.services.tracer", file="sql/retention.sql")


class _Named(msgspec.Struct):
    """As much of an effect as is looked at."""

    kind: str


_body = msgspec.msgpack.Decoder(tuple[list[_Named], msgspec.Raw]).decode


class Aged(NamedTuple):
    """A processing at rest that was not touched for long."""

    processing_id: str
    entry: str | None
    touched_at: datetime
    found: bool


async def position(database: Database, name: str, verdict: str) -> tuple[datetime, str]:
    """How far a class has come."""
    rows = await database.fetch(MAINTENANCE_ROLE, _sql["retention_cursor"], name, verdict)
    return (rows[0]["touched_at"], rows[0]["last_id"]) if rows else (EARLIEST, "")


async def aged(
    database: Database, verdict: str, after: tuple[datetime, str], until: datetime, limit: int
) -> list[Aged]:
    """Processings with a verdict that were last touched after a position and no later than `until`, oldest first."""
    rows = await database.fetch(MAINTENANCE_ROLE, _sql["retention_due"], verdict, *after, until, limit)
    return [_aged(row) for row in rows]


async def held(database: Database, after: str, limit: int) -> list[tuple[str, Aged]]:
    """Processings that were held back, each with its class, in order of id."""
    rows = await database.fetch(MAINTENANCE_ROLE, _sql["retention_held"], after, limit)
    return [(row["class"], _aged(row)) for row in rows]


async def kinds_of(database: Database, page: Sequence[Aged]) -> dict[str, str]:
    """The kind of what each processing is about: of the first effect where it began."""
    known = [each for each in page if each.entry is not None]
    ids, entries = [each.processing_id for each in known], [each.entry for each in known]
    rows = await database.fetch(MAINTENANCE_ROLE, _sql["entry_reports"], ids, entries)
    found: dict[str, str] = {}
    for row in rows:
        effects, _ = _body(row["body"])
        found.setdefault(row["processing_id"], effects[0].kind)
    return found


async def worked_on(database: Database, page: Sequence[Aged]) -> set[str]:
    """Those of them whose finding is not closed."""
    ids = [finding_hex(each.processing_id) for each in page if each.found]
    rows = await database.fetch(MAINTENANCE_ROLE, _sql["open_findings"], ids) if ids else []
    return {row["processing_id"] for row in rows}


async def retire(connection: Connection, processing_ids: Sequence[str], until: datetime, now: datetime) -> int:
    """Delete the reports and what verdicts say of them, where nothing was touched since; gives how many processings."""
    rows = await connection.fetch(_sql["still_at_rest"], sorted(processing_ids), until)
    ids = [row["processing_id"] for row in rows]
    gone = await connection.fetch(_sql["retire_reports"], ids)
    await connection.execute(_sql["retire_verdicts"], ids, now)
    await connection.execute(_sql["let_go"], list(processing_ids))
    return len({row["processing_id"] for row in gone})


async def hold_back(connection: Connection, processing_ids: Sequence[str], name: str) -> None:
    """Remember what is to be looked at again."""
    await connection.execute(_sql["hold_back"], list(processing_ids), name)


async def move(connection: Connection, name: str, verdict: str, after: tuple[datetime, str]) -> None:
    """A class has come so far."""
    await connection.execute(_sql["move_retention_cursor"], name, verdict, *after)


def _aged(row: asyncpg.Record) -> Aged:
    return Aged(row["processing_id"], row["entry"], row["touched_at"], row["found"])
