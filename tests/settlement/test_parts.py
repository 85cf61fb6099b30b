"""What is more than one payment moves is cleared and paid in parts, each a payout of its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date

import pytest

from kessai.apps.verify.checks import run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.settlement import MOVED, SUMS
from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.merchant.api import Bearer
from kessai.services.settlement.api.payouts import PayoutStanding
from kessai.services.settlement.api.statements import GetStatement
from kessai.services.settlement.domain.payouts import MOVED_MINOR_MAX, Share, TakenOver, in_parts, shares
from kessai.services.settlement.workflows.stating import state_cycles
from tests.settlement.cycle_world import World, opened

S = PayoutStanding
OCTOBER_END, NOVEMBER_END = date(2025, 10, 31), date(2025, 11, 30)
FIRST_DAY = date(2025, 11, 26)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def require_nothing_found(world: World) -> None:
    """`kessai verify` has nothing to say of cycles, clearings, payouts and their payments."""
    report, sql = Report(), load_queries("kessai.apps.verify", file="sql/settlement.sql")

    async def look(connection: Connection) -> None:
        for check in (*SUMS, *MOVED):
            if check.query not in ("strange_standing", "broken_summaries", "broken_days"):  # days are put there by hand
                await run_check(connection, sql, check, report, schema="settlement", types={})

    await world.database.transaction(None, look)
    assert report.findings == []


def test_an_amount_is_taken_apart_as_evenly_as_can_be() -> None:
    assert in_parts(0) == []
    assert in_parts(MOVED_MINOR_MAX) == [MOVED_MINOR_MAX]
    assert in_parts(MOVED_MINOR_MAX + 2) == [5_000_000_001, 5_000_000_000]
    assert sum(in_parts(10**12 + 7)) == 10**12 + 7


def test_payouts_share_what_was_left_and_what_was_cleared() -> None:
    over = TakenOver(carried_minor=3, failed_minor=MOVED_MINOR_MAX, carried_from=OCTOBER_END)
    first, second = shares(10, over)
    assert (first.carried_minor, first.cleared_minor + second.cleared_minor) == (3, 10)
    assert first.failed_minor + second.failed_minor == MOVED_MINOR_MAX
    assert shares(0, TakenOver(carried_minor=0, failed_minor=0, carried_from=OCTOBER_END)) == [
        Share(part=0, cleared_minor=0, carried_minor=0, failed_minor=0)
    ]


async def test_more_than_one_transfer_moves_is_paid_in_several(world: World) -> None:
    world.agree("mer:x", transfer_fee_minor=300, transfer_fee_borne_by=Bearer.MERCHANT)
    await world.sell(date(2025, 10, 10), "mer:x", 9_000_000_000)
    await world.sell(date(2025, 10, 11), "mer:x", 9_000_000_000)
    await world.sell(date(2025, 10, 12), "mer:x", 7_000_000_001)
    await world.settle(OCTOBER_END)
    assert await world.balance("mer:x", "settled_sales") == 25_000_000_001
    await world.pay(FIRST_DAY)
    await world.bank_says(InstructionState.DONE)
    paid = await world.payouts("mer:x")
    assert [each.state for each in paid] == [S.PAID] * 3
    assert sorted(each.amount_minor for each in paid) == [8_333_333_033, 8_333_333_034, 8_333_333_034]
    assert await world.balance("mer:x", "settled_sales") == 0
    await world.run(state_cycles, OCTOBER_END)
    file = await world.desk.get_statement(GetStatement(payee_id="mer:x", cycle_id=paid[0].cycle_id))
    assert file.version == 1
    told = json.loads(file.content)
    assert (told["amount_minor"], told["transfer_fee_minor"], len(told["payouts"])) == (25_000_000_001 - 900, 900, 3)
    await world.require_every_yen(["mer:x"], ["mer:x"])
    await require_nothing_found(world)


async def test_a_part_that_fails_goes_into_the_next_payout_alone(world: World) -> None:
    world.agree("mer:x")
    for day in (10, 11):
        await world.sell(date(2025, 10, day), "mer:x", 6_000_000_000)
    await world.settle(OCTOBER_END)
    await world.pay(FIRST_DAY)
    first, second = await world.payouts("mer:x")
    await world.bank_says_of(str(first.payment_id), InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    await world.bank_says_of(str(second.payment_id), InstructionState.DONE)
    await world.sell(date(2025, 11, 10), "mer:x", 6_000_000_000)
    await world.settle(NOVEMBER_END)
    _, _, third, fourth = await world.payouts("mer:x")
    assert sum(each.failed_minor for each in (third, fourth)) == 6_000_000_000
    assert sum(each.cleared_minor for each in (third, fourth)) == 6_000_000_000
    await world.pay(date(2025, 12, 26))
    await world.bank_says(InstructionState.DONE)
    assert [each.state for each in await world.payouts("mer:x")] == [S.FAILED, S.PAID, S.PAID, S.PAID]
    await world.require_every_yen(["mer:x"], ["mer:x"])
    await require_nothing_found(world)


async def test_a_claim_is_offset_against_all_parts_of_a_cycle_once(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -9_500_000_000)
    await world.settle(OCTOBER_END)
    for day in (10, 11, 12):
        await world.sell(date(2025, 11, day), "mer:x", 6_000_000_000)
    await world.settle(NOVEMBER_END)
    _, *both = await world.payouts("mer:x")
    assert sorted(each.payable_minor for each in both) == [0, 8_500_000_000]
    (claim,) = await world.claims("mer:x")
    assert claim.owed_minor == 0
    await world.require_every_yen(["mer:x"], ["mer:x"])
    await require_nothing_found(world)


async def test_what_a_child_owes_comes_out_of_its_own_sales_alone_in_every_part(world: World) -> None:
    world.agree("mer:parent")
    world.agree("mer:child")
    await world.sell(date(2025, 10, 10), "mer:child", -5_000)
    await world.settle(OCTOBER_END)
    await world.sell(date(2025, 11, 10), "mer:child", 2_000, payee="mer:parent")
    for day in (10, 11):
        await world.sell(date(2025, 11, day), "mer:parent", 6_000_000_000)
    await world.settle(NOVEMBER_END)
    assert sum(each.offset_minor for each in await world.payouts("mer:parent")) == 2_000
    (claim,) = await world.claims("mer:child")
    assert claim.owed_minor == 3_000
    await require_nothing_found(world)
