"""Events that stand unposted, as people are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.api.accounting import UnpostedEvent

_sql = load_queries("kessai.services.books", file="sql/accounting.sql")

EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
"""Before anything was put aside."""


async def standing_after(connection: Connection, at: datetime, event_id: str, limit: int) -> list[UnpostedEvent]:
    """Events that stand, put aside after an instant (and id), those put aside first first."""
    return [_event(row) for row in await connection.fetch(_sql["unposted_after"], at, event_id, limit)]


async def standing_named(connection: Connection, event_ids: Sequence[str]) -> list[UnpostedEvent]:
    """Those of the named events that still stand."""
    return [_event(row) for row in await connection.fetch(_sql["unposted_named"], list(event_ids))]


def _event(row: asyncpg.Record) -> UnpostedEvent:
    return UnpostedEvent(
        event_id=row["event_id"],
        topic=row["topic"],
        reason=row["reason"],
        detail=row["detail"],
        attempts=row["attempts"],
        occurred_at=row["occurred_at"],
        parked_at=row["parked_at"],
    )
