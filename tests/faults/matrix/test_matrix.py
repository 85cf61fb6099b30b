"""Every kind of payment, under every fault of every call outside, with somebody dying at every journal boundary."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

import pytest

from tests.faults.conftest import SEED
from tests.faults.matrix.campaign import NewLane, Tally, at_every_boundary, campaign, one
from tests.faults.matrix.cases import Case, combinations, drawn, left
from tests.faults.matrix.lane import Lane
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES

SAMPLE = 180
"""Cases in the suite, of all."""
DEATHS_MAX = 3
STORM = int(os.environ.get("KESSAI_FAULT_STORM", "600"))
"""Cases with several deaths each, in the whole run."""


async def _flushes(lane: Lane) -> Mapping[str, Mapping[str, int]]:
    """How many flushes each story has, by service, when nothing goes wrong."""
    return {name: (await play(lane, Case(story=story))).flushes for name, story in STORIES.items()}


def _require_oracle_obeyed(tally: Tally, record_property: object) -> None:
    assert callable(record_property)
    record_property("matrix", json.dumps([[*key, count] for key, count in tally.counts.items()]))
    assert tally.failures == [], f"seed {SEED}"
    assert tally.counts


async def test_a_sample_of_the_matrix_ends_as_the_oracle_says(new_lane: NewLane, record_property: object) -> None:
    cases = drawn(SEED, SAMPLE, await _flushes(await new_lane()), deaths=2)
    tally = await campaign(new_lane, map(one, cases))
    assert tally.struck > SAMPLE * 3 // 4
    _require_oracle_obeyed(tally, record_property)


async def test_a_client_that_times_out_at_some_point_is_charged_once(
    new_lane: NewLane, record_property: object
) -> None:
    lane = await new_lane()
    cases = [
        each
        for name, flushes in (await _flushes(lane)).items()
        for number, each in enumerate(left(Case(story=STORIES[name]), flushes))
        if (number + SEED) % 4 == 0
    ]
    tally = await campaign(new_lane, map(one, cases))
    assert tally.struck > len(cases) * 3 // 4
    _require_oracle_obeyed(tally, record_property)


@pytest.mark.soak
@pytest.mark.parametrize("story", STORIES)
async def test_the_whole_matrix_ends_as_the_oracle_says(new_lane: NewLane, story: str, record_property: object) -> None:
    mine = (case for case in combinations() if case.story.name == story)
    _require_oracle_obeyed(await campaign(new_lane, map(at_every_boundary, mine)), record_property)


@pytest.mark.soak
async def test_a_client_that_times_out_at_any_point_is_charged_once(new_lane: NewLane, record_property: object) -> None:
    units = (at_every_boundary(Case(story=story), left) for story in STORIES.values())
    _require_oracle_obeyed(await campaign(new_lane, units), record_property)


@pytest.mark.soak
async def test_several_deaths_in_a_row_end_as_the_oracle_says(new_lane: NewLane, record_property: object) -> None:
    cases = drawn(SEED, STORM, await _flushes(await new_lane()), deaths=DEATHS_MAX)
    _require_oracle_obeyed(await campaign(new_lane, map(one, cases)), record_property)
