"""Whatever single row of an effect is changed by SQL, before or after the verdict, `kessai trace prove` finds it."""

from __future__ import annotations

import json
import os

import asyncpg
import pytest

from kessai.apps.trace.proof import Proof, prover_of
from kessai.apps.trace.view import open_view
from kessai.apps.wiring import load_payment_kinds
from tests.faults.matrix.conftest import NewLane
from tests.faults.matrix.lane import Lane
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES
from tests.trace_cli.decided import decide
from tests.tracer_adapters.corrupt import SERVICES, Corruption, drawn
from tests.tracer_adapters.test_claims import endings
from tests.tracer_adapters.test_corruption import apart

SEED = int(os.environ.get("KESSAI_CORRUPTION_SEED", "1"))
SAMPLE = 10 * len(SERVICES)
NUMBER = int(os.environ.get("KESSAI_CORRUPTIONS", "1000"))


async def test_a_sample_of_corruptions_is_found_before_and_after_the_verdict(new_lane: NewLane) -> None:
    lane = await new_lane()
    assert await _missed_in_all(lane, SAMPLE, endings_each=1) == []


@pytest.mark.soak
async def test_every_corruption_is_found_before_and_after_the_verdict(new_lane: NewLane) -> None:
    lane = await new_lane()
    assert await _missed_in_all(lane, NUMBER) == []


async def _missed_in_all(lane: Lane, number: int, endings_each: int | None = None) -> list[str]:
    for story in STORIES.values():
        for case in list(endings(story))[:endings_each]:
            await play(lane, case)
    assert [str(each) for each in (await _proof(lane)).disagreements] == []
    corruptions = await drawn(lane.database, SEED, number)
    missed = [f"before: {each}" for group in apart(corruptions) for each in await _missed(lane, group)]
    await decide(lane)
    decided = await _proof(lane)
    assert [str(each) for each in decided.disagreements] == []
    assert decided.processings > decided.unheard
    missed += [f"after: {each}" for group in apart(corruptions) for each in await _missed(lane, group)]
    assert [str(each) for each in (await _proof(lane)).disagreements] == []
    return missed


async def _missed(lane: Lane, together: list[Corruption]) -> list[str]:
    """Those that are not found; what the database itself does not let happen counts as found."""
    standing: list[Corruption] = []
    for each in together:
        try:
            await each.make(lane.database)
            standing.append(each)
        except asyncpg.IntegrityConstraintViolationError:
            if each.kind != "duplicate":
                await lane.database.fetch(None, each.table.insert, json.dumps(each.before))
    found = {each.processing_id for each in (await _proof(lane)).disagreements}
    for each in reversed(standing):
        await each.mend(lane.database)
    return [str(each) for each in standing if each.processing_id not in found]


async def _proof(lane: Lane) -> Proof:
    """All that differs at one instant."""
    proof = Proof()
    async with open_view(lane.database.dsn) as view:
        prover = await prover_of(view, load_payment_kinds())
        async for ids in prover.every():
            await prover.prove(ids, proof)
    return proof
