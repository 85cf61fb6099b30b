"""Where a subscription stands with its source: whether there is anything that it has not been told yet."""

from __future__ import annotations

from collections.abc import Sequence

from kessai.foundation.db import Database, load_queries, role_of


async def is_quiet(
    database: Database, *, source: str, subscriber: str, subscription: str, topics: Sequence[str]
) -> bool:
    """Whether every event of these topics that was committed when this was asked took effect (or is parked)."""
    theirs = load_queries("kessai.foundation.events", schema=source)
    if await database.fetch(role_of(source), theirs["outbox_unpositioned"], 1):
        return False
    mine = load_queries("kessai.foundation.events", schema=subscriber)
    cursors = await database.fetch(role_of(subscriber), mine["cursor_read"], subscription)
    position, handled = (cursors[0]["position"], cursors[0]["handled"]) if cursors else (0, 0)
    return not await database.fetch(
        role_of(source), theirs["outbox_after"], position, handled, list(topics), 1, 1
    )  # fmt: skip
