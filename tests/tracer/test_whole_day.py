"""The demonstration's day through the whole platform: one processing is broken on purpose, and no alarm but that."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from tests.journeys.town import Town, opened

KEPT_HOLD = "rule:void-hold-that-the-card-network-kept"
_STATES = "SELECT verdict, count(*) AS n FROM tracer.processing GROUP BY verdict"


async def at_rest(town: Town, verdicts: Any) -> Counter[str]:
    """Verdicts, once nothing is pending or to be repaired any more."""
    while True:
        found = await verdicts()
        if found and not found["PENDING"] and not found["INCONSISTENT"]:
            return found
        await asyncio.sleep(0.1)


async def test_the_days_processings_are_all_consistent_and_the_broken_one_is_repaired(
    database_url: str, tmp_path: Path, database: Any
) -> None:
    async def verdicts() -> Counter[str]:
        return Counter({row["verdict"]: row["n"] for row in await database.fetch(None, _STATES)})

    async with opened(database_url, tmp_path) as town:
        await town.played()
        async with asyncio.timeout(60):
            found = await at_rest(town, verdicts)
        for state, count in (("OPEN", 0), ("REPAIRED", 0), ("CLOSED", 1)):
            listed = (await town.http.get(f"/v1/tracer/findings?state={state}")).json()["findings"]
            assert [each["steps"][-2]["by"] for each in listed] == [KEPT_HOLD] * count
        assert set(found) == {"CONSISTENT"}
        totals = (await town.http.get("/v1/tracer/participants")).json()["participants"]
        assert {each["name"] for each in totals} == {"bank", "cardgateway", "ledger", "payment"}
