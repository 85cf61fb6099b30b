"""Claims on merchants are repaid; payouts are made under an id and for a day of the caller's choice."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest
from msgspec.structs import replace

from kessai.foundation.errors import KeyReused
from kessai.foundation.ids import new_hex
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.payment.api import (
    ClearSales,
    GetPayment,
    NextActionType,
    PaymentState,
    PayOut,
    RepayClaim,
)
from tests.payment.merchants import another_process, codes, movement, sell, told_of_payments
from tests.payment.test_service import code_of
from tests.payment.world import World, key

S = PaymentState


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


async def owing(world: World, amount: int) -> None:
    """A merchant that owes so much."""
    assert await codes(world.payments, movement("shortfall", amount)) == ["CAPTURED"]


async def owed(world: World) -> int:
    """What the merchant owes."""
    return -(await world.balance("mer:shop", "settled_claims"))[0]


async def cleared(world: World, amount: int) -> PayOut:
    """A payout of settled sales, under a fresh id."""
    await sell(world, amount)
    await world.payments.clear_sales(ClearSales(merchant_id="mer:shop", amount_minor=amount))
    account_id = world.bank.account_of("mer:shop")
    return PayOut(merchant_id="mer:shop", bank_account_id=account_id, amount_minor=amount, payout_id=f"pyo_{new_hex()}")


# -- claims -------------------------------------------------------------------------------------------------------


async def test_what_is_owed_is_repaid_with_what_has_arrived_and_never_more(world: World) -> None:
    await owing(world, 1_000)
    repaid = await world.payments.repay_claim(RepayClaim(merchant_id="mer:shop", amount_minor=600))
    assert (repaid.state, repaid.kind, await owed(world)) == (S.CAPTURED, "claim_repayment", 400)
    too_much = RepayClaim(merchant_id="mer:shop", amount_minor=401)
    assert await code_of(world.payments.repay_claim(too_much)) == "retention_cap_exceeded"
    unknown = RepayClaim(merchant_id="mer:shop", amount_minor=1, source="pocket")
    assert await code_of(world.payments.repay_claim(unknown)) == "unknown_source"
    arrived_on_a_day = RepayClaim(merchant_id="mer:shop", amount_minor=1, debit_on=date(2030, 1, 4))
    assert await code_of(world.payments.repay_claim(arrived_on_a_day)) == "debit_day_misplaced"


@pytest.mark.parametrize(
    ("state", "left"), [(InstructionState.DONE, 300), (InstructionState.FAILED, 1_000)], ids=["taken", "failed"]
)
async def test_what_is_owed_is_debited(world: World, state: InstructionState, left: int) -> None:
    await owing(world, 1_000)
    debit = RepayClaim(merchant_id="mer:shop", amount_minor=700, source="bank_debit")
    assert await code_of(world.payments.repay_claim(debit)) == "instrument_required"
    asked = replace(debit, instrument_id=world.bank.account_of("mer:shop"))
    waits = await world.payments.repay_claim(asked)
    assert waits.next_action is not None
    assert (waits.state, waits.next_action.type) == (S.REQUIRES_ACTION, NextActionType.WAIT_FOR_BANK)
    twice = replace(asked, amount_minor=301)  # with what is on its way it would be more than is owed
    assert await code_of(world.payments.repay_claim(twice)) == "retention_cap_exceeded"
    world.bank.answers(state, FailureCode.INSUFFICIENT_FUNDS if state is InstructionState.FAILED else None)
    await world.payments.hear_from_bank(waits.payment_id)
    assert await owed(world) == left


async def test_what_a_merchant_owes_is_offset_by_who_is_paid_for_it(world: World) -> None:
    await owing(world, 2_000)
    await sell(world, 5_000, "mer:child")
    request = ClearSales(merchant_id="mer:child", amount_minor=5_000, payee_id="mer:parent")
    await world.payments.clear_sales(request)
    offset = replace(movement("claim_offset", 2_000, counterpart_id="mer:shop"), merchant_id="mer:parent")
    assert await codes(world.payments, offset) == ["CAPTURED"]
    assert await owed(world) == 0
    assert await world.balance("mer:parent", "settled_sales") == (3_000, 3_000)


# -- another payee ------------------------------------------------------------------------------------------------


async def test_sales_are_cleared_for_another_payee(world: World) -> None:
    await sell(world, 900, "mer:child")
    request = ClearSales(merchant_id="mer:child", amount_minor=900, payee_id="mer:parent")
    assert (await world.payments.clear_sales(request)).payee_id == "mer:parent"
    assert await world.balance("mer:parent", "settled_sales") == (900, 900)


# -- payouts ------------------------------------------------------------------------------------------------------


async def test_a_payout_under_an_id_of_the_callers_is_made_once(world: World) -> None:
    request = await cleared(world, 500)
    assert request.payout_id is not None
    made = await world.payments.pay_out(request)
    assert (made.payment_id, made.state) == (request.payout_id, S.IN_FLIGHT)
    for name in ("one", "another"):
        with key(name) as call:
            assert (await world.payments.pay_out(request)).payment_id == request.payout_id
            assert call.replayed
    assert [each.amount_minor for each in world.bank.books.values()] == [500]
    for other in ({"amount_minor": 499}, {"merchant_id": "mer:other"}, {"pay_on": date(2030, 1, 4)}):
        with pytest.raises(KeyReused):
            await world.payments.pay_out(replace(request, **other))
    wrong = replace(request, payout_id=f"mfe_{new_hex()}")
    assert await code_of(world.payments.pay_out(wrong)) == "malformed_id"


async def test_a_payout_that_was_refused_stays_so_under_its_id(world: World) -> None:
    request = replace(await cleared(world, 500), amount_minor=501)
    assert await code_of(world.payments.pay_out(request)) == "insufficient_funds"
    await sell(world, 1)
    await world.payments.clear_sales(ClearSales(merchant_id="mer:shop", amount_minor=1))
    assert await code_of(world.payments.pay_out(request)) == "insufficient_funds"
    assert (await told_of_payments(world))[-1].type == "payment.clearing.captured"


async def test_processes_that_make_the_same_payout_at_once_make_one(world: World) -> None:
    request = await cleared(world, 500)
    async with another_process(world) as other:
        made = await asyncio.gather(*(each.pay_out(request) for each in (world.payments, other, world.payments)))
    assert {each.payment_id for each in made} == {request.payout_id}
    assert [each.amount_minor for each in world.bank.books.values()] == [500]


async def test_the_bank_is_told_the_day_of_a_payout(world: World) -> None:
    request = replace(await cleared(world, 500), pay_on=date(2030, 1, 31))
    made = await world.payments.pay_out(request)
    await world.payments.pay_out(await cleared(world, 100))
    assert world.bank.days == [date(2030, 1, 31), None]
    stored = await world.payments.get_payment(GetPayment(payment_id=made.payment_id))
    assert stored.pay_on == date(2030, 1, 31)
