"""What settlement tells the tracer: every movement it asked for, word for word as the payment service has it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from kessai.foundation.db import Database
from kessai.sdk.processing.api import ListEffects, Outcome, ProcessingTouched
from kessai.sdk.processing.participant import report_on
from kessai.services.settlement.effects import DEPENDENCIES
from tests.settlement.intake_world import World, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A running world."""
    async with opened(database) as running:
        yield running


async def processings(world: World) -> list[str]:
    """Those that settlement began."""
    rows = await world.rows("SELECT DISTINCT processing_id FROM settlement.movement")
    return [row["processing_id"] for row in rows]


async def reports(world: World) -> list[Outcome]:
    """What settlement, as a participant, reports on each."""
    ids = await processings(world)
    own = await world.settlement.effects.own_view(ids)
    page = await world.payments.list_effects(ListEffects(processing_ids=ids, caller="settlement"))
    theirs = {each.processing_id: each for each in page.processings}
    return [report_on(one, 1, own[one], {DEPENDENCIES[0]: theirs}).outcome for one in ids]


async def test_fees_that_were_issued_match_the_payments_own_record(world: World) -> None:
    for amount in (1_000, 2_000, 3_000):
        await world.sell(amount)
    await world.issue()
    assert await reports(world) == [Outcome.MATCHED]


async def test_a_return_matches_in_the_processing_of_its_fee(world: World) -> None:
    charge = await world.sell(1_000)
    await world.issue()
    await world.refund(charge, 400)
    await world.refund(charge, 600)
    await world.issue()
    assert await reports(world) == [Outcome.MATCHED]
    own = await world.settlement.effects.own_view(await processings(world))
    assert [len(each.claims["payment"]) for each in own.values()] == [4]


async def test_a_payment_that_nobody_here_asked_for_is_a_difference(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    await world.database.fetch(None, "UPDATE settlement.movement SET amount_minor = amount_minor + 1")
    assert await reports(world) == [Outcome.DIFFERENT]


async def test_what_is_still_being_asked_for_is_in_flight(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    await world.database.fetch(None, "UPDATE settlement.movement SET state = 'ASKED'")
    assert await reports(world) == [Outcome.IN_FLIGHT]


async def test_a_page_of_fees_begins_its_processing_and_tells_the_tracer_again_when_it_ended(world: World) -> None:
    await world.sell(1_000)
    await world.issue()
    rows = await world.rows(
        "SELECT payload FROM settlement.outbox WHERE topic = 'processing.touched' ORDER BY outbox_id"
    )
    told = [each for row in rows for each in msgspec.json.decode(row["payload"], type=list[ProcessingTouched])]
    assert {(*each.processing_ids,) for each in told} == {(*await processings(world),)}
    assert [each.entry for each in told] == [True, False]
