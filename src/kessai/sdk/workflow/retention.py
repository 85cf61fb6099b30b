"""Retention: what finished long ago is forgotten in two steps, so that a reused id can never replay a stale result.

First the history goes: request, steps, outcome, messages, attributes. The id stays taken: whoever asks for it is told
Forgotten. Much later the id itself goes, when nothing of its former life is left, and it may be used anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from kessai.foundation.clock import Clock
from kessai.foundation.db import MAINTENANCE_ROLE, Connection, Database
from kessai.sdk.workflow.host import operations

BATCH = 1_000
"""Workflows forgotten in one transaction."""
BELONGINGS = (
    "forget_log",
    "forget_messages",
    "forget_answers",
    "forget_attributes",
    "forget_heartbeats",
    "forget_forks",
    "forget_stuck",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long finished workflows are kept, in business time since they ended."""

    history: timedelta = timedelta(days=90)
    ids: timedelta = timedelta(days=400)
    """Not shorter than `history`: as long as a client may send a request again."""

    def __post_init__(self) -> None:
        assert self.ids >= self.history, "an id is kept at least as long as its history"


@dataclass(frozen=True, slots=True)
class Retired:
    """What one pass has forgotten."""

    histories: int
    ids: int


async def retire(database: Database, service: str, clock: Clock, retention: Retention | None = None) -> Retired:
    """Forget what is due, in batches; safe to run at any time, and again."""
    retention, now = retention or Retention(), clock.now()
    histories = await _forget(database, service, now - retention.history, ("forget_outcome", *BELONGINGS), past=False)
    ids = await _forget(database, service, now - retention.ids, ("forget_id", "forget_claims"), past=True)
    return Retired(histories, ids)


async def _forget(database: Database, service: str, before: datetime, statements: Iterable[str], *, past: bool) -> int:
    queries, after, count = operations(service), "", 0
    while True:
        arguments = (after, before, past, BATCH)
        rows = await database.fetch(MAINTENANCE_ROLE, queries["finished_before"], *arguments)
        ids = [row["workflow_id"] for row in rows]
        if not ids:
            return count

        async def work(connection: Connection, ids: list[str] = ids) -> None:
            for name in statements:
                await connection.execute(queries[name], ids)

        await database.transaction(MAINTENANCE_ROLE, work)
        after, count = ids[-1], count + len(ids)
