"""Faults everywhere, all the time; and at the end ours = the network's books, and every row is proved."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from tests.nfc.soaking import Soak
from tests.nfc.whole_world import WholeWorld, whole
from tests.nfc.wire_world import rules_with

SECONDS = float(os.environ.get("KESSAI_SOAK_SECONDS", "600"))
SEED = int(os.environ.get("KESSAI_SOAK_SEED", "1"))


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WholeWorld]:
    rules = rules_with(
        window={"answer_ms": 1_000, "journal_ms": 200},
        velocity={"count": 200, "minutes": 1},
        limits={"day_count": 10_000, "day_minor": 10**9, "month_minor": 10**10},
        stand_in={"policy": "approve", "floor_minor": 300},
    )
    async with whole(database, rules) as running:
        yield running


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_day_with_faults_ends_as_the_network_has_it(world: WholeWorld, seed: int) -> None:
    soak = Soak(world, seed)
    await soak.run(actions=120)
    await _proved(world, soak)


@pytest.mark.soak
async def test_a_long_day_with_faults_ends_as_the_network_has_it(world: WholeWorld) -> None:
    soak = Soak(world, SEED)
    await soak.run(seconds=SECONDS, terminals=12)
    await _proved(world, soak)


async def _proved(world: WholeWorld, soak: Soak) -> None:
    assert await soak.against_the_network() == [], await soak.told_of_differences()
    assert await soak.inconsistent() == []
    await soak.clear()
    assert await soak.against_the_network() == [], await soak.told_of_differences()
    assert await soak.inconsistent() == []
    assert await world.findings() == []
    assert await verify(world.database.dsn) == []
    rows = await world.database.fetch(
        None, "SELECT kind, state, count(*) AS made FROM nfc.id_authorization GROUP BY 1, 2 ORDER BY 1, 2"
    )
    print("\n", dict(soak.done), {f"{row['kind']} {row['state']}": row["made"] for row in rows})
    assert sum(row["made"] for row in rows) > 0
