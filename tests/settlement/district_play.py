"""Plays a random history on a shopping street."""

from __future__ import annotations

from kessai.services.merchant.api import MerchantState
from tests.settlement.chronicles import FATES, FAULT_VERBS, FAULTS, FEES, REPAID, RULES, WAYS, History
from tests.settlement.district import CLOSED, GOOD, MERCHANTS, RETURNING, District
from tests.settlement.district_proof import require_every_yen

AFTERWARDS = 36
"""Days after a history: every monthly cycle in it has ended by then."""
ATTENDED = 3
"""Days of these on which files are approved: they go out, and the bank tells of them."""


class Play:
    """Does what a history says."""

    def __init__(self, district: District) -> None:
        self.district = district

    async def play(self, told: History) -> int:
        """All of it, with the proof after it, and once more when the cycles that were open have ended.

        Gives how many sales were proved.
        """
        rules = {each: RULES[rule] for each, rule in zip(MERCHANTS, told.rules, strict=True)}
        fees = {each: FEES[fee] for each, fee in zip(MERCHANTS, told.fees, strict=True)}
        await self.district.sign_up(rules, fees)
        for what, one, two in told.steps:
            await getattr(self, what)(one, two)
        await require_every_yen(self.district)
        await self.district.leap(AFTERWARDS)
        await self.district.days(ATTENDED)
        await require_every_yen(self.district)
        return sum(len(till.sales) for till in self.district.tills.values())

    async def sell(self, merchant: int, sale: tuple[int, int]) -> None:
        amount, way = sale
        await self.district.sell(MERCHANTS[merchant], amount, WAYS[way])

    async def refund(self, merchant: int, per_cent: int) -> None:
        await self.district.refund(MERCHANTS[merchant], per_cent)

    async def correct(self, merchant: int, amount: int) -> None:
        await self.district.correct(MERCHANTS[merchant], amount)

    async def agree(self, merchant: int, contract: tuple[int, int]) -> None:
        rules, fee = contract
        await self.district.agree(MERCHANTS[merchant], RULES[rules], FEES[fee])

    async def collect(self, shop: int, payee: int | None) -> None:
        await self.district.collect(MERCHANTS[shop], None if payee is None else MERCHANTS[payee])

    async def account(self, merchant: int, number: int) -> None:
        await self.district.name_account(MERCHANTS[merchant], (GOOD, CLOSED, RETURNING)[number])

    async def fate(self, _: int, which: int) -> None:
        self.district.foresee(*FATES[which])

    async def fault(self, verb: int, which: int) -> None:
        self.district.misbehave(FAULT_VERBS[verb], FAULTS[which])

    async def recall(self, merchant: int, _: int) -> None:
        await self.district.recall(MERCHANTS[merchant])

    async def repay(self, merchant: int, per_cent: int) -> None:
        await self.district.repay(MERCHANTS[merchant], per_cent, REPAID[per_cent % len(REPAID)])

    async def hold(self, merchant: int, what: int) -> None:
        await self.district.hold(MERCHANTS[merchant], let_go=what > 0)

    async def suspend(self, merchant: int, what: int) -> None:
        suspended = MERCHANTS[merchant] in self.district.suspended
        if suspended or what == 0:
            state = MerchantState.ACTIVE if suspended else MerchantState.SUSPENDED
            await self.district.change_state(MERCHANTS[merchant], state)

    async def days(self, _: int, count: int) -> None:
        await self.district.days(count)

    async def leap(self, _: int, count: int) -> None:
        await self.district.leap(count)
