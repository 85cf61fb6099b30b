"""The day on which each job falls due next, kept in the service's schema, so that none is left out or run twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from kessai.foundation.db import Database, role_of
from kessai.sdk.jobs.due import first_due_on
from kessai.sdk.jobs.model import DatedJob
from kessai.sdk.jobs.runs import queries_of


async def keep(database: Database, service: str, jobs: Sequence[DatedJob], now: datetime) -> None:
    """From now on these jobs fall due; what was kept before stays where it is."""
    names, days = [each.name for each in jobs], [first_due_on(each, now) for each in jobs]
    await database.fetch(role_of(service), queries_of(service)["due_create"], names, days)


async def next_days(database: Database, service: str, names: Sequence[str]) -> dict[str, date]:
    """The day on which each job falls due next; one that is not kept is left out."""
    rows = await database.fetch(role_of(service), queries_of(service)["due_read"], list(names))
    return {row["name"]: row["next_on"] for row in rows}


async def move(database: Database, service: str, name: str, since: date, until: date) -> bool:
    """Its run of a day was made; False when another process said so first."""
    return bool(await database.fetch(role_of(service), queries_of(service)["due_move"], name, since, until))
