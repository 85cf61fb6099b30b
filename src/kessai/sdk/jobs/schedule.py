"""The day on which each job falls due next, kept in the service's schema, so that none is left out or run twice.

Days on which there was nothing to do are passed over, and kept as such.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from kessai.foundation.db import Database, role_of
from kessai.sdk.jobs.due import day_of, first_due_on, last_due_before
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


async def pass_over(database: Database, service: str, job: DatedJob, since: date, until: date, now: datetime) -> bool:
    """It needs no run of the days on which it fell due from one on and before another; False: others said so first."""
    last = last_due_before(job, until)
    row = (job.name, since, until, day_of(job, since), day_of(job, last), now)
    return bool(await database.fetch(role_of(service), queries_of(service)["due_pass"], *row))
