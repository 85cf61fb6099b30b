"""Findings of clearing and reconciling: kept once for what they are about, explained and closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from kessai.foundation import events
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import derived_hex
from kessai.services.nfc.api.clearing import TOPIC_CLEARING, ClearingFindingChanged, ClearingFindingState, ClearingNote
from kessai.services.nfc.domain.clearing import FoundThing, StoredFinding
from kessai.services.nfc.store import ROLE, SCHEMA

_SQL = load_queries("kessai.services.nfc", file="sql/clearing.sql")
OPEN, CLOSED = ClearingFindingState.OPEN, ClearingFindingState.CLOSED


async def add_findings(connection: Connection, found: Sequence[FoundThing], now: datetime) -> int:
    """Keep what was found; what was found before stays as it is, but for what a job had closed because it agreed, or
    was made to agree: that opens again. Gives how many are new, or open again."""
    things = {each.finding_id: each for each in found}
    if not things:
        return 0
    rows = [
        (
            name, each.kind, each.about, each.file_id, each.line, each.authorization_id, each.customer_id, each.day,
            each.ours_minor, each.theirs_minor, each.detail, each.remedy, now,
        )
        for name, each in sorted(things.items())
    ]  # fmt: skip
    columns = [list(column) for column in zip(*rows, strict=True)]
    new = [row["finding_id"].hex for row in await connection.fetch(_SQL["insert_findings"], *columns)]
    await _publish(connection, [(each, things[each], OPEN) for each in new], now)
    return len(new)


async def findings_named(connection: Connection, finding_ids: Sequence[str]) -> dict[str, StoredFinding]:
    """Those of them that exist, by their 32 digits."""
    rows = await connection.fetch(_SQL["findings_named"], list(finding_ids))
    return {row["finding_id"].hex: _finding(row) for row in rows}


async def findings_before(
    database: Database,
    before: tuple[datetime, str],
    state: ClearingFindingState | None,
    kind: str | None,
    limit: int,
) -> list[StoredFinding]:
    """A page of findings, the newest first."""
    rows = await database.fetch(ROLE, _SQL["findings_before"], *before, state and state.value, kind, limit)
    return [_finding(row) for row in rows]


async def findings_remedied(database: Database, after: str, limit: int) -> list[StoredFinding]:
    """Open findings that the repair does something about, by their digits."""
    return [_finding(row) for row in await database.fetch(ROLE, _SQL["findings_remedied"], after, limit)]


async def note_finding(connection: Connection, found: StoredFinding, note: ClearingNote) -> None:
    """Keep what somebody says of it, once for the same words of the same person."""
    name = derived_hex("nfc", "finding_note", note.by, note.text, str(note.closes))
    rows = [[found.stored_id], [name], [note.text], [note.by], [note.at], [note.closes]]
    await connection.execute(_SQL["insert_notes"], *rows)


async def close_findings(connection: Connection, found: Sequence[StoredFinding], by: str, now: datetime) -> int:
    """Close those that are open; gives how many were."""
    rows = await connection.fetch(_SQL["close_findings"], [each.stored_id for each in found], now, by)
    closed = {row["finding_id"].hex for row in rows}
    await _publish(connection, [(each.stored_id, each, CLOSED) for each in found if each.stored_id in closed], now)
    return len(closed)


async def close_as(connection: Connection, found: Sequence[StoredFinding], by: str, why: str, now: datetime) -> None:
    """A job closes findings, and says why."""
    if await close_findings(connection, found, by, now):
        for each in found:
            await note_finding(connection, each, ClearingNote(text=why, by=by, at=now, closes=True))


async def notes_of(connection: Connection, finding_id: str) -> list[ClearingNote]:
    """What was said of a finding, oldest first."""
    rows = await connection.fetch(_SQL["notes_of"], finding_id)
    return [
        ClearingNote(text=row["note"], by=row["noted_by"], at=row["noted_at"], closes=row["closes"]) for row in rows
    ]


async def _publish(
    connection: Connection, changes: Sequence[tuple[str, FoundThing, ClearingFindingState]], now: datetime
) -> None:
    if not changes:
        return
    told = [
        ClearingFindingChanged(
            finding_id=f"cfd_{name}",
            kind=each.kind,
            state=state,
            about=each.about,
            authorization_id=each.authorization_id and f"ath_{each.authorization_id}",
            customer_id=each.customer_id,
            ours_minor=each.ours_minor,
            theirs_minor=each.theirs_minor,
            day=each.day,
            occurred_at=now,
        )
        for name, each, state in changes
    ]
    row = events.outbox_row(TOPIC_CLEARING, told, now)
    await connection.execute(events.outbox_insert(SCHEMA.service), *[[each] for each in row])


def _finding(row: asyncpg.Record) -> StoredFinding:
    values: dict[str, Any] = dict(row)
    values["stored_id"] = values.pop("finding_id").hex
    values["state"] = ClearingFindingState(values["state"])
    values["authorization_id"] = values["authorization_id"] and values["authorization_id"].hex
    return StoredFinding(**values)
