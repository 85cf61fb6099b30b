"""The demonstrated day, heard by the books while it happens: nothing of it stands unposted, and everything agrees."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kessai.foundation.db import Database
from tests.books.town import PROOFS
from tests.journeys.town import opened


async def test_everything_of_the_demonstrated_day_is_booked(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as town:
        await town.played()
        database = Database(database_url)
        try:
            await _heard(database)
            standing = await database.fetch(None, "SELECT event_id, reason, detail FROM books.unposted_event")
            assert [tuple(row) for row in standing] == []
            for name, query in PROOFS.items():
                assert [dict(row) for row in await database.fetch(None, query)] == [], name
            rows = await database.fetch(
                None, "SELECT account, sum(amount)::bigint AS amount FROM books.entry GROUP BY account"
            )
            balances = {row["account"]: row["amount"] for row in rows}
            assert balances["1230"] + balances["1231"] == 0, "what the ledger calls in transit has come in"
            assert balances["1110"] == 30_000
            kinds = await database.fetch(None, "SELECT DISTINCT kind FROM books.journal ORDER BY kind")
            assert {"charge", "escrow", "escrow_paid_on", "expiry", "point_grant", "top_up", "transfer"} <= {
                row["kind"] for row in kinds
            }
        finally:
            await database.close()


async def _heard(database: Database) -> None:
    for source, name, topics in (
        ("ledger", "books.ledger", ("ledger.account", "ledger.exchange")),
        ("bank", "books.bank", ("bank.transfer", "bank.debit")),
    ):
        async with asyncio.timeout(120):
            while not await _is_quiet(database, source, name, topics):
                await asyncio.sleep(0.1)


async def _is_quiet(database: Database, source: str, name: str, topics: tuple[str, ...]) -> bool:
    (row,) = await database.fetch(
        None,
        f"SELECT count(*) AS waiting FROM {source}.outbox AS o WHERE o.topic = ANY ($1::text[])"
        " AND (o.position IS NULL OR o.position > (SELECT position FROM books.subscription_cursor"
        " WHERE subscription = $2))",
        list(topics),
        name,
    )
    return not row["waiting"]
