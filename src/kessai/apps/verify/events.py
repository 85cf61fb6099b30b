"""Events and workflows of any service's schema: positions, subscriptions, and what waits for an operator."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import msgspec

from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries

DELIVERED = "a subscription has passed no event that there is not"
PARKED = "no event waits for an operator"

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def check_subscriptions(
    connection: Connection, schema: str, queries: Mapping[str, Queries], report: Report
) -> None:
    """Cursors are at or before their source's head; events that are parked, or were, are the source's."""
    for row in await connection.fetch(queries[schema]["cursors"]):
        key, source = row["subscription"], queries.get(row["source"])
        head = None if source is None else await connection.fetchval(source["head"])
        if source is None or head is None:
            report.add(DELIVERED, f"{schema}.subscription_cursor", key, f"its source {row['source']} has no outbox")
        elif row["position"] > head:
            text = f"it is at {row['position']}, past the source's last position {head}"
            report.add(DELIVERED, f"{schema}.subscription_cursor", key, text)
        elif row["position"] or row["handled"]:
            found = await connection.fetchrow(source["row_at"], row["position"])
            if found is None or row["handled"] > found["event_count"]:
                text = f"it has handled {row['handled']} events at {row['position']}, more than there are"
                report.add(DELIVERED, f"{schema}.subscription_cursor", key, text)
    for row in await connection.fetch(queries[schema]["parked_events"]):
        await _check_parked(connection, schema, queries.get(row["source"]), row, report)


async def _check_parked(
    connection: Connection, schema: str, source: Queries | None, row: asyncpg.Record, report: Report
) -> None:
    key = f"{row['subscription']}/{row['position']}/{row['ordinal']}"
    if not row["resolved"]:
        report.add(PARKED, f"{schema}.parked_event", key, row["error"])
    found = None if source is None else await connection.fetchrow(source["row_at"], row["position"])
    events: list[bytes] = [] if found is None else [bytes(each) for each in _split(found["payload"])]
    there = events[row["ordinal"] :][:1] if row["ordinal"] >= 0 else []
    if found is None or found["topic"] != row["topic"] or there != [row["payload"]]:
        report.add(DELIVERED, f"{schema}.parked_event", key, "it is not an event of its source")
