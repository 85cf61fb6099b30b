"""kill -9 of the server under load: nothing acknowledged is lost or doubled, and what was in flight converges."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.faults.conftest import KILLS, SEED, StartPlatform, StartTraffic, require_invariants


async def test_server_killed_under_load_loses_and_doubles_nothing(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    platform = await start_platform("--database-url", database_url, impatient=True)
    traffic = await start_traffic(platform)
    dice = random.Random(SEED)
    traffic.begin()
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.05, 0.8))
        await platform.kill()
        await platform.start()
    await traffic.finish()
    await traffic.require_nothing_lost_or_doubled()
    await platform.stop()
    await require_invariants(database_url)


async def test_killed_server_takes_up_the_database_it_left_running(
    throwaway_folder: Path, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    platform = await start_platform("--data", str(throwaway_folder))
    traffic = await start_traffic(platform, customers=4)
    traffic.begin()
    await asyncio.sleep(0.4)
    await platform.kill()
    await platform.start()
    await traffic.finish()
    await traffic.require_nothing_lost_or_doubled()


async def test_server_asked_to_end_under_load_loses_no_request(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    platform = await start_platform("--database-url", database_url)
    traffic = await start_traffic(platform, customers=4)
    traffic.begin()
    await asyncio.sleep(0.4)
    await platform.stop()
    assert await platform.wait() == 0
    await platform.start()
    await traffic.finish()
    await traffic.require_nothing_lost_or_doubled()
    await platform.stop()
    await require_invariants(database_url)
