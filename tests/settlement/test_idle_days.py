"""Which of many days need a run of settlement.daily, and that the others are closed all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest

from kessai.foundation.db import Database
from kessai.services.settlement.subscribers import payout_results
from kessai.services.settlement.workflows.idle import (
    close_as_is,
    first_to_clear,
    first_to_make,
    first_to_pay,
    first_to_settle,
)
from kessai.services.tracer.api import Verdict
from tests.settlement.intake_world import World, opened

TODAY = date(2026, 12, 1)
LAST = date(2031, 12, 1)
"""Years later."""


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """A running world."""
    async with opened(database) as running:
        yield running


async def _first(world: World, since: date = TODAY, until: date = LAST) -> date | None:
    results = payout_results(world.database, world.clock)
    while await results.deliver():
        pass
    return await first_to_settle(world.settlement.engine.deps, since, until)


async def test_years_without_any_sale_need_no_run(world: World) -> None:
    deps = world.settlement.engine.deps
    assert await _first(world) is None
    for asks in (first_to_make, first_to_clear, first_to_pay):
        assert await asks(deps, TODAY, LAST) is None


async def test_day_on_which_something_was_sold_needs_a_run_and_none_after_it(world: World) -> None:
    await world.sell(1_000)
    assert await _first(world) == TODAY  # the feed has not heard of it
    await world.issue()
    assert await _first(world) == TODAY
    assert await _first(world, since=TODAY - timedelta(days=30)) == TODAY
    await world.settle(TODAY)
    assert await _first(world, since=TODAY + timedelta(days=1)) is None


async def test_what_is_not_proved_is_looked_at_once_for_many_days(world: World) -> None:
    bad = await world.sell(2_000)
    world.judge.verdicts[bad.processing_id] = Verdict.INCONSISTENT
    await world.issue()
    await world.settle(TODAY)
    following = TODAY + timedelta(days=1)
    assert await _first(world, since=following) == LAST
    world.judge.verdicts[bad.processing_id] = Verdict.CONSISTENT
    assert await _first(world, since=following) == following


async def test_fee_that_was_refused_is_tried_once_for_many_days(world: World) -> None:
    world.refuse_movements = "insufficient_funds"
    await world.sell(2_000)
    await world.issue()
    await world.settle(TODAY)
    assert await _first(world, since=TODAY + timedelta(days=1)) == LAST


async def test_days_that_are_passed_over_are_closed_with_nothing_in_them(world: World) -> None:
    bad = await world.sell(2_000)
    world.judge.verdicts[bad.processing_id] = Verdict.INCONSISTENT
    await world.issue()
    await world.settle(TODAY)
    deps, last = world.settlement.engine.deps, TODAY + timedelta(days=1_000)
    await close_as_is(deps, TODAY, last)
    await close_as_is(deps, TODAY, last)  # again, and from a day that is closed
    rows = await world.rows("SELECT day, transactions, net_minor, left_open FROM settlement.settlement_day ORDER BY 1")
    assert [row["day"] for row in rows] == [TODAY + timedelta(days=number) for number in range(1_001)]
    assert {(row["transactions"], row["net_minor"]) for row in rows[1:]} == {(0, 0)}
    assert {row["left_open"] for row in rows} == {1}
    assert await _first(world, until=last) is None
