"""The database dies, hangs up, or has no room left: the platform says so, carries on after, and every yen is there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

from kessai.foundation.db import Database
from tests.faults.conftest import SEED, StartPlatform, StartTraffic, require_invariants
from tests.faults.proxy import Proxy, Statement, Verdict, pass_all

DATABASE_KILLS = 2
CUTS = 8


async def test_database_killed_under_load_loses_and_doubles_nothing(
    throwaway_folder: Path, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    platform = await start_platform("--data", str(throwaway_folder))
    traffic = await start_traffic(platform, customers=6)
    dice = random.Random(SEED)
    traffic.begin()
    for _ in range(DATABASE_KILLS):
        await asyncio.sleep(dice.uniform(0.2, 0.8))
        os.kill(_postmaster(throwaway_folder), signal.SIGKILL)
        await asyncio.sleep(0.5)
        await platform.wait_until_ready()
    await traffic.finish()
    assert platform.running
    await traffic.require_nothing_lost_or_doubled()


async def test_connections_cut_under_load_lose_and_double_nothing(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    platform = await start_platform("--database-url", database_url)
    traffic = await start_traffic(platform, customers=6)
    dice = random.Random(SEED)
    cutter = await Database(database_url).connect(None)
    traffic.begin()
    for _ in range(CUTS):
        await asyncio.sleep(dice.uniform(0.05, 0.4))
        await cutter.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await cutter.close()
    await traffic.finish()
    assert platform.running
    await traffic.require_nothing_lost_or_doubled()
    await platform.stop()
    await require_invariants(database_url)


async def test_full_disk_is_answered_as_unavailable_and_nothing_is_written_twice(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    dice = random.Random(SEED)

    def sometimes_full(statement: Statement) -> Verdict:
        return Verdict.DISK_FULL if statement.writes and dice.random() < 0.3 else Verdict.PASS

    async with Proxy(database_url) as proxy:
        platform = await start_platform("--database-url", proxy.dsn)
        traffic = await start_traffic(platform, customers=6)
        traffic.begin()
        for _ in range(3):
            proxy.policy = sometimes_full
            await asyncio.sleep(0.4)
            proxy.policy = pass_all
            await asyncio.sleep(0.2)
        await traffic.finish()
        assert platform.running
        await traffic.require_nothing_lost_or_doubled()
        await platform.stop()
    await require_invariants(database_url)


def _postmaster(data: Path) -> int:
    return int((data / "cluster" / "postmaster.pid").read_text().splitlines()[0])
