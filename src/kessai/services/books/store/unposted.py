"""Events that stand unposted, with what they need to be booked one day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.posting import Happening, subject_of

_sql = load_queries("kessai.services.books")


class StoredEvent(NamedTuple):
    """An event as it was delivered."""

    source: str
    position: int
    ordinal: int
    topic: str
    payload: bytes
    recorded_at: datetime
    reason: str
    """Why it stands."""

    @property
    def event_id(self) -> str:
        """Its name in the books."""
        return f"{self.source}/{self.position}/{self.ordinal}"


async def insert_unposted(
    connection: Connection, events: Sequence[tuple[Happening, str, str]], parked_at: datetime
) -> list[str]:
    """Put events aside, each with its reason and detail; gives the reasons of those that did not stand before."""
    rows = [
        (
            each.event_id, each.source, each.position, each.ordinal, each.topic, each.payload, subject_of(each.told),
            each.at, reason, detail,
        )
        for each, reason, detail in events
    ]  # fmt: skip
    columns = (list(column) for column in zip(*rows, strict=True))
    return [row["reason"] for row in await connection.fetch(_sql["insert_unposted"], *columns, parked_at)]


async def lock_unposted(connection: Connection, event_ids: Collection[str]) -> list[StoredEvent]:
    """Those of the events that still stand, in the order in which they happened; nobody else books them meanwhile."""
    rows = await connection.fetch(_sql["lock_unposted"], list(event_ids))
    found = [
        StoredEvent(
            row["source"], row["position"], row["ordinal"], row["topic"], row["payload"], row["occurred_at"],
            row["reason"],
        )
        for row in rows
    ]  # fmt: skip
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


async def unposted_of_known(connection: Connection, limit: int) -> list[str]:
    """Events that wait for an account that is known by now."""
    return [row["event_id"] for row in await connection.fetch(_sql["unposted_of_known"], limit)]


async def standing_of(connection: Connection, subjects: Collection[str]) -> list[tuple[str, str]]:
    """Events that stand of exchanges or instructions, with what they tell of."""
    rows = await connection.fetch(_sql["unposted_of_subjects"], list(subjects))
    return [(row["event_id"], row["subject"]) for row in rows]


async def unposted_standing(
    connection: Connection, after: tuple[datetime, str], limit: int, *, reason: str | None, detail: str | None
) -> list[tuple[datetime, str]]:
    """When events that stand were put aside, and which, the first first, after a place; of a reason, or of any."""
    rows = await connection.fetch(_sql["unposted_standing"], *after, reason, detail, limit)
    return [(row["parked_at"], row["event_id"]) for row in rows]


async def count_unposted(connection: Connection) -> dict[str, int]:
    """How many events stand, by reason."""
    return {row["reason"]: row["events"] for row in await connection.fetch(_sql["count_unposted"])}
