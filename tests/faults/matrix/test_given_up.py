"""Parties outside that stay silent, or away, for longer than anybody waits: refused or undone, and nothing moved."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from kessai.services.cardgateway.domain import Patience
from kessai.services.payment.api import GetPayment
from kessai.services.payment.workflows import notes
from kessai.simulators.faults import PRESETS, Fault
from tests.faults.matrix import lane as lane_module
from tests.faults.matrix.campaign import NewLane, prove
from tests.faults.matrix.cases import Case
from tests.faults.matrix.lane import PATIENCE_S, Lane, When
from tests.faults.matrix.play import Played, play
from tests.faults.matrix.stories import STORIES, Story
from tests.faults.matrix.troubles import CALL_MS, Trouble

SILENT = Trouble(
    name="silent",
    faults=(Fault(reply="drop", times=0), replace(PRESETS["fail_before"], verb="inquire", times=0)),
    refuses=True,
)
GONE = Trouble(name="gone", away_ms=6 * CALL_MS, refuses=True)
SOLD, PARKED = STORIES["charge_sold_and_refunded"], STORIES["escrow_canceled"]


async def _speak_again(lane: Lane, over: asyncio.Event) -> None:
    """The gateway speaks again once a payment was given up and is being undone; or `over`, where nobody saw that: what
    was given up before the gateway was asked is undone in a moment."""
    undoing = "SELECT count(*) FROM payment.workflow_open WHERE compensating"
    async with asyncio.timeout(PATIENCE_S):
        while not over.is_set() and not (await lane.database.fetch(None, undoing))[0][0]:
            await asyncio.sleep(0.02)
    await asyncio.sleep(CALL_MS / 1000)
    lane.cards.faults.clear()


async def _speak_after_giving_up(lane: Lane) -> None:
    """The gateway speaks again when it has been silent about a capture for longer than a new payment waits."""
    unknown = "SELECT count(*) FROM payment.payment WHERE state = 'UNKNOWN'"
    async with asyncio.timeout(PATIENCE_S):
        while not (await lane.database.fetch(None, unknown))[0][0]:
            await asyncio.sleep(0.02)
    await asyncio.sleep(5 * notes.GIVE_UP_S)
    lane.cards.faults.clear()


async def _code(lane: Lane, played: Played) -> str | None:
    payments = await lane.living("payment")
    return (await payments.get_payment(GetPayment(payment_id=played.payment_id))).refusal_code


@pytest.mark.parametrize("call", ["authorize", "capture"])
@pytest.mark.parametrize("when", ["", "before", "after"])
async def test_what_stays_unknown_too_long_is_given_up_and_undone(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, call: str, when: When
) -> None:
    monkeypatch.setattr(notes, "ANSWER_S", 0.3)
    monkeypatch.setattr(notes, "GIVE_UP_S", 0.4)
    lane = await new_lane()
    for story in (SOLD, PARKED):
        case = Case(story=story, call=call, trouble=SILENT, service="payment" if when else "", flush=4, when=when)
        over = asyncio.Event()
        ending = asyncio.create_task(_speak_again(lane, over))
        played = await play(lane, case)
        over.set()
        await ending
        assert (played.faults, await _code(lane, played)) == ([], "gave_up")
    assert await prove(lane) == []


@pytest.mark.parametrize("when", ["", "before", "after"])
async def test_a_part_capture_is_not_given_up_however_long_the_gateway_is_silent(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, when: When
) -> None:
    monkeypatch.setattr(notes, "ANSWER_S", 0.2)
    monkeypatch.setattr(notes, "GIVE_UP_S", 0.2)
    lane, story = await new_lane(), STORIES["charge_captured_in_parts"]
    ending = asyncio.create_task(_speak_after_giving_up(lane))
    silent = dataclasses.replace(SILENT, refuses=False)
    case = Case(story=story, call="capture", trouble=silent, service="payment" if when else "", flush=5, when=when)
    played = await play(lane, case)
    await ending
    assert (played.faults, await _code(lane, played)) == ([], None)
    assert await prove(lane) == []


@pytest.mark.parametrize("story", [SOLD, PARKED], ids=lambda story: story.name)
async def test_a_card_gateway_that_is_away_for_longer_than_a_customer_waits_is_a_refusal(
    new_lane: NewLane, story: Story
) -> None:
    lane = await new_lane(patience=Patience(answer_s=0.6, reach_s=0.1, abandon_after_s=3600.0))
    played = await play(lane, Case(story=story, call="authorize", trouble=GONE))
    assert (played.faults, await _code(lane, played)) == ([], "card_gateway_unavailable")
    assert await prove(lane) == []


@pytest.mark.parametrize("name", ["charge_undone_by_its_card", "charge_undone_by_the_ledger"])
async def test_an_undoing_that_is_refused_outside_waits_for_an_operator(
    new_lane: NewLane, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(lane_module, "PATIENCE_S", 3.0)
    lane, story = await new_lane(), STORIES[name]
    refuse = Trouble(name="refuse", faults=(Fault(refuse="limit_exceeded"),))
    (fault,) = (await play(lane, Case(story=story, call=story.undoing[0], trouble=refuse))).faults
    assert "TimeoutError" in fault
    (work,) = await lane.open_work()
    assert "limit_exceeded" in work
    payments = await lane.living("payment")
    assert len(await payments.parked_workflows()) == 1
