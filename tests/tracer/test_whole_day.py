"""The demonstration's day through the whole platform: every processing of it is proved, with no alarm."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.journeys.town import Town, opened

_STATES = "SELECT verdict, count(*) AS n FROM tracer.processing GROUP BY verdict"


async def at_rest(town: Town, verdicts: Any) -> Counter[str]:
    """Verdicts, once nothing is pending any more."""
    while True:
        found = await verdicts()
        if found and not found["PENDING"]:
            return found
        await asyncio.sleep(0.1)


async def test_the_days_processings_are_all_consistent(database_url: str, tmp_path: Path, database: Any) -> None:
    async def verdicts() -> Counter[str]:
        return Counter({row["verdict"]: row["n"] for row in await database.fetch(None, _STATES)})

    async with opened(database_url, tmp_path) as town:
        await town.played()
        async with asyncio.timeout(60):
            found = await at_rest(town, verdicts)
        listed = (await town.http.get("/v1/tracer/findings")).json()["findings"]
        assert listed == []
        print(
            found,
            await database.fetch(None, "SELECT participants, revision, count(*) FROM tracer.processing GROUP BY 1,2"),
            await database.fetch(None, "SELECT name, count FROM tracer.tally"),
            await database.fetch(None, "SELECT count(*) FROM payment.payment"),
        )
        assert set(found) == {"CONSISTENT"}
        totals = (await town.http.get("/v1/tracer/participants")).json()["participants"]
        assert {each["name"] for each in totals} == {"bank", "cardgateway", "ledger", "payment"}
