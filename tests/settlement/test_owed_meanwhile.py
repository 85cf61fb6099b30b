"""After a payout was decided: what is owed by its transfer is offset, and what was refused is asked for anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from kessai.apps.verify.finding import Report
from kessai.apps.verify.settlement import check_settlement
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Forbidden, Refused, Unavailable
from kessai.sdk.jobs import JobOrder
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.merchant.api import Bearer
from kessai.services.settlement.api.claims import ClaimStanding
from kessai.services.settlement.api.payouts import GetPayout, HoldPayout, PayoutStanding, ReleasePayout
from kessai.services.settlement.domain.configuration import read_settlement
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.payout import pay_cycles
from tests.settlement.cycle_world import World, opened

S = PayoutStanding
OCTOBER_END, NOVEMBER_END, DECEMBER_END = date(2025, 10, 31), date(2025, 11, 30), date(2025, 12, 31)
FIRST_DAY, SECOND_DAY, THIRD_DAY = date(2025, 11, 26), date(2025, 12, 26), date(2026, 1, 28)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def findings(world: World) -> list[str]:
    """What verify says of settlement, but for the days and daily summaries that were put straight there."""
    report = Report()

    async def check(connection: Connection) -> None:
        rows = await connection.fetch("SELECT schemaname, tablename FROM pg_tables")
        tables = {f"{row['schemaname']}.{row['tablename']}" for row in rows}
        await check_settlement(connection, read_settlement(), report, tables=tables)

    await world.database.transaction(None, check)
    put_there = ("daily_summary", "standing", "unsettled_sales")
    return [str(each) for each in report.findings if not any(name in str(each) for name in put_there)]


class Saying:
    """The payment service, of which one verb answers with an error instead."""

    def __init__(self, world: World, verb: str, error: Exception, *, lost: int = 0) -> None:
        self.world, self.verb, self.error, self.lost = world, verb, error, lost
        self.real = getattr(world.payments, verb)

    async def answer(self, request: Any, /) -> Any:
        """The first so many answers are lost on their way; then there is the error."""
        if self.lost:
            self.lost -= 1
            await self.real(request)
            raise Unavailable("payment_unavailable", "The answer was lost.")
        raise self.error

    def __enter__(self) -> None:
        setattr(self.world.payments, self.verb, self.answer)

    def __exit__(self, *_: object) -> None:
        setattr(self.world.payments, self.verb, self.real)


# -- what is owed by then ---------------------------------------------------------------------------------------------


async def test_a_payout_that_was_held_is_offset_before_it_is_paid(world: World) -> None:
    world.agree("mer:x", bank_account_id=None)
    await world.sell(date(2025, 10, 10), "mer:x", 5_000)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:x", -2_000)
    await world.settle(NOVEMBER_END)
    world.change("mer:x", bank_account_id=world.bank.account_of("mer:x"))
    await world.pay(SECOND_DAY)
    payout = (await world.payouts("mer:x"))[0]
    assert (payout.state, payout.offset_minor, payout.amount_minor) == (S.INSTRUCTED, 2_000, 3_000)
    history = await world.desk.get_payout(GetPayout(payout_id=payout.payout_id))
    assert "claims_open" in [each.reason for each in history.steps]
    await world.bank_says(InstructionState.DONE)
    assert [each.state for each in await world.claims()] == [ClaimStanding.SETTLED]
    await world.require_every_yen(["mer:x"], ["mer:x"])
    assert await findings(world) == []


async def test_a_payout_that_was_offset_already_is_offset_once_more(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -500)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:x", 5_000)
    await world.settle(NOVEMBER_END)
    payout = (await world.payouts("mer:x"))[-1]
    await world.desk.hold_payout(HoldPayout(payout_id=payout.payout_id, reason="looked into"))
    await world.sell(date(2025, 12, 10), "mer:x", -2_000)
    await world.settle(DECEMBER_END)
    await world.pay(THIRD_DAY)
    assert (await world.payouts("mer:x"))[1].state is S.HELD
    await world.desk.release_payout(ReleasePayout(payout_id=payout.payout_id, reason="it is all right"))
    await world.pay(THIRD_DAY)
    payout = (await world.payouts("mer:x"))[1]
    assert (payout.state, payout.offset_minor, payout.amount_minor) == (S.INSTRUCTED, 2_500, 2_500)
    await world.bank_says(InstructionState.DONE)
    await world.require_every_yen(["mer:x"], ["mer:x"])
    assert await findings(world) == []


async def test_a_payout_of_which_nothing_is_left_is_not_paid(world: World) -> None:
    world.agree("mer:x", bank_account_id=None)
    await world.sell(date(2025, 10, 10), "mer:x", 1_500)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:x", -2_000)
    await world.settle(NOVEMBER_END)
    world.change("mer:x", bank_account_id=world.bank.account_of("mer:x"))
    assert (await world.pay(SECOND_DAY)).done == 0
    (payout, _), (claim,) = await world.payouts("mer:x"), await world.claims()
    assert (payout.state, payout.payable_minor, claim.owed_minor) == (S.NOTHING, 0, 500)
    await world.require_every_yen(["mer:x"], ["mer:x"])
    assert await findings(world) == []


# -- who is collected for ---------------------------------------------------------------------------------------------


async def moved_under_a_parent(world: World, owes: int, sells: int) -> None:
    """A shop that owes; from November on a parent collects for it and for another."""
    for merchant in ("mer:shop", "mer:parent"):
        world.agree(merchant)
    await world.sell(date(2025, 10, 10), "mer:shop", -owes)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:shop", sells, payee="mer:parent")
    await world.sell(date(2025, 11, 10), "mer:other", 10_000, payee="mer:parent")
    await world.settle(NOVEMBER_END)


async def test_what_a_shop_owed_before_is_offset_against_what_its_parent_collects(world: World) -> None:
    await moved_under_a_parent(world, 2_000, 5_000)
    (payout,) = await world.payouts("mer:parent")
    (claim,) = await world.claims("mer:shop")
    assert (payout.offset_minor, payout.amount_minor) == (2_000, 13_000)
    assert (claim.state, claim.offset_minor) == (ClaimStanding.SETTLED, 2_000)
    assert await world.balance("mer:shop", "settled_claims") == 0
    assert await world.balance("mer:parent", "settled_sales") == 13_000
    assert await findings(world) == []


async def test_what_a_shop_owed_is_taken_out_of_its_own_sales_and_of_nobody_elses(world: World) -> None:
    await moved_under_a_parent(world, 7_000, 5_000)
    (payout,) = await world.payouts("mer:parent")
    (claim,) = await world.claims("mer:shop")
    assert (payout.offset_minor, payout.amount_minor, claim.owed_minor) == (5_000, 10_000, 2_000)
    await world.sell(date(2025, 12, 10), "mer:shop", 2_500, payee="mer:parent")
    await world.settle(DECEMBER_END)
    (claim,) = await world.claims("mer:shop")
    payout = (await world.payouts("mer:parent"))[-1]
    assert (claim.state, payout.offset_minor, payout.amount_minor) == (ClaimStanding.SETTLED, 2_000, 500)
    await world.pay(THIRD_DAY)
    await world.bank_says(InstructionState.DONE)
    assert await findings(world) == []


async def test_several_that_owe_are_offset_one_after_the_other_and_the_payee_first(world: World) -> None:
    shops = ("mer:a", "mer:b")
    for merchant in (*shops, "mer:parent"):
        world.agree(merchant)
        await world.sell(date(2025, 10, 10), merchant, -1_000)
    await world.settle(OCTOBER_END)
    for merchant in shops:
        await world.sell(date(2025, 11, 10), merchant, 1_300, payee="mer:parent")
    await world.settle(NOVEMBER_END)
    payout = (await world.payouts("mer:parent"))[-1]
    assert (payout.cleared_minor, payout.offset_minor, payout.state) == (2_600, 2_600, S.NOTHING)
    owed = {each.payee_id: each.owed_minor for each in await world.claims()}
    assert owed == {"mer:parent": 0, "mer:a": 0, "mer:b": 400}
    assert await findings(world) == []


# -- answers that are none --------------------------------------------------------------------------------------------


async def failed_with_its_fee(world: World) -> None:
    """A payout whose fee was taken and whose transfer failed."""
    world.agree("mer:x", transfer_fee_minor=250, transfer_fee_borne_by=Bearer.MERCHANT)
    await world.sell(date(2025, 10, 10), "mer:x", 10_000)
    await world.settle(OCTOBER_END)
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)


async def test_a_refund_of_a_transfer_fee_that_was_refused_is_asked_for_anew(world: World) -> None:
    await failed_with_its_fee(world)
    waits = "1 transfer fees could not be given back, their payouts wait"
    with Saying(world, "refund_payment", Refused("account_frozen", "Just now.")):
        assert waits in (await world.pay(date(2025, 11, 27))).note
        await world.close(NOVEMBER_END)
        assert waits in (await world.run(make_cycles, NOVEMBER_END)).note
    assert [each.taken_by for each in await world.payouts("mer:x")] == [None]
    await world.settle(DECEMBER_END)
    await world.pay(THIRD_DAY)
    await world.bank_says(InstructionState.DONE)
    first, last = await world.payouts("mer:x")
    assert (first.taken_by, last.state, last.amount_minor) == (last.payout_id, S.PAID, 9_750)
    assert await world.balance("internal:transfer_fee", "fee_income") == 250
    await world.require_every_yen(["mer:x"], ["mer:x"])
    assert await findings(world) == []


async def test_a_refund_whose_answer_says_nothing_is_not_asked_for_twice(world: World) -> None:
    await failed_with_its_fee(world)
    with Saying(world, "refund_payment", Forbidden("missing_scope", "The key was changed."), lost=1):
        await world.pay(date(2025, 11, 27))
        await world.pay(date(2025, 11, 28))
    await world.settle(NOVEMBER_END)
    assert [each.state for each in await world.payouts("mer:x")] == [S.FAILED, S.CLEARED]
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_an_answer_that_says_nothing_fails_no_payout(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 10_000)
    await world.settle(OCTOBER_END)
    with Saying(world, "pay_out", Forbidden("missing_scope", "The key was changed."), lost=1):
        handle = await world.engine.start(
            pay_cycles, JobOrder(name=pay_cycles.name, day=FIRST_DAY), workflow_id="settlement.payout:lost"
        )
        with pytest.raises(Forbidden):
            await handle.result()
    await world.bank_says(InstructionState.DONE)
    assert [each.state for each in await world.payouts("mer:x")] == [S.PAID]
    await world.require_every_yen(["mer:x"], ["mer:x"])
