"""The sandbox's one row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kessai.foundation.db import Database, load_queries, role_of
from kessai.foundation.migrations import SchemaSpec

SCHEMA = SchemaSpec(service="sandbox", package="kessai.services.sandbox")
_ROLE = role_of("sandbox")
_SQL = load_queries("kessai.services.sandbox")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class StoredClock:
    """The row, and its version."""

    offset: timedelta
    frozen_at: datetime | None
    version: int


async def load(database: Database) -> StoredClock:
    """The clock as it is stored."""
    (row,) = await database.fetch(_ROLE, _SQL["clock"])
    return StoredClock(row["offset_us"] * _MICROSECOND, row["frozen_at"], row["version"])


async def replace(database: Database, clock: StoredClock) -> bool:
    """Store a clock that was decided on `clock.version`; False when another process was faster."""
    offset_us = clock.offset // _MICROSECOND
    return bool(await database.fetch(_ROLE, _SQL["move_clock"], offset_us, clock.frozen_at, clock.version))
