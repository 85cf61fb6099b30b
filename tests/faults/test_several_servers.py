"""Two platforms of two workers each on one external database, and a platform at the strictest isolation level."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from kessai.foundation.db import Database
from tests.faults.conftest import StartPlatform, StartTraffic, require_invariants


async def test_two_platforms_of_two_workers_share_one_database(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    first = await start_platform("--database-url", database_url, "--workers", "2")
    second = await start_platform("--database-url", database_url, "--workers", "2", api_key=first.api_key)
    traffic = await start_traffic(first, second, customers=6)
    traffic.begin()
    await asyncio.sleep(1.5)
    await second.kill()
    await second.start()
    await asyncio.sleep(0.5)
    await traffic.finish()
    await traffic.require_nothing_lost_or_doubled()
    await first.stop()
    await second.stop()
    await require_invariants(database_url)


async def test_payments_converge_at_serializable_isolation(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    await _make_serializable(database_url)
    platform = await start_platform("--database-url", database_url, "--workers", "2")
    traffic = await start_traffic(platform, customers=6)
    traffic.begin()
    await asyncio.sleep(1.5)
    await traffic.finish()
    await traffic.require_nothing_lost_or_doubled()
    await platform.stop()
    await require_invariants(database_url)


async def _make_serializable(database_url: str) -> None:
    connection = await Database(database_url).connect(None)
    name = urlsplit(database_url).path.lstrip("/")
    await connection.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
    await connection.close()
