"""A year with all its holidays, day by day: every kind of payee, every day settled once, every yen told."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import date, timedelta
from itertools import pairwise, product

import pytest

from kessai.foundation.calendar import is_business_day, month_end
from kessai.foundation.db import Database
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.merchant.api import Bearer, Cycle, Holiday, PayoutRule
from kessai.services.settlement.domain.cycles import BelowMinimum, CycleKind, HolidayShift, PayeeTerms
from kessai.services.settlement.domain.payouts import PayoutState
from tests.settlement.cycle_world import World, opened
from tests.settlement.office import Office

YEAR_START, YEAR_END = date(2025, 10, 1), date(2026, 9, 30)
S = PayoutState


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


def every_kind_of_payee() -> list[PayeeTerms]:
    """Cycles × holiday shifts × what becomes of little; fees borne by every second one."""
    found: list[PayeeTerms] = []
    for number, (cycle, holiday, below) in enumerate(product(CycleKind, HolidayShift, BelowMinimum)):
        found.append(
            PayeeTerms(
                payee_id=f"mer:{number}", cycle=cycle, cycle_day=number % 7, holiday=holiday, below_minimum=below,
                days_after=2 if cycle in (CycleKind.WEEKLY, CycleKind.DAILY) else None, minimum_minor=10_000,
                transfer_fee_minor=250, merchant_bears_fee=number % 2 == 0, instruct_days_before=number % 3,
                bank_account_id="bac_1",
            )
        )  # fmt: skip
    return found


def days() -> list[date]:
    """Each day of the year."""
    return [YEAR_START + timedelta(days=each) for each in range((YEAR_END - YEAR_START).days + 1)]


def test_a_year_of_every_kind_of_payee_settles_every_day_once_and_tells_every_yen() -> None:
    chance = random.Random(4)
    office = Office({each.payee_id: each for each in every_kind_of_payee()})
    for day in days():
        for payee in office.terms:
            office.sell(day, f"{payee}/a", payee, chance.randint(-3_000, 6_000), chance.randint(0, 200))
        if is_business_day(day):
            office.pay(day)
            for payout in [each for each in office.payouts.values() if each.state is S.INSTRUCTED]:
                if payout.pay_on <= day:
                    office.bank(payout.payout_id, S.FAILED if chance.random() < 0.1 else S.PAID)
        office.cycle(day)
        office.clear()
        office.require_every_yen()
    for drafts in office.drafts.values():
        for before, after in pairwise(drafts):
            assert before.last_day < after.first_day
            assert is_business_day(after.pay_on)
    assert {each.state for each in office.payouts.values()} >= {S.PAID, S.FAILED, S.CARRIED_OVER}


def test_nothing_is_carried_over_for_more_than_a_year() -> None:
    terms = PayeeTerms(payee_id="mer:x", cycle=CycleKind.DAILY, minimum_minor=10_000, bank_account_id="bac_1")
    office = Office({"mer:x": terms})
    for day in days() + [YEAR_END + timedelta(days=each) for each in range(1, 40)]:
        office.sell(day, "mer:x", "mer:x", 1 if day <= YEAR_START + timedelta(days=3) else 0)
        office.cycle(day)
        office.clear()
    paid = [each for each in office.payouts.values() if each.state is S.CLEARED]
    assert sum(each.amount_minor for each in paid) == 4
    assert all((each.last_day - each.carried_from).days <= 366 for each in paid)


async def test_a_year_with_the_real_services_tells_every_yen(world: World) -> None:
    chance = random.Random(5)
    payees = ("mer:month", "mer:twice", "mer:next")
    bears = {"transfer_fee_minor": 200, "transfer_fee_borne_by": Bearer.MERCHANT}
    world.agree("mer:month", minimum_minor=10_000, **bears)
    world.agree("mer:twice", cycle=Cycle.TWICE_MONTHLY)
    world.agree("mer:next", holiday=Holiday.NEXT, payout=PayoutRule(months_after=1, day=15), **bears)
    shops = {"mer:a": "mer:month", "mer:b": "mer:month", "mer:twice": "mer:twice", "mer:next": "mer:next"}
    for day in days():
        if day.day == 15 or day == month_end(day):
            for shop, payee in shops.items():
                await world.sell(day, shop, chance.randint(-4_000, 12_000), payee=payee, fee=chance.randint(0, 300))
            await world.settle(day)
        if is_business_day(day) and (day + timedelta(days=5)).day < 8:
            world.until(day)
            await world.pay(day)
            fails = chance.random() < 0.2
            state = InstructionState.FAILED if fails else InstructionState.DONE
            await world.bank_says(state, FailureCode.ACCOUNT_CLOSED if fails else None)
    await world.require_every_yen(shops, payees)
    states = {each.state.value for each in await world.payouts()}
    assert "PAID" in states
