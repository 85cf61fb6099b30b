"""`kessai verify` after the demonstration's day: verdicts, findings and their chain are proved as well."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kessai.apps.verify import verify
from kessai.apps.verify.processings import DECIDED, SEALED, WORKED
from kessai.foundation.db import Database
from tests.journeys.town import opened

KEPT = ("processing", "finding", "verdict", "seal", "report")
PUT_BACK = """
INSERT INTO {table} SELECT r.* FROM unnest($1::text[]) AS u (t), jsonb_populate_record(NULL::{table}, u.t::jsonb) AS r
"""
_WAITING = "SELECT count(*) AS n FROM tracer.processing WHERE verdict = 'PENDING'"
_LAST = "(SELECT max(processing_id) FROM tracer.processing)"
EDITS = {
    "a processing that nobody decides": (
        DECIDED,
        f"UPDATE tracer.processing SET verdict = 'PENDING', revision = revision + 1, due_at = '2001-01-01'"
        f" WHERE processing_id = {_LAST}",
    ),
    "a finding that is lost": (
        DECIDED,
        f"UPDATE tracer.processing SET verdict = 'INCOMPLETE' WHERE processing_id = {_LAST}",
    ),
    "a finding without its audit trail": (
        WORKED,
        "INSERT INTO tracer.finding (finding_id, processing_id, kind, state, version, revision, opened_at, changed_at)"
        " SELECT '01900000-0000-7000-8000-000000000001', processing_id, 'INCONSISTENT', 'OPEN', 1, 1, touched_at,"
        f" touched_at FROM tracer.processing WHERE processing_id = {_LAST}",
    ),
    "a verdict that was turned": (
        SEALED,
        f"UPDATE tracer.verdict SET verdict = 'INCONSISTENT' WHERE processing_id = {_LAST}",
    ),
    "a seal that was forged": (SEALED, "UPDATE tracer.seal SET root = seal WHERE batch = 2"),
    "a report that was emptied": (
        SEALED,
        f"UPDATE tracer.report SET body = '\\x929090' WHERE processing_id = {_LAST} AND participant = 'payment'",
    ),
}


async def test_every_edit_of_what_the_tracer_keeps_is_named(
    database_url: str, tmp_path: Path, database: Database
) -> None:
    async with opened(database_url, tmp_path) as town:
        await town.played()
        async with asyncio.timeout(60):
            while (await database.fetch(None, _WAITING))[0]["n"]:
                await asyncio.sleep(0.1)
    assert await verify(database_url) == []
    found = {name: await _broken(database, database_url, edit) for name, (_, edit) in EDITS.items()}
    assert {name: invariant in found[name] for name, (invariant, _) in EDITS.items()} == dict.fromkeys(EDITS, True)
    assert await verify(database_url) == []


async def _broken(database: Database, dsn: str, edit: str) -> set[str]:
    """The invariants that are broken after an edit, which is then undone."""
    kept = {
        name: await database.fetch(None, f"SELECT to_jsonb(t)::text AS row FROM tracer.{name} AS t") for name in KEPT
    }
    await database.fetch(None, edit)
    try:
        return {each.invariant for each in await verify(dsn)}
    finally:
        for name, rows in kept.items():
            await database.fetch(None, f"DELETE FROM tracer.{name}")
            await database.fetch(None, PUT_BACK.format(table=f"tracer.{name}"), [row["row"] for row in rows])
