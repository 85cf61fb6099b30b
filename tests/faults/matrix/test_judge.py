"""The judge itself: whoever guesses, sends blindly again, or forgets to undo is found."""

from __future__ import annotations

from typing import Any

import pytest

from kessai.foundation.ids import bare, new_hex
from kessai.services.cardgateway import workflows as card_workflows
from kessai.services.cardgateway.domain import Outcome
from kessai.services.payment.workflows import elsewhere, value
from tests.faults.matrix import lane as lane_module
from tests.faults.matrix.campaign import NewLane, prove
from tests.faults.matrix.cases import Case, disturbed, without_database
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES
from tests.faults.matrix.troubles import TROUBLES

SOLD = STORIES["charge_sold_and_refunded"]


@pytest.mark.parametrize("call", ["authorize", "capture", "refund"])
async def test_who_takes_a_lost_answer_for_a_refusal_is_found(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    async def guess(*_: Any) -> Outcome:
        return Outcome(refusal_code="card_declined")

    monkeypatch.setattr(card_workflows, "_found_out", guess)
    monkeypatch.setattr(lane_module, "PATIENCE_S", 3.0)
    lane = await new_lane()
    assert (await play(lane, Case(story=SOLD, call=call, trouble=TROUBLES["drop_after"]))).faults
    assert await prove(lane)


@pytest.mark.parametrize("call", ["capture", "refund"])
async def test_who_sends_again_under_another_id_is_found(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def another(*_: str) -> str:
        return f"cop_{new_hex()}"

    monkeypatch.setattr(elsewhere, "card_operation_id_of", another)
    lane = await new_lane()
    undisturbed = await play(lane, Case(story=SOLD))
    assert undisturbed.faults == []
    cases = disturbed(Case(story=SOLD, call=call), {"payment": undisturbed.flushes["payment"]})
    assert any([(await play(lane, case)).faults for case in cases])


@pytest.mark.parametrize("name", ["withdrawal", "top_up_by_bank", "charge_sold_and_refunded"])
async def test_who_takes_a_database_that_is_away_for_a_refusal_is_found(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(elsewhere, "SAID_BEFOREHAND", ("card_gateway_unavailable", "database_unavailable"))
    lane, case = await new_lane(), Case(story=STORIES[name])
    undisturbed = await play(lane, case)
    assert undisturbed.faults == []
    behind = {"card": "cardgateway", "bank": "bank"}[str(case.story.party)]
    away = [each for each in without_database(case, {behind: undisturbed.calls[behind]}) if each.disturbance == "away"]
    assert any([(await play(lane, each)).faults for each in away])


async def test_who_forgets_to_let_go_is_found(new_lane: NewLane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget(*_: Any) -> None:
        return

    monkeypatch.setattr(value, "let_go", forget)
    lane = await new_lane()
    assert (await play(lane, Case(story=STORIES["charge_undone_by_its_card"]))).faults
    assert await prove(lane)


async def test_a_yen_too_much_in_the_books_outside_is_found(new_lane: NewLane) -> None:
    lane = await new_lane()
    played = await play(lane, Case(story=SOLD))
    assert (played.faults, await prove(lane)) == ([], [])
    lane.cards.books.authorizations[f"cau_{bare(played.payment_id)}"].operations[0].amount += 1
    assert [each.split(": ")[1] for each in await prove(lane)] == ["the card gateway's books agree with ours"]
