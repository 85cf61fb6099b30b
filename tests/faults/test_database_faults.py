"""The database dies, hangs up, or has no room left: the platform says so, carries on after, and every yen is there."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from pathlib import Path

import pytest

from kessai.foundation.db import Database
from tests.faults.conftest import SEED, StartPlatform, StartTraffic, require_invariants
from tests.faults.proxy import Proxy, Statement, Verdict, pass_all
from tests.faults.traffic import MERCHANT

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


@pytest.mark.parametrize("barred", [r"ledger\.flush\b", r"payment\.workflow_done\b"], ids=["ledger", "journal"])
async def test_write_that_fails_for_longer_than_answers_are_waited_for_is_answered_as_undecided_and_happens_once(
    database_url: str, start_platform: StartPlatform, start_traffic: StartTraffic, barred: str
) -> None:
    """The value cannot be moved, or that it was moved cannot be written down."""
    inserts = re.compile(rf"INSERT INTO {barred}")

    def cut(statement: Statement) -> Verdict:
        return Verdict.BEFORE if any(inserts.search(text) for text in statement.made_durable) else Verdict.PASS

    async with Proxy(database_url) as proxy:
        platform = await start_platform("--database-url", proxy.dsn)
        traffic = await start_traffic(platform, customers=3)
        first, *others = [
            {"customer_id": name, "merchant_id": MERCHANT, "amount_minor": 90, "sources": [{"source": "funds"}]}
            for name in traffic.names
        ]
        charge = await traffic.ask("/v1/charges", first)
        proxy.policy = cut
        async with asyncio.TaskGroup() as tasks:
            path = f"/v1/charges/{charge.answer['payment_id']}/capture"
            asked = [tasks.create_task(traffic.ask("/v1/charges", body)) for body in others]
            asked.append(tasks.create_task(traffic.ask(path, {"amount_minor": 60, "final": True})))
            while not traffic.undecided:
                await asyncio.sleep(0.05)
            proxy.policy = pass_all
        assert [task.result().answer["state"] for task in asked] == ["AUTHORIZED", "AUTHORIZED", "CAPTURED"]
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
