"""Processings in lists, and totals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime

import asyncpg

from kessai.foundation.db import Database, load_queries
from kessai.services.tracer.api import DayTotals, ProcessingSummary, ProcessingVerdict, Verdict
from kessai.services.tracer.store import ROLE

_sql = load_queries("kessai.services.tracer")


async def load_processing(database: Database, processing_id: str) -> tuple[ProcessingSummary, bool] | None:
    """A processing, and whether there is a finding on it; None when it is not known."""
    rows = await database.fetch(ROLE, _sql["load_processing"], processing_id)
    return (_summary(rows[0]), rows[0]["found"]) if rows else None


async def processing_of_subject(database: Database, subject: str) -> str | None:
    """The processing that is about an effect, such as a payment."""
    rows = await database.fetch(ROLE, _sql["processing_of_subject"], subject)
    return rows[0]["processing_id"] if rows else None


async def processings_by_age(
    database: Database, verdict: Verdict, *, after: datetime, after_id: str, until: datetime, limit: int
) -> list[ProcessingSummary]:
    """Processings with a verdict, touched after an instant (and id) and no later than another, oldest first."""
    rows = await database.fetch(ROLE, _sql["processings_by_age"], verdict.value, after, after_id, until, limit)
    return [_summary(row) for row in rows]


async def present_verdicts(database: Database, processing_ids: Sequence[str]) -> list[ProcessingVerdict]:
    """What is known of these processings at their present revisions, in order of id; those that are known."""
    rows = await database.fetch(ROLE, _sql["present_verdicts"], list(processing_ids))
    return [
        ProcessingVerdict(
            processing_id=row["processing_id"],
            verdict=Verdict(row["verdict"]),
            revision=row["revision"],
            decided_at=row["decided_at"],
        )
        for row in rows
    ]


async def totals(database: Database, first: date, last: date) -> list[DayTotals]:
    """What was counted on the days from the first to the last."""
    by_day: defaultdict[date, dict[str, int]] = defaultdict(dict)
    for row in await database.fetch(ROLE, _sql["tallies"], first, last):
        by_day[row["day"]][row["name"]] = row["count"]
    return [DayTotals(day=day, **counts) for day, counts in by_day.items()]


def _summary(row: asyncpg.Record) -> ProcessingSummary:
    return ProcessingSummary(
        processing_id=row["processing_id"],
        verdict=Verdict(row["verdict"]),
        revision=row["revision"],
        entry=row["entry"],
        participants=row["participants"],
        opened_at=row["opened_at"],
        touched_at=row["touched_at"],
    )
