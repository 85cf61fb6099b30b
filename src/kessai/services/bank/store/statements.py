"""The statement of our own account in the bank schema: days, lines, and where our rows differ from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import bare
from kessai.services.bank.api import InstructionKind, StatementDay, StatementDifference
from kessai.services.bank.domain import prefix_of
from kessai.services.bank.store import ROLE, kind_of

DIFFERENCES_MAX = 1000
"""Listed for a day; whoever has more has another trouble."""
_SQL = load_queries("kessai.services.bank", file="sql/statements.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line of a statement, and whose it is; None: nothing of ours."""

    position: int
    bank_id: str
    instruction_id: str | None
    amount_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Differing:
    """An instruction that did not move what the statement says."""

    instruction_id: str
    ours_minor: int
    theirs_minor: int


async def insert_day(connection: Connection, day: StatementDay, lines: Sequence[NewLine]) -> bool:
    """A day with its lines; False when it is there already, and left as it is."""
    row = (day.day, day.opening_minor, day.moved_minor, day.closing_minor, day.lines, day.imported_at)
    if not await connection.fetch(_SQL["insert_day"], *([value] for value in row)):
        return False
    ids = [each.instruction_id for each in lines]
    await connection.execute(
        _SQL["insert_statement_lines"],
        *([day.day] * len(lines), [each.position for each in lines], [each.bank_id for each in lines]),
        *([each and bare(each) for each in ids], [each and kind_of(each).value for each in ids]),
        *([each.amount_minor for each in lines], [each.balance_minor for each in lines]),
    )
    return True


async def load_day(connection: Connection, day: date) -> StatementDay | None:
    """A day without its differences."""
    rows = await connection.fetch(_SQL["load_day"], day)
    return _day(rows[0]) if rows else None


async def first_day(connection: Connection) -> StatementDay | None:
    """The first day that was imported: ours begins with its opening."""
    rows = await connection.fetch(_SQL["first_day"])
    return _day(rows[0]) if rows else None


async def days_before(connection: Connection, before: date, limit: int) -> list[StatementDay]:
    """Days before one, the newest first."""
    return [_day(row) for row in await connection.fetch(_SQL["list_days"], before, limit)]


async def list_days(database: Database, before: date, limit: int) -> list[StatementDay]:
    """The same, of their own."""
    return await database.transaction(ROLE, lambda connection: days_before(connection, before, limit))


async def ours_beside_theirs(
    connection: Connection, day: date, until: datetime, since: datetime, overdue_before: date
) -> tuple[int, list[Differing]]:
    """What our rows say was moved from the first day's beginning `since` to a day's end `until`, and instructions on
    which the statements up to that day say otherwise. One that was under way at the day's end is where they have it;
    one by a file of a day before `overdue_before` is listed all the same."""
    rows = await connection.fetch(_SQL["ours_beside_theirs"], day, until, since, DIFFERENCES_MAX, overdue_before)
    found = [
        Differing(
            prefix_of(InstructionKind(row["kind"])) + row["instruction_id"].hex, row["ours_minor"], row["theirs_minor"]
        )
        for row in rows
        if row["instruction_id"] is not None
    ]
    return rows[0]["moved_minor"], found


async def unknown_lines(connection: Connection, day: date) -> list[tuple[str, int]]:
    """Lines of a day that are nothing of ours, by the bank's own id."""
    rows = await connection.fetch(_SQL["unknown_lines"], day)
    return [(row["bank_id"], row["amount_minor"]) for row in rows]


async def look_at_day(connection: Connection, day: date, ours_minor: int, *, agrees: bool, now: datetime) -> None:
    """What a comparison came to."""
    await connection.fetch(_SQL["look_at_day"], day, ours_minor, agrees, now)


async def differences_of(connection: Connection, day: date) -> list[StatementDifference]:
    """What was found on a day, with what was resolved since."""
    return [
        StatementDifference(
            about=row["about"],
            reason=row["reason"],
            ours_minor=row["ours_minor"],
            theirs_minor=row["theirs_minor"],
            found_at=row["found_at"],
            resolved_at=row["resolved_at"],
        )
        for row in await connection.fetch(_SQL["differences_of_day"], day)
    ]


async def write_differences(
    connection: Connection, day: date, found: Sequence[StatementDifference], now: datetime
) -> None:
    """What differs now; what differed before and does so no more is resolved."""
    await connection.execute(
        _SQL["note_differences"],
        *([day] * len(found), [each.about for each in found], [each.reason for each in found]),
        *([each.ours_minor for each in found], [each.theirs_minor for each in found], [now] * len(found)),
    )
    await connection.fetch(_SQL["resolve_differences"], day, now, [each.about for each in found])


def _day(row: asyncpg.Record) -> StatementDay:
    return StatementDay(
        day=row["day"],
        opening_minor=row["opening_minor"],
        moved_minor=row["moved_minor"],
        closing_minor=row["closing_minor"],
        ours_minor=row["ours_minor"],
        lines=row["lines"],
        agrees=row["agrees"],
        imported_at=row["imported_at"],
        looked_at=row["looked_at"],
        differences=[],
    )
