"""Every kind of payment with a service's database away between any two awaits, or the answer to a commit lost."""

from __future__ import annotations

import random
from itertools import chain

import pytest

from tests.faults.conftest import SEED
from tests.faults.matrix.campaign import NewLane, Tally, campaign, one
from tests.faults.matrix.cases import Case, without_database
from tests.faults.matrix.lane import Lane
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES

SAMPLE = 60
"""Cases in the suite, of all."""


async def _all(lane: Lane) -> list[Case]:
    """Every story that goes outside, at every call that its services make to their database."""
    stories = [Case(story=story) for story in STORIES.values() if story.party is not None]
    return list(chain.from_iterable([without_database(case, (await play(lane, case)).calls) for case in stories]))


async def _require_none_lost(new_lane: NewLane, cases: list[Case]) -> Tally:
    tally = await campaign(new_lane, map(one, cases))
    assert tally.failures == [], f"seed {SEED}"
    return tally


async def test_a_sample_of_databases_that_are_away_leaves_no_money_with_nobody(new_lane: NewLane) -> None:
    cases = random.Random(SEED).sample(await _all(await new_lane()), SAMPLE)
    assert (await _require_none_lost(new_lane, cases)).struck > SAMPLE // 2


@pytest.mark.soak
async def test_no_database_that_is_away_leaves_money_with_nobody(new_lane: NewLane) -> None:
    cases = await _all(await new_lane())
    assert (await _require_none_lost(new_lane, cases)).struck > len(cases) // 2
