"""Days and daily summaries, and how far the feeds have come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.errors import Conflict, Refused
from kessai.services.settlement.api.days import DailySummary, SettlementDay
from kessai.services.settlement.store import ROLE

_sql = load_queries("kessai.services.settlement")
DAYS = "days"
FEEDS = ("settlement.payment", "settlement.fees")
"""The subscriptions that a day waits for."""


class SummaryPlace(NamedTuple):
    """Where a page of summaries ended."""

    day: date
    merchant_id: str
    owner_id: str
    method: str


async def move_feed(connection: Connection, feed: str, seen_at: datetime) -> None:
    """Say how far a feed has come; it never goes back."""
    await connection.execute(_sql["move_feed"], feed, seen_at)


async def feeds(database: Database) -> dict[str, datetime | None]:
    """How far each feed has come."""
    rows = await database.fetch(ROLE, _sql["read_feeds"], list(FEEDS))
    return {row["name"]: row["seen_at"] for row in rows}


async def parked_before(database: Database, before: datetime) -> int:
    """Events recorded before an instant that the feeds put aside for an operator."""
    (row,) = await database.fetch(ROLE, _sql["parked_before"], list(FEEDS), before)
    return row["events"]


async def closed_through(database: Database) -> date | None:
    """The last day that is closed, or was passed over."""
    (row,) = await database.fetch(ROLE, _sql["closed_through"], DAYS)
    return row["closed_through"]


async def keep_open(connection: Connection, day: date) -> None:
    """Keep a day from being closed until the caller's transaction ends; raises Conflict `day_closed` where it is."""
    through = await connection.fetchval(_sql["share_closed_through"], DAYS)
    if through is not None and day <= through:
        raise Conflict(
            "day_closed", f"{day} is closed; what is late settles on the next open day.", day=day.isoformat()
        )


async def require_in_order(connection: Connection, day: date) -> None:
    """Keep anybody from closing days until the caller's transaction ends.

    Raises Refused `earlier_day_open` while a day before it, since the last one that is closed, has transactions that
    are to settle on it, or has begun to settle. Before any day is closed, every day may be the first.
    """
    through = await connection.fetchval(_sql["lock_closed_through"], DAYS)
    earlier = None if through is None else await connection.fetchval(_sql["earlier_day_open"], through, day)
    if earlier is not None:
        raise Refused(
            "earlier_day_open",
            f"{earlier} has transactions and is not closed: settle it before {day}.",
            day=earlier.isoformat(),
        )


async def close(connection: Connection, day: date, at: datetime) -> SettlementDay | None:
    """Close a day with what is in its summaries; None: it is closed already, or a later one is.

    Raises Refused `earlier_day_open`.
    """
    await require_in_order(connection, day)
    if await connection.fetchval(_sql["close_through"], DAYS, day) is None:
        return None
    row = await connection.fetchrow(_sql["close_day"], day, at)
    return None if row is None else day_of(row)


async def load(database: Database, day: date) -> SettlementDay | None:
    """A closed day."""
    rows = await database.fetch(ROLE, _sql["closed_days"], day, day)
    return day_of(rows[0]) if rows else None


async def between(database: Database, since: date, until: date) -> list[SettlementDay]:
    """Closed days, in their order."""
    return [day_of(row) for row in await database.fetch(ROLE, _sql["closed_days"], since, until)]


async def summaries(
    database: Database, payee_id: str, since: date, until: date, after: SummaryPlace, limit: int
) -> list[DailySummary]:
    """A payee's summaries of closed days and open ones, beyond a place."""
    rows = await database.fetch(ROLE, _sql["daily_summaries"], payee_id, since, until, *after, limit)
    return [_summary(row) for row in rows]


def day_of(row: asyncpg.Record) -> SettlementDay:
    """A row of a closed day."""
    return SettlementDay(
        day=row["day"],
        closed_at=row["closed_at"],
        transactions=row["transactions"],
        net_minor=row["net_minor"],
        left_open=row["left_open"],
    )


def _summary(row: asyncpg.Record) -> DailySummary:
    numbers: Sequence[str] = (
        *("sales_minor", "refunds_minor", "fees_minor", "fee_refunds_minor", "added_minor", "taken_minor"),
        *("net_minor", "transactions", "late"),
    )
    return DailySummary(
        payee_id=row["payee_id"],
        day=row["day"],
        merchant_id=row["merchant_id"],
        owner_id=row["owner_id"],
        method=row["method"],
        cycle_id=None if row["cycle_id"] is None else str(row["cycle_id"]),
        **{name: row[name] for name in numbers},
    )
