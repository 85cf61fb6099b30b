"""Touches as they come in, the processings they open, and the notices that follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import new_hex
from kessai.sdk.processing.api import PROCESSINGS_MAX, Notice, Notices
from kessai.services.tracer.store import ROLE

_sql = load_queries("kessai.services.tracer")
_encode = msgspec.msgpack.Encoder().encode
_ids = msgspec.msgpack.Decoder(list[str]).decode
_pairs = msgspec.msgpack.Decoder(list[tuple[str, int]]).decode


class Touch(NamedTuple):
    """Processings in which a service has new effects."""

    touch_id: UUID | str
    source: str
    entry: bool
    processing_ids: list[str]


class Opened(NamedTuple):
    """A processing at the revision that a touch gave it."""

    processing_id: str
    participants: list[str]
    revision: int


def touch(source: str, processing_ids: Sequence[str], *, entry: bool) -> Touch:
    """A touch under a new id."""
    return Touch(new_hex(), source, entry, list(processing_ids))


async def insert_touches(connection: Connection, touches: Sequence[Touch], now: datetime) -> None:
    """Keep what was told."""
    await connection.execute(
        _sql["insert_touches"],
        [each.touch_id for each in touches],
        [each.source for each in touches],
        [each.entry for each in touches],
        [_encode(each.processing_ids) for each in touches],
        now,
    )


async def list_touches(database: Database, limit: int) -> list[Touch]:
    """What was told and not opened yet, oldest first."""
    rows = await database.fetch(ROLE, _sql["list_touches"], limit)
    return [Touch(row["touch_id"], row["source"], row["entry"], _ids(row["payload"])) for row in rows]


async def delete_touches(connection: Connection, touches: Sequence[Touch]) -> bool:
    """Remove what is being opened; False when another process has opened some of it (then roll back)."""
    rows = await connection.fetch(_sql["delete_touches"], [each.touch_id for each in touches])
    return len(rows) == len(touches)


async def touch_processings(
    connection: Connection, told: Sequence[tuple[str, str | None, str]], now: datetime, due_at: datetime
) -> list[Opened]:
    """Open or touch processings: (id, entry, participants with blanks between), in order of id, each named once."""
    ids, entries, participants = zip(*told, strict=True)
    rows = await connection.fetch(_sql["touch_processings"], ids, entries, participants, now, due_at)
    return [Opened(row["processing_id"], row["participants"], row["revision"]) for row in rows]


async def add_notices(
    connection: Connection, wanted: Iterable[tuple[str, tuple[str, int]]], now: datetime
) -> frozenset[str]:
    """Ask participants to reconcile: (participant, (processing id, revision)). Gives the names of those asked."""
    by_name: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
    for name, notice in wanted:
        by_name[name].append(notice)
    pages = [
        (name, len(notices) - at - len(page), len(page), _encode(page))
        for name, notices in sorted(by_name.items())
        for at in range(0, len(notices), PROCESSINGS_MAX)
        if (page := notices[at : at + PROCESSINGS_MAX])
    ]
    await connection.execute(
        _sql["add_notices"],
        sorted(by_name),
        [len(by_name[name]) for name in sorted(by_name)],
        [page[0] for page in pages],
        [page[1] for page in pages],
        [page[2] for page in pages],
        [page[3] for page in pages],
        now,
    )
    return frozenset(by_name)


async def standing_of(database: Database, participant: str) -> tuple[int, int]:
    """How many notices a participant was given, and how many it has dealt with."""
    rows = await database.fetch(ROLE, _sql["participant_standing"], participant)
    return (rows[0]["head"], rows[0]["acknowledged"]) if rows else (0, 0)


async def notices_after(database: Database, participant: str, after: int, limit: int) -> Notices:
    """A participant's next notices after a position."""
    rows = await database.fetch(ROLE, _sql["notices_after"], participant, after, after + limit + PROCESSINGS_MAX)
    found: list[Notice] = []
    for row in rows:
        page = _pairs(row["payload"])[max(0, after - row["first_position"] + 1) :]
        found += [Notice(processing_id=one, revision=revision) for one, revision in page[: limit - len(found)]]
    return Notices(notices=found, position=after + len(found))


async def acknowledge(connection: Connection, positions: dict[str, int], now: datetime) -> None:
    """Participants were heard of; each has dealt with its notices up to a position (0: it does not say)."""
    names = sorted(positions)
    await connection.execute(_sql["acknowledge"], names, [positions[name] for name in names], now)


async def forget_notices(connection: Connection, before: datetime) -> int:
    """Remove notices from before an instant that are dealt with."""
    return int((await connection.execute(_sql["forget_notices"], before)).split()[-1])


async def list_participants(database: Database) -> list[tuple[str, int, int, datetime]]:
    """Name, notices given, notices dealt with, last seen."""
    rows = await database.fetch(ROLE, _sql["list_participants"])
    return [(row["name"], row["head"], row["acknowledged"], row["seen_at"]) for row in rows]


async def count_day(connection: Connection, counts: dict[str, int], now: datetime) -> None:
    """Add to the day's totals."""
    names = sorted(counts)
    await connection.execute(_sql["count_day"], business_date(now), names, [counts[name] for name in names])
