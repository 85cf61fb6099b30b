"""Whatever single row of an effect is changed by SQL, the participants together find it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator

import asyncpg

from kessai.sdk.processing.api import Outcome
from tests.faults.matrix.conftest import NewLane
from tests.faults.matrix.lane import Lane
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES
from tests.tracer_adapters.corrupt import SERVICES, Corruption, drawn
from tests.tracer_adapters.proof import processings_of, reported
from tests.tracer_adapters.test_claims import endings

SEED = int(os.environ.get("KESSAI_CORRUPTION_SEED", "1"))
NUMBER = int(os.environ.get("KESSAI_CORRUPTIONS", "1000"))


async def test_every_corruption_of_one_row_is_found(new_lane: NewLane) -> None:
    lane = await new_lane()
    for story in STORIES.values():
        for case in endings(story):
            await play(lane, case)
    healthy = await reported(lane, list(await processings_of(lane)))
    assert not [each for _, differences in healthy.values() for each in differences]
    # What is under way is not compared before it ends; nearly everything has ended here.
    ended = {each for each, (outcome, _) in healthy.items() if outcome is Outcome.MATCHED}
    assert len(ended) > len(healthy) * 9 // 10
    made, missed = Counter[str](), list[str]()
    for together in apart(await drawn(lane.database, SEED, NUMBER, ended)):
        missed += await _missed(lane, together, made)
    assert not missed, "\n".join(missed)
    assert len({made[service] for service in SERVICES}) == 1, made
    after = await reported(lane, list(await processings_of(lane)))
    assert {each: differences for each, (_, differences) in after.items() if differences} == {}


def apart(corruptions: list[Corruption]) -> Iterator[list[Corruption]]:
    """Groups in which every processing is corrupted once."""
    left = corruptions
    while left:
        group: dict[str, Corruption] = {}
        rest: list[Corruption] = []
        for each in left:
            if each.processing_id in group:
                rest.append(each)
            else:
                group[each.processing_id] = each
        yield list(group.values())
        left = rest


async def _missed(lane: Lane, together: list[Corruption], made: Counter[str]) -> list[str]:
    """Those that nobody finds; what the database itself does not let happen counts as found."""
    standing: list[Corruption] = []
    for each in together:
        made[each.table.service] += 1
        try:
            await each.make(lane.database)
            standing.append(each)
        except asyncpg.IntegrityConstraintViolationError:
            if each.kind != "duplicate":
                await lane.database.fetch(None, each.table.insert, json.dumps(each.before))
    found = await reported(lane, [each.processing_id for each in standing])
    for each in reversed(standing):
        await each.mend(lane.database)
    return [f"{each} (outcome {found[each.processing_id][0]})" for each in standing if not found[each.processing_id][1]]
