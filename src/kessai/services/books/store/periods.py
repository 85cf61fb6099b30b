"""Periods, and the gate between those who book and those who close.

Whoever books reads how far the books are closed while holding the gate's row for share; whoever closes moves that row
first. So no entry lands in a month that is closed at that very moment.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.api.accounting import PeriodState, PeriodStep
from kessai.services.books.domain.periods import Standing

GATE = date(1, 1, 1)
"""The `month` of the row that is the gate; no calendar month lies so early."""

_sql = load_queries("kessai.services.books", file="sql/accounting.sql")


async def hold_gate(connection: Connection, now: datetime) -> Standing:
    """How far the books are closed; it stays so until the caller's transaction ends."""
    if not await connection.fetch(_sql["share_gate"], GATE):
        await connection.execute(_sql["create_gate"], GATE, now)
        await connection.fetch(_sql["share_gate"], GATE)
    return await standing(connection)


async def move_gate(connection: Connection, now: datetime) -> Standing:
    """The same for one who is about to change it: everybody who books waits, and then sees the change."""
    if not await connection.fetch(_sql["move_gate"], GATE, now):
        await connection.execute(_sql["create_gate"], GATE, now)
        await connection.fetch(_sql["move_gate"], GATE, now)
    return await standing(connection)


async def standing(connection: Connection) -> Standing:
    """How far the books are closed just now."""
    (row,) = await connection.fetch(_sql["standing"], GATE)
    return Standing(row["closed_through"], row["locked_through"])


async def write_period(
    connection: Connection, month: date, state: PeriodState, *, reason: str, by: str, now: datetime
) -> None:
    """Give a month a state, with a line of its history."""
    await connection.fetch(_sql["write_period"], month, state.value, reason, now, by)


async def steps_between(connection: Connection, since: date, until: date) -> dict[date, list[PeriodStep]]:
    """The histories of some months, by month."""
    found: defaultdict[date, list[PeriodStep]] = defaultdict(list)
    for row in await connection.fetch(_sql["period_steps"], since, until):
        found[row["month"]].append(
            PeriodStep(
                version=row["version"],
                state=PeriodState(row["state"]),
                reason=row["reason"],
                by=row["changed_by"],
                recorded_at=row["changed_at"],
            )
        )
    return found


async def first_booked_on(connection: Connection) -> date | None:
    """The day of the earliest journal."""
    return await connection.fetchval(_sql["first_booked_on"])


async def count_unposted_before(connection: Connection, before: datetime) -> int:
    """Events that happened before an instant and stand unposted."""
    return await connection.fetchval(_sql["count_unposted_before"], before)
