"""Every yen, through the whole platform: random histories of sales, refunds, contracts, transfers that fail, holidays.

The services are the real ones of one process, with their jobs by the scheduler and the bank by its files; time is the
sandbox's. What is sampled here is made from fixed seeds. `make settlement-histories` plays as many as it is told to
(`KESSAI_HISTORIES`, from `KESSAI_HISTORIES_SEED` on), and shortens what fails to what it takes to fail.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import SharedServer
from tests.settlement.chronicles import History, history, shortened
from tests.settlement.district import opened
from tests.settlement.district_play import Play

HISTORIES = int(os.environ.get("KESSAI_HISTORIES", "20"))
SEED = int(os.environ.get("KESSAI_HISTORIES_SEED", "1000"))
SAMPLE, ROUNDS = (1, 2, 3), 6
"""Seeds that the suite plays, and how long their histories are."""
TRIES = 25
"""Histories that are played to shorten one that failed."""

Playing = Callable[[History], Awaitable[int]]


@pytest.fixture
def play(postgres: SharedServer, database_template: str) -> Playing:
    """Plays a history on a platform and a database of its own."""

    async def played(told: History) -> int:
        name = f"test_{uuid4().hex[:12]}"
        await postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"')
        try:
            with tempfile.TemporaryDirectory(prefix="kessai-histories-") as folder:
                async with opened(postgres.dsn_of(name), Path(folder), told.begins) as district:
                    return await Play(district).play(told)
        finally:
            await postgres.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    return played


@pytest.mark.parametrize("seed", SAMPLE)
async def test_every_yen_is_told_whatever_happens_on_the_whole_platform(play: Playing, seed: int) -> None:
    assert await play(history(seed, ROUNDS)) > 0


@pytest.mark.soak
async def test_every_yen_is_told_in_many_more_histories(play: Playing) -> None:
    failed = dict[int, str]()
    for seed in range(SEED, SEED + HISTORIES):
        error = await _error(play, history(seed))
        print(f"seed {seed}: {'every yen is told' if error is None else repr(error)}", flush=True)
        if error is None:
            continue

        async def fails(shorter: History, error: BaseException = error) -> bool:
            return type(await _error(play, shorter)) is type(error)

        shortest = await shortened(history(seed), fails, tries=TRIES)
        failed[seed] = f"{error!r}: {shortest}"
        print(f"seed {seed} fails: {failed[seed]}", flush=True)
    assert failed == {}


async def _error(play: Playing, told: History) -> BaseException | None:
    try:
        await play(told)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told with the history that leads to it)
        return error
    return None
