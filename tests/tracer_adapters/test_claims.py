"""What a payment claims of the ledger, the card gateway and the bank is just what they did, for every kind and end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kessai.foundation.ids import new_hex
from kessai.sdk.processing.api import ListEffects, Outcome
from kessai.services.identity.api import content_digest
from kessai.services.payment.api import Adjust, Direction
from tests.faults.matrix.cases import Case
from tests.faults.matrix.conftest import NewLane
from tests.faults.matrix.play import play
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.stories import STORIES, Story
from tests.faults.matrix.troubles import TROUBLES
from tests.tracer_adapters.proof import processings_of, reported

REFUSING = ("refuse", "fails", "comes_back")
"""Troubles that lead to other ends."""


def endings(story: Story) -> list[Case]:
    """A story undisturbed, and with each of its calls refused, failed or undone."""
    cases = [Case(story=story)]
    for call in story.calls:
        for name in REFUSING:
            trouble = TROUBLES[name]
            applies = trouble.card if story.party == "card" else trouble.bank and story.party == "bank"
            if applies and (name != "comes_back" or story.comes_back is not None):
                cases.append(Case(story=story, call=call, trouble=trouble))
    return [case for case in cases if not (case.trouble.refuses and case.call in story.undoing)]


@pytest.mark.parametrize("party", ["card", "bank", None])
async def test_every_end_of_every_kind_is_claimed_exactly(new_lane: NewLane, party: str | None) -> None:
    lane = await new_lane()
    for story in STORIES.values():
        for case in endings(story) if story.party == party else ():
            before = set(await processings_of(lane))
            played = await play(lane, case)
            ids = [each for each in await processings_of(lane) if each not in before]
            assert ids, case
            found = await reported(lane, ids)
            assert {each: (Outcome.MATCHED, []) for each in ids} == found, (str(case), played.faults)


async def test_what_waits_for_somebody_outside_is_in_flight(new_lane: NewLane) -> None:
    lane = await new_lane()
    story = STORIES["top_up_at_a_store"]
    await play(lane, Case(story=replace(story, steps=story.steps[:1])))
    (processing_id,) = await processings_of(lane)
    assert (await reported(lane, [processing_id]))[processing_id][0] is Outcome.IN_FLIGHT


async def test_an_adjustment_of_another_account_type_is_claimed_exactly(new_lane: NewLane) -> None:
    lane = await new_lane()
    scene = Scene(lane)
    request = Adjust(
        owner=scene.owners["customer"],
        account_type="sales",
        direction=Direction.IN,
        amount_minor=700,
        approval_id=f"apv_{new_hex()}",
    )
    lane.approvals.approved[request.approval_id] = content_digest(request)
    await scene.ask("adjust", request)
    assert scene.told == ["done"]
    (processing_id,) = await processings_of(lane)
    assert (await reported(lane, [processing_id]))[processing_id] == (Outcome.MATCHED, [])


async def test_effects_are_told_by_caller(new_lane: NewLane) -> None:
    lane = await new_lane()
    await play(lane, Case(story=STORIES["transfer"]))
    (processing_id,) = await processings_of(lane)

    async def told(caller: str | None) -> int:
        page = await lane.ledger.list_effects(ListEffects(processing_ids=[processing_id], caller=caller))
        return sum(len(each.effects) for each in page.processings)

    assert [await told(caller) for caller in ("payment", None, "nfc")] == [2, 2, 0]
