"""Every example of the public talk on merchants' settlement, from daily summaries to what the bank paid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from kessai.foundation.db import Database
from kessai.services.bank.api import InstructionState
from kessai.services.settlement.api.claims import ClaimStanding
from kessai.services.settlement.api.cycles import ListSalesSummaries
from kessai.services.settlement.api.payouts import PayoutStanding
from kessai.services.settlement.workflows.clear import clear_cycles
from kessai.services.settlement.workflows.cycle import make_cycles
from tests.settlement.cycle_world import World, opened

OCTOBER_END = date(2025, 10, 31)
NOVEMBER_END = date(2025, 11, 30)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def test_300_yen_sold_on_3_october_are_in_the_sales_summary_of_october(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 3), "mer:x", 300)
    await world.close(OCTOBER_END)
    done = await world.run(make_cycles, OCTOBER_END)
    (summary,) = (await world.desk.list_sales_summaries(ListSalesSummaries(payee_id="mer:x"))).summaries
    assert done.done == 1
    assert (summary.first_day, summary.last_day) == (date(2025, 10, 1), OCTOBER_END)
    assert (summary.sales_minor, summary.net_minor, summary.transactions) == (300, 300, 1)


async def test_100_yen_each_of_three_children_are_paid_to_their_parent(world: World) -> None:
    world.agree("mer:A")
    for child in ("mer:a", "mer:b", "mer:c"):
        await world.sell(date(2025, 10, 3), child, 100, payee="mer:A")
    await world.settle(OCTOBER_END)
    (payout,) = await world.payouts("mer:A")
    assert (payout.cleared_minor, payout.amount_minor) == (300, 300)
    assert await world.balance("mer:A", "settled_sales") == 300
    assert [await world.balance(each, "unsettled_sales") for each in ("mer:a", "mer:b", "mer:c")] == [0, 0, 0]


async def test_5000_unsettled_yen_become_settled_by_the_clearing(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 5_000)
    assert await world.balance("mer:x", "unsettled_sales") == 5_000
    await world.settle(OCTOBER_END)
    assert await world.balance("mer:x", "unsettled_sales") == 0
    assert await world.balance("mer:x", "settled_sales") == 5_000
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.amount_minor, payout.pay_on) == (PayoutStanding.CLEARED, 5_000, date(2025, 11, 28))


async def test_minus_2000_yen_become_a_claim(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -2_000)
    await world.settle(OCTOBER_END)
    assert await world.balance("mer:x", "unsettled_sales") == 0
    assert await world.balance("mer:x", "settled_claims") == -2_000
    (claim,) = await world.claims("mer:x")
    (payout,) = await world.payouts("mer:x")
    assert (claim.state, claim.owed_minor, claim.due_on) == (ClaimStanding.OPEN, 2_000, date(2025, 12, 1))
    assert (payout.state, payout.claim_minor) == (PayoutStanding.NOTHING, 2_000)


async def test_5000_yen_offset_against_a_claim_of_2000_leave_3000(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -2_000)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:x", 5_000)
    await world.settle(NOVEMBER_END)
    assert await world.balance("mer:x", "settled_sales") == 3_000
    assert await world.balance("mer:x", "settled_claims") == 0
    (claim,) = await world.claims("mer:x")
    payout = (await world.payouts("mer:x"))[-1]
    assert (claim.state, claim.offset_minor) == (ClaimStanding.SETTLED, 2_000)
    assert (payout.offset_minor, payout.amount_minor, payout.claim_minor) == (2_000, 3_000, 0)


async def test_5000_of_one_shop_and_minus_2000_of_another_leave_their_parent_3000(world: World) -> None:
    world.agree("mer:A")
    await world.sell(date(2025, 10, 10), "mer:a", 5_000, payee="mer:A")
    await world.sell(date(2025, 10, 11), "mer:b", -2_000, payee="mer:A")
    await world.settle(OCTOBER_END)
    (payout,) = await world.payouts("mer:A")
    assert (payout.cleared_minor, payout.offset_minor, payout.amount_minor) == (5_000, 2_000, 3_000)
    assert await world.balance("mer:A", "settled_sales") == 3_000
    assert await world.balance("mer:A", "settled_claims") == 0
    assert await world.balance("mer:b", "unsettled_sales") == 0


async def test_12000_yen_are_transferred_and_the_payout_is_paid(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 12_000)
    await world.settle(OCTOBER_END)
    instruct_on = date(2025, 11, 26)
    world.until(instruct_on)
    assert (await world.pay(date(2025, 11, 25))).done == 0
    assert (await world.pay(instruct_on)).done == 1
    (payout,) = await world.payouts("mer:x")
    assert payout.state is PayoutStanding.INSTRUCTED
    await world.bank_says(InstructionState.DONE)
    (payout,) = await world.payouts("mer:x")
    assert (payout.state, payout.amount_minor) == (PayoutStanding.PAID, 12_000)
    assert await world.balance("mer:x", "settled_sales") == 0
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_every_job_run_again_finds_nothing_left_to_do(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 12_000)
    await world.settle(OCTOBER_END)
    world.until(date(2025, 11, 26))
    await world.pay(date(2025, 11, 26))
    await world.settle(OCTOBER_END)
    assert (await world.run(make_cycles, OCTOBER_END)).done == 0
    assert (await world.run(clear_cycles, OCTOBER_END)).done == 0
    assert (await world.pay(date(2025, 11, 26))).done == 0
    assert len(world.bank.books) == 1
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_a_dry_run_says_what_would_be_done_and_does_nothing(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 12_000)
    await world.close(OCTOBER_END)
    assert (await world.run(make_cycles, OCTOBER_END, dry_run=True)).done == 1
    assert await world.payouts("mer:x") == []
    await world.run(make_cycles, OCTOBER_END)
    assert (await world.run(clear_cycles, OCTOBER_END, dry_run=True)).note == "1 payouts, 12000 yen cleared"
    assert await world.balance("mer:x", "unsettled_sales") == 12_000
