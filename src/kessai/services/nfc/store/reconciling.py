"""What reconciling with the processor reads of a day, and how the day is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.nfc.api.clearing import ClearingTotal, LineKind
from kessai.services.nfc.domain.reconciling import FIGURES, TheirFigure
from kessai.services.nfc.store import ROLE

_SQL = load_queries("kessai.services.nfc", file="sql/reconciling.sql")
FIRST = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledDay:
    """A day as it was compared last."""

    day: date
    records_after: int
    """The processor's records were read from beyond this one on."""
    records_until: int
    agrees: bool
    looked_at: datetime


async def received(
    database: Database, since: datetime, until: datetime, after: tuple[datetime, str], limit: int
) -> list[tuple[datetime, str]]:
    """What the network asked for in a time, in the order in which it came."""
    rows = await database.fetch(ROLE, _SQL["authorizations_received"], since, until, *after, limit)
    return [(row["received_at"], row["authorization_id"].hex) for row in rows]


async def taken_back(
    database: Database, since: datetime, until: datetime, after: tuple[datetime, str, str], limit: int
) -> list[tuple[datetime, str, str]]:
    """Reversals that were answered 00 in a time: when, of which authorization, and which."""
    rows = await database.fetch(ROLE, _SQL["reversals_recorded"], since, until, *after, limit)
    return [(row["recorded_at"], row["authorization_id"].hex, row["reversal_id"].hex) for row in rows]


async def unborne(database: Database, after: str, limit: int) -> list[str]:
    """Cleared authorizations of which the payment service has not taken what stands, though nothing is open."""
    rows = await database.fetch(ROLE, _SQL["unborne"], after, limit)
    return [row["authorization_id"].hex for row in rows]


async def cleared_on(database: Database, day: date) -> dict[LineKind, TheirFigure]:
    """What the lines of a day's clearing files come to, as we have them."""
    rows = await database.fetch(ROLE, _SQL["cleared_on"], day)
    return {LineKind(row["kind"]): TheirFigure(row["lines"], row["amount_minor"]) for row in rows}


async def day_named(database: Database, day: date) -> ReconciledDay | None:
    """A day, if it was compared."""
    rows = await database.fetch(ROLE, _SQL["day_named"], day)
    return _day(rows[0]) if rows else None


async def day_before(database: Database, day: date) -> ReconciledDay | None:
    """The last day before this one that was compared."""
    rows = await database.fetch(ROLE, _SQL["day_before"], day)
    return _day(rows[0]) if rows else None


async def days_open(database: Database, since: date, until: date) -> list[date]:
    """Days that were compared and did not agree, or of which a clearing file has come since; in order."""
    return [row["day"] for row in await database.fetch(ROLE, _SQL["days_open"], since, until)]


async def write_day(
    connection: Connection, day: ReconciledDay, ours: Mapping[str, TheirFigure], theirs: Mapping[str, TheirFigure]
) -> None:
    """Keep how a day compares."""
    row = (day.day, day.records_after, day.records_until, day.agrees, day.looked_at)
    await connection.execute(_SQL["write_day"], *row)
    totals = [
        (day.day, name, ours[name].count, ours[name].minor, theirs[name].count, theirs[name].minor) for name in FIGURES
    ]
    await connection.execute(_SQL["write_totals"], *[list(column) for column in zip(*totals, strict=True)])


async def totals_of(database: Database, day: date) -> Sequence[ClearingTotal]:
    """A day's figures, in their order."""
    rows = {row["figure"]: row for row in await database.fetch(ROLE, _SQL["totals_of"], day)}
    return [ClearingTotal(**dict(rows[name])) for name in FIGURES if name in rows]


async def first_asked(database: Database, since: datetime, until: datetime) -> date | None:
    """The business date of the first authorization of a time."""
    rows = await database.fetch(ROLE, _SQL["first_received"], since, until)
    return None if rows[0]["at"] is None else business_date(rows[0]["at"])


async def first_file_day(database: Database, since: date, until: date) -> date | None:
    """The first day in between of which there is a clearing file."""
    rows = await database.fetch(ROLE, _SQL["first_file_day"], since, until)
    return rows[0]["day"]


def _day(row: asyncpg.Record) -> ReconciledDay:
    return ReconciledDay(**dict(row))
