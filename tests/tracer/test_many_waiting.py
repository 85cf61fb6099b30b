"""Many processings that wait at once: each gets its verdict, and none is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kessai.services.tracer.api import GetTotals

from .toys import FIRST_INSTANT, RULES, World, effect

PAGE = 1_000


@pytest.mark.parametrize("waiting", [2_500, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_all_that_wait_past_the_deadline_are_named_and_completed_later(world: World, waiting: int) -> None:
    shop, till = world.toys["shop"], world.toys["till"]
    ids = [f"prc_{number:06}" for number in range(waiting)]
    for at in range(0, waiting, PAGE):
        for one in ids[at : at + PAGE]:
            shop.called(till, one, effect(f"exc_{one}"))
        await world.touch("shop", *ids[at : at + PAGE], entry=True)
    world.absent.add("till")
    await world.tracer.open_touched()
    while await world.participants["shop"].turn():
        pass
    world.clock.advance(RULES.deadline + timedelta(seconds=1))
    assert await world.tracer.expire_overdue() == waiting
    while await world.participants["till"].turn():
        pass
    day = FIRST_INSTANT.date()
    (totals,) = (await world.tracer.get_totals(GetTotals(first_day=day, last_day=day))).days
    assert (totals.opened, totals.incomplete, totals.consistent) == (waiting, waiting, waiting)
    assert await world.verdict(ids[-1]) == "CONSISTENT"
