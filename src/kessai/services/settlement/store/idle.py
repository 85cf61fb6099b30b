"""What tells whether a stretch of days has anything to do for the dated jobs, and the closing of days without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.merchant.api import FeeUnit
from kessai.services.settlement.store import ROLE
from kessai.services.settlement.store.days import DAYS

_SQL = load_queries("kessai.services.settlement", file="sql/idle.sql")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is not at its end, apart from open transactions."""

    under_way: bool
    """Fees, or movements of any kind, of which the end is still to come."""
    tried_again: bool
    """Fees that were refused, or wait for terms: each run looks at them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayoutsToLookAt:
    """The earliest day of each sort of payout that a job still has to look at; None: there are none."""

    made_on: date | None
    """Last day of a cycle that is to be cleared."""
    refused_on: date | None
    """The same, of which something was refused before."""
    cleared_on: date | None
    """The day to instruct the bank."""
    held_on: date | None
    """The same, of what cannot be paid now."""
    untold: int
    """Payouts of which the payment service has not answered."""


async def unfinished(database: Database) -> Unfinished:
    """Whether fees or movements are under way, or are tried again."""
    (row,) = await database.fetch(ROLE, _SQL["unfinished"])
    return Unfinished(row["under_way"], row["tried_again"])


async def open_parts(database: Database, unit: FeeUnit, until: date) -> date | None:
    """The earliest day of what waits to go into a fee on totals, of days up to one."""
    (row,) = await database.fetch(ROLE, _SQL["open_parts"], unit.value, until)
    return row["first_day"]


async def close_through(connection: Connection, was: date | None, until: date) -> bool:
    """Every day up to one is closed from now on; False when somebody else has closed any meanwhile."""
    return await connection.fetchval(_SQL["close_idle_through"], DAYS, was, until) is not None


async def close_days(connection: Connection, days: Sequence[date], at: datetime) -> None:
    """Close days with what is in their summaries; one that is closed stays as it is."""
    await connection.execute(_SQL["close_idle_days"], list(days), at)


async def payouts_to_look_at(database: Database) -> PayoutsToLookAt:
    """Of all payouts that are not at their end, the earliest day of each sort."""
    (row,) = await database.fetch(ROLE, _SQL["payouts_to_look_at"])
    return PayoutsToLookAt(**dict(row))
