"""Processes that die in settlement's jobs, at each boundary of their journals: every payout is made and paid once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from kessai.foundation.calendar import month_end, months_after, previous_business_day
from kessai.foundation.db import Database
from kessai.sdk.jobs import JobDone, JobOrder
from kessai.sdk.workflow import Definition, Engine
from kessai.sdk.workflow.journal import FlushHook
from kessai.sdk.workflow.testing import crashes_everywhere
from kessai.services.bank.api import InstructionState
from kessai.services.merchant.api import Bearer
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.payout import pay_cycles
from kessai.services.settlement.workflows.stating import state_cycles
from tests.settlement.cycle_world import START, World, opened

Job = Definition[Deps, JobOrder, JobDone]
MONTHS = 2
"""Of one story: what is sold in the first is paid at the end of the second."""
INSTRUCT_DAYS_BEFORE = 2
_ISSUED = "SELECT version FROM settlement.issued_statement WHERE payee_id = ANY ($1::text[])"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


@dataclass(frozen=True)
class Story:
    """Two merchants that sold, one with a shop that is negative, and one that owes."""

    number: int

    @property
    def first(self) -> date:
        """The day on which its month begins."""
        return months_after(START, MONTHS * self.number)

    @property
    def merchants(self) -> list[str]:
        """Its own."""
        return [f"mer:{self.number}{each}" for each in "abc"]

    def days(self) -> dict[Job, date]:
        """On which days its jobs run, in their order."""
        last_day = month_end(self.first)
        instruct_on = previous_business_day(month_end(months_after(self.first, 1)), INSTRUCT_DAYS_BEFORE)
        return {make_cycles: last_day, clear_cycles: last_day, state_cycles: last_day, pay_cycles: instruct_on}

    async def begin(self, world: World) -> None:
        """What happens before the jobs."""
        sold, mixed, owing = self.merchants
        for merchant in self.merchants:
            world.agree(merchant, transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
        world.until(self.first)
        await world.sell(self.first, sold, 5_000)
        await world.sell(self.first, mixed, 9_000)
        await world.sell(self.first, f"{mixed}/shop", -1_000, payee=mixed)
        await world.sell(self.first, owing, -2_000)
        await world.close(month_end(self.first))

    async def require_settled(self, world: World) -> None:
        """Each yen once."""
        sold, mixed, owing = self.merchants
        (one,), (two,), (three,) = [await world.payouts(each) for each in (sold, mixed, owing)]
        assert [(each.state.value, each.amount_minor) for each in (one, two, three)] == [
            ("PAID", 4_750), ("PAID", 7_750), ("NOTHING", 0),
        ]  # fmt: skip
        issued = await world.database.fetch(None, _ISSUED, self.merchants)
        assert [row["version"] for row in issued] == [1, 1, 1]
        await world.require_every_yen([*self.merchants, f"{mixed}/shop"], self.merchants)


@pytest.mark.parametrize("job", [make_cycles, clear_cycles, state_cycles, pay_cycles], ids=lambda job: job.name)
async def test_a_crash_at_every_boundary_of_a_job_settles_each_payout_once(world: World, job: Job) -> None:
    engines, stories = list[Engine[Deps]](), dict[str, Story]()

    async def open_engine(hook: FlushHook | None) -> Engine[Any]:
        engines.append(world.another_engine(hook=hook, lease_s=0.4))
        await engines[-1].open()
        return engines[-1]

    async def scenario(engine: Engine[Any], name: str) -> Story:
        if name not in stories:
            stories[name] = Story(len(stories))
            await stories[name].begin(world)
        story, after = stories[name], False
        for each, day in story.days().items():
            if each is pay_cycles:
                world.until(day)
            if each is job:
                await world.run(each, day, attempt=1, engine=engine)
                after = True
            elif after:
                await world.run(each, day)
            else:
                await world.run(each, day, attempt=2)
        await world.bank_says(InstructionState.DONE)
        return story

    async for outcome in crashes_everywhere(open_engine, scenario):
        assert outcome.result is not None
        await outcome.result.require_settled(world)
    for engine in engines:
        await engine.close(grace_s=0)
    assert await world.balance("internal:transfer_fee", "fee_income") == 500 * len(stories)
    assert len(world.bank.books) == 2 * len(stories)
