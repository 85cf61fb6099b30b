"""Under load, nothing that is right is taken for wrong: neither by the tracer nor by `kessai trace prove --all`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from kessai.apps.bench.figures import Tally
from kessai.apps.bench.http_load import Charge, Target, load_charges
from kessai.apps.bench.mixes import Crowd
from kessai.apps.bench.program import PlatformProcess
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.apps.trace.prove import prove_all
from kessai.apps.wiring import load_payment_kinds
from kessai.foundation.db import Database

NUMBER = int(os.environ.get("KESSAI_TEST_PROCESSINGS", "100000"))
STRETCH_S = 10.0
CUSTOMERS = Crowd(0, 2_000)
_VERDICTS = "SELECT verdict, count(*) AS n FROM tracer.processing GROUP BY verdict"


async def _verdicts(database: Database) -> dict[str, int]:
    return {row["verdict"]: row["n"] for row in await database.fetch(None, _VERDICTS)}


async def _charged(target: Target, dsn: str, number: int) -> int:
    """Charge until so many were acknowledged, and prove all there is after each stretch while the next one runs."""
    kinds, done, seed = load_payment_kinds(), 0, 1
    load: Spawned[Charge, tuple[Tally, int]] = Spawned(load_charges, target)
    async with load:
        while done < number:
            stretch = asyncio.create_task(load.order(Charge(STRETCH_S, seed=seed)))
            proof = await prove_all(dsn, kinds)
            assert proof.proof.disagreements == []
            assert proof.chain == []
            done, seed = done + (await stretch)[0].acknowledged, seed + 1
    return done


async def _played(dsn: str, folder: Path, database: Database, number: int) -> None:
    async with start_ledger(dsn) as ledger:
        await ledger.order(OpenCustomers(CUSTOMERS))
    async with PlatformProcess("--database-url", dsn, "--data", str(folder)) as platform:
        done = await _charged(Target(platform.url, platform.api_key, CUSTOMERS, 32), dsn, number)
        while (await _verdicts(database)).get("PENDING"):
            await asyncio.sleep(0.2)
    verdicts = await _verdicts(database)
    assert verdicts.keys() == {"CONSISTENT"}
    assert verdicts["CONSISTENT"] >= done
    assert await database.fetch(None, "SELECT finding_id FROM tracer.finding") == []
    after = await prove_all(dsn, load_payment_kinds())
    assert (after.proved, after.proof.in_flight) == (True, 0)
    assert after.proof.processings >= done


@pytest.mark.soak
async def test_a_hundred_thousand_healthy_processings_give_no_alarm(
    database_url: str, tmp_path: Path, database: Database
) -> None:
    await _played(database_url, tmp_path, database, NUMBER)
    assert NUMBER > 0
