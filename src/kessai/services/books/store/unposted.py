"""Events that stand unposted, with what they need to be booked one day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.posting import Happening

_sql = load_queries("kessai.services.books")


class StoredEvent(NamedTuple):
    """An event as it was delivered."""

    source: str
    position: int
    ordinal: int
    topic: str
    payload: bytes
    recorded_at: datetime


async def insert_unposted(
    connection: Connection, events: Sequence[tuple[Happening, str, str]], parked_at: datetime
) -> None:
    """Put events aside, each with its reason and detail."""
    rows = [
        (each.event_id, each.source, each.position, each.ordinal, each.topic, each.payload, each.at, reason, detail)
        for each, reason, detail in events
    ]
    await connection.execute(_sql["insert_unposted"], *(list(column) for column in zip(*rows, strict=True)), parked_at)


async def lock_unposted(connection: Connection, event_ids: Collection[str]) -> list[StoredEvent]:
    """Those of the events that still stand, in the order in which they happened; nobody else books them meanwhile."""
    rows = await connection.fetch(_sql["lock_unposted"], list(event_ids))
    found = [
        StoredEvent(row["source"], row["position"], row["ordinal"], row["topic"], row["payload"], row["occurred_at"])
        for row in rows
    ]
    return sorted(found, key=lambda each: each[:3])


async def settle_unposted(
    connection: Connection, booked: Collection[str], standing: Sequence[tuple[str, str, str]], at: datetime
) -> None:
    """Mark events as booked, and those that still stand as tried once more (event, reason, detail)."""
    if booked:
        await connection.execute(_sql["settle_unposted"], list(booked), at)
    if standing:
        await connection.execute(_sql["keep_unposted"], *(list(column) for column in zip(*standing, strict=True)))


async def unposted_of_accounts(connection: Connection, account_ids: Collection[str], limit: int) -> list[str]:
    """Events that wait for these accounts to become known."""
    rows = await connection.fetch(_sql["unposted_of_accounts"], list(account_ids), limit)
    return [row["event_id"] for row in rows]


async def unposted_standing(connection: Connection, limit: int) -> list[str]:
    """Events that stand, those put aside first first."""
    return [row["event_id"] for row in await connection.fetch(_sql["unposted_standing"], limit)]


async def count_unposted(connection: Connection) -> dict[str, int]:
    """How many events stand, by reason."""
    return {row["reason"]: row["events"] for row in await connection.fetch(_sql["count_unposted"])}
