"""The same property with the real ledger, payment service, jobs and PostgreSQL, for a bounded number of histories."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import count
from typing import Any

import uvloop
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.merchant.api import Bearer, BelowMinimum, Cycle, Holiday, MerchantState
from kessai.services.settlement.api.claims import RecordRepayment
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from tests.settlement.cycle_world import World, opened

FIRST = date(2025, 10, 1)
CONTRACTS = st.fixed_dictionaries(
    {
        "cycle": st.sampled_from([Cycle.MONTHLY, Cycle.TWICE_MONTHLY, Cycle.DAILY]),
        "holiday": st.sampled_from(Holiday),
        "minimum_minor": st.sampled_from([0, 5_000]),
        "below_minimum": st.sampled_from(BelowMinimum),
        "transfer_fee_minor": st.sampled_from([0, 250]),
        "transfer_fee_borne_by": st.sampled_from(Bearer),
        "state": st.sampled_from([MerchantState.ACTIVE, MerchantState.ACTIVE, MerchantState.SUSPENDED]),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), st.integers(0, 2), st.integers(-9_000, 9_000).filter(bool)),
        st.tuples(st.just("adjust"), st.integers(0, 2), st.integers(-3_000, 3_000).filter(bool)),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("contract"), st.integers(0, 1), CONTRACTS),
        st.tuples(st.just("bank"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("repay"), st.integers(0, 1), st.integers(1, 4_000)),
        st.tuples(st.just("days"), st.integers(8, 40), st.just(0)),
    ),
    min_size=6,
    max_size=14,
)
_towns = count(1)


class Play:
    """One history: payees and shops of its own, in a world that others have lived in; its years follow theirs."""

    def __init__(self, world: World, year: int) -> None:
        self.world, self.day = world, FIRST.replace(year=FIRST.year + year)
        self.payees = [f"mer:{year}p", f"mer:{year}q"]
        self.shops = [f"mer:{year}{each}" for each in "abc"]
        self.payee_of = dict.fromkeys(self.shops, self.payees[0])
        for payee in self.payees:
            world.agree(payee)

    async def sell(self, shop: int, amount: int) -> None:
        name = self.shops[shop]
        await self.world.sell(self.day, name, amount, payee=self.payee_of[name], fee=abs(amount) // 50)

    async def adjust(self, shop: int, amount: int) -> None:
        await self.world.adjust(self.day, self.shops[shop], amount, payee=self.payee_of[self.shops[shop]])

    async def move(self, shop: int, payee: int) -> None:
        self.payee_of[self.shops[shop]] = self.payees[payee]

    async def contract(self, payee: int, contract: dict[str, Any]) -> None:
        self.world.change(self.payees[payee], **contract)

    async def bank(self, what: int, _: int) -> None:
        states = (InstructionState.DONE, InstructionState.FAILED, InstructionState.RETURNED)
        await self.world.bank_says(states[what], None if what == 0 else FailureCode.ACCOUNT_CLOSED)

    async def repay(self, payee: int, amount: int) -> None:
        for claim in await self.world.claims(self.payees[payee]):
            try:
                asked = RecordRepayment(claim_id=claim.claim_id, amount_minor=min(amount, claim.owed_minor or 1))
                await self.world.desk.record_repayment(asked)
            except PaymentError as refused:
                assert refused.code == "repayment_above_claim"  # noqa: PT017  # it is settled

    async def days(self, many: int, _: int) -> None:
        """Time goes by; the jobs run on the days on which most cycles end, and on the last."""
        for _each in range(many):
            if self.day.day in (15, 16) or (self.day + timedelta(days=1)).day == 1:
                await self.jobs()
            self.day += timedelta(days=1)
        await self.world.pay(self.day)

    async def jobs(self) -> None:
        self.world.until(self.day + timedelta(days=1))
        await self.world.close(self.day)
        await self.world.run(make_cycles, self.day)
        await self.world.run(clear_cycles, self.day)

    async def require(self) -> None:
        await self.world.hear()
        await self.world.require_every_yen(self.shops, self.payees)


async def _played(world: World, steps: Sequence[tuple[str, int, Any]]) -> None:
    play = Play(world, next(_towns))
    for what, one, two in steps:
        await getattr(play, what)(one, two)
    await play.require()
    await play.days(40, 0)
    await play.require()


def test_every_yen_is_told_whatever_happens_to_the_real_services(database_url: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        database = Database(database_url)
        world_of = opened(database)
        world = runner.run(world_of.__aenter__())

        @settings(max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                  suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
        @given(STEPS)
        def plays(steps: list[tuple[str, int, Any]]) -> None:
            runner.run(_played(world, steps))

        try:
            plays()
        finally:
            runner.run(world_of.__aexit__(None, None, None))
            runner.run(database.close())
    assert world.sold
