"""Ledger and payment alone, as `bench charge --alone` measures them."""

from __future__ import annotations

from pathlib import Path

from kessai.apps.bench.charge import ALONE
from kessai.apps.bench.figures import Tally
from kessai.apps.bench.http_load import Charge, Target, load_charges
from kessai.apps.bench.mixes import Crowd
from kessai.apps.bench.program import PlatformProcess, first_finding
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.untraced import without_traces
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.foundation.db import Database

CROWD = Crowd(0, 20)
_HEARD = "SELECT (SELECT count(*) FROM books.journal) + (SELECT count(*) FROM tracer.processing) AS n"


async def test_charges_are_made_and_proved_while_nobody_listens(
    database_url: str, tmp_path: Path, database: Database
) -> None:
    async with start_ledger(database_url) as ledger:
        await ledger.order(OpenCustomers(CROWD))
    await without_traces(database_url)
    async with PlatformProcess("--database-url", database_url, "--data", str(tmp_path), program=ALONE) as platform:
        target = Target(platform.url, platform.api_key, CROWD, 4)
        async with Spawned[Charge, tuple[Tally, int]](load_charges, target) as load:
            tally, captured = await load.order(Charge(1.0, seed=1))
    assert tally.acknowledged > 0
    assert captured > 0
    assert await first_finding(database_url) is None
    (heard,) = await database.fetch(None, _HEARD)
    assert heard["n"] == 0
