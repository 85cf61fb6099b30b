"""Every kind of payment from its beginning to its end; each world is proved afterwards."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from importlib import resources
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.apps.verify import verify
from kessai.foundation.config import Settings, read_toml
from kessai.foundation.contract import Message
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.identity.api import content_digest
from kessai.services.ledger.api import GetExchange, ListLots, OpenAccount, account_id_of
from kessai.services.payment import store
from kessai.services.payment.api import (
    Adjust,
    CancelEscrow,
    CancelPayment,
    CaptureEscrow,
    CapturePayment,
    ChargeMerchantFee,
    ClearSales,
    CompletePayment,
    CreateCharge,
    CreateEscrow,
    CreatePayment,
    Direction,
    ExchangeFunds,
    Funding,
    FundingSource,
    GetHistory,
    GetPayment,
    GrantIncentive,
    NextActionType,
    PaymentRecord,
    PaymentState,
    PayOut,
    PointsUse,
    RefundCharge,
    RefundEscrow,
    RefundPayment,
    Repay,
    TopUp,
    Transfer,
    Withdraw,
)
from kessai.services.payment.domain.kinds import read_kinds
from kessai.services.payment.jobs import expire_authorizations
from tests.payment.test_service import code_of
from tests.payment.world import World, opened

S = PaymentState
MARKET = "mer:market"
CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
FEE = 200


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


async def now_of(world: World, payment: PaymentRecord) -> PaymentRecord:
    """As it is stored."""
    return await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))


# -- charges: order and credit ----------------------------------------------------------------------------------


async def test_the_default_order_skips_accounts_that_the_customer_does_not_have(world: World) -> None:
    customer = f"cus:{new_hex()}"
    await world.grant(customer, 100)
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=80, capture=True)
    paid = await world.payments.create_charge(request)
    assert paid.funding == [Funding(source="free_points", amount_minor=80)]
    assert await code_of(world.payments.create_charge(request)) == "insufficient_funds"


@pytest.mark.parametrize(
    ("points", "gives"),
    [
        (PointsUse.FIRST, {"free_points": 30, "funds": 20}),
        (PointsUse.LAST, {"funds": 50}),
        (PointsUse.NONE, {"funds": 50}),
    ],
)
async def test_points_come_where_the_request_wants_them(world: World, points: PointsUse, gives: dict[str, int]) -> None:
    customer = await world.customer(funds=100, free_points=30)
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=50, points=points, capture=True)
    paid = await world.payments.create_charge(request)
    assert {each.source: each.amount_minor for each in paid.funding} == gives


async def test_credit_makes_a_receivable_that_repayment_reduces(world: World) -> None:
    customer = await world.customer(funds=300)
    await world.credit_line(customer, 1_000)
    sources = [FundingSource(source="funds"), FundingSource(source="credit")]
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=1_000, sources=sources)
    held = await world.payments.create_charge(request)
    assert await world.balance(customer, "credit") == (0, 300)
    await world.payments.capture_payment(CapturePayment(payment_id=held.payment_id, amount_minor=500))
    assert await world.balance(customer, "credit") == (-200, 800)
    assert await world.balance(customer, "receivable") == (200, 200)
    assert await world.sales() == 500
    await world.payments.top_up(TopUp(customer_id=customer, source="bank_deposit", amount_minor=1_000))
    assert await code_of(world.payments.repay(Repay(customer_id=customer, amount_minor=201))) == "insufficient_funds"
    repaid = await world.payments.repay(Repay(customer_id=customer, amount_minor=150))
    assert repaid.state is S.CAPTURED
    assert await world.balance(customer, "credit") == (-50, 950)
    assert await world.balance(customer, "receivable") == (50, 50)
    assert await world.balance(customer) == (850, 850)


async def test_credit_alone_pays_in_parts_and_is_given_back(world: World) -> None:
    customer = await world.customer()
    await world.credit_line(customer, 500)
    source = [FundingSource(source="credit")]
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=400, sources=source, capture=True)
    paid = await world.payments.create_charge(request)
    await world.payments.refund_charge(RefundCharge(charge_id=paid.payment_id, amount_minor=150))
    assert await world.balance(customer, "receivable") == (250, 250)
    assert await world.balance(customer, "credit") == (-250, 250)
    assert await code_of(world.payments.create_charge(replace(request, amount_minor=251))) == "insufficient_funds"


# -- escrow -----------------------------------------------------------------------------------------------------


async def escrow(world: World, buyer: str, seller: str, amount: int, *sources: str | FundingSource) -> PaymentRecord:
    """Money parked in the marketplace's account."""
    named = [FundingSource(source=each) if isinstance(each, str) else each for each in sources]
    return await world.payments.create_escrow(
        CreateEscrow(customer_id=buyer, marketplace_id=MARKET, seller_id=seller, amount_minor=amount, sources=named)
    )


async def test_an_escrow_pays_the_seller_less_the_marketplaces_fee(world: World) -> None:
    buyer, seller = await world.customer(funds=1_000, free_points=100), await world.customer()
    parked = await escrow(world, buyer, seller, 1_000, "free_points", "funds")
    assert parked.state is S.AUTHORIZED
    assert await world.sales(MARKET) == 1_000
    paid = await world.payments.capture_escrow(
        CaptureEscrow(escrow_id=parked.payment_id, amount_minor=600, fee_minor=60, final=False)
    )
    assert (paid.state, paid.fee_minor) == (S.PARTIALLY_CAPTURED, 60)
    done = await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id, fee_minor=40))
    assert (done.state, done.captured_minor, done.fee_minor) == (S.CAPTURED, 1_000, 100)
    assert await world.sales(MARKET) == 100
    assert await world.balance(seller, "sales") == (900, 900)
    steps = (await world.payments.get_history(GetHistory(payment_id=parked.payment_id))).steps
    assert [(step.fee_minor, step.exchange_id is not None) for step in steps[2:]] == [(60, True), (40, True)]


async def test_a_fee_that_is_the_whole_amount_pays_the_seller_nothing(world: World) -> None:
    buyer, seller = await world.customer(funds=10), await world.customer()
    parked = await escrow(world, buyer, seller, 10, "funds")
    above = CaptureEscrow(escrow_id=parked.payment_id, fee_minor=11)
    assert await code_of(world.payments.capture_escrow(above)) == "fee_above_amount"
    await world.payments.capture_escrow(replace(above, fee_minor=10))
    assert await world.sales(MARKET) == 10


async def test_a_canceled_escrow_goes_back_to_the_sources_of_the_buyer(world: World) -> None:
    buyer, seller = await world.customer(funds=400, free_points=100), await world.customer()
    parked = await escrow(world, buyer, seller, 1_000, "free_points", "funds", CARD)
    assert world.cards.taken == 500
    canceled = await world.payments.cancel_escrow(CancelEscrow(escrow_id=parked.payment_id))
    assert (canceled.state, world.cards.taken) == (S.CANCELED, 0)
    assert await world.balance(buyer) == (400, 400)
    assert await world.balance(buyer, "free_points") == (100, 100)
    assert await world.sales(MARKET) == 0


async def test_the_last_capture_of_an_escrow_gives_the_rest_back(world: World) -> None:
    buyer, seller = await world.customer(funds=400), await world.customer()
    parked = await escrow(world, buyer, seller, 1_000, "funds", CARD)
    done = await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id, amount_minor=300))
    assert (done.state, done.captured_minor) == (S.CAPTURED, 300)
    assert (world.cards.taken, await world.balance(buyer)) == (0, (100, 100))
    assert await world.balance(seller, "sales") == (300, 300)


async def test_an_escrow_that_nobody_captures_goes_back_in_time(world: World) -> None:
    buyer, seller = await world.customer(funds=400), await world.customer()
    parked = await escrow(world, buyer, seller, 400, "funds")
    world.pass_days(31)
    assert await expire_authorizations(world.payments) == 1
    assert (await now_of(world, parked)).state is S.EXPIRED
    assert await world.balance(buyer) == (400, 400)


async def test_a_refund_of_an_escrow_takes_from_seller_and_marketplace_in_proportion(world: World) -> None:
    buyer, seller = await world.customer(funds=400), await world.customer()
    parked = await escrow(world, buyer, seller, 1_000, "funds", CARD)
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id, fee_minor=101))
    for amount, seller_has, taken in ((333, 599, 267), (667, 0, 0)):
        await world.payments.refund_escrow(RefundEscrow(escrow_id=parked.payment_id, amount_minor=amount))
        assert await world.balance(seller, "sales") == (seller_has, seller_has)
        assert world.cards.taken == taken
    assert (await world.balance(buyer), await world.sales(MARKET)) == ((400, 400), 0)


async def test_a_seller_who_has_spent_the_money_cannot_be_refunded_from(world: World) -> None:
    buyer, seller = await world.customer(funds=400), await world.customer()
    parked = await escrow(world, buyer, seller, 400, "funds")
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id))
    spend = CreateCharge(
        customer_id=seller,
        merchant_id="mer:shop",
        amount_minor=300,
        sources=[FundingSource(source="sales")],
        capture=True,
    )
    await world.payments.create_charge(spend)
    refund = RefundEscrow(escrow_id=parked.payment_id)
    assert await code_of(world.payments.refund_escrow(refund)) == "insufficient_funds"
    assert await world.balance(buyer) == (0, 0)


async def test_a_card_that_refuses_a_refund_gives_the_seller_the_money_again(world: World) -> None:
    buyer, seller = await world.customer(), await world.customer()
    parked = await escrow(world, buyer, seller, 400, CARD)
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id, fee_minor=40))
    world.cards.fail("refund", "gateway_refused")
    refund = RefundEscrow(escrow_id=parked.payment_id)
    assert await code_of(world.payments.refund_escrow(refund)) == "gateway_refused"
    assert await world.balance(seller, "sales") == (360, 360)
    assert (await world.sales(MARKET), world.cards.taken) == (40, 400)


# -- top-ups ----------------------------------------------------------------------------------------------------


async def test_a_bank_debit_waits_for_the_bank(world: World) -> None:
    customer = await world.customer()
    request = TopUp(
        customer_id=customer, source="bank_debit", amount_minor=900, instrument_id=world.bank.account_of(customer)
    )
    payment = await world.payments.top_up(request)
    assert payment.state is S.REQUIRES_ACTION
    assert payment.next_action is not None
    assert payment.next_action.type is NextActionType.WAIT_FOR_BANK
    complete = CompletePayment(payment_id=payment.payment_id)
    assert await code_of(world.payments.complete_payment(complete)) == "action_pending"
    assert (
        await code_of(world.payments.cancel_payment(CancelPayment(payment_id=payment.payment_id))) == "waiting_for_bank"
    )
    assert await world.balance(customer) == (0, 0)
    world.bank.answers(InstructionState.DONE)
    assert await world.payments.hear_from_bank(payment.payment_id)
    assert (await now_of(world, payment)).state is S.CAPTURED
    assert await world.balance(customer) == (900, 900)
    assert await world.balance("internal:bank", "bank_in_transit") == (-900, -900)
    assert not await world.payments.hear_from_bank(payment.payment_id)


async def test_a_bank_debit_that_fails_is_refused_with_the_banks_reason(world: World) -> None:
    customer = await world.customer()
    request = TopUp(
        customer_id=customer, source="bank_debit", amount_minor=900, instrument_id=world.bank.account_of(customer)
    )
    payment = await world.payments.top_up(request)
    world.bank.answers(InstructionState.FAILED, FailureCode.INSUFFICIENT_FUNDS)
    assert await world.payments.hear_from_bank(payment.payment_id)
    failed = await now_of(world, payment)
    assert (failed.state, failed.refusal_code) == (S.REFUSED, "insufficient_funds")
    assert await world.balance(customer) == (0, 0)


async def test_another_customers_bank_account_is_not_debited(world: World) -> None:
    customer, other = await world.customer(), await world.customer()
    request = TopUp(
        customer_id=customer, source="bank_debit", amount_minor=900, instrument_id=world.bank.account_of(other)
    )
    assert await code_of(world.payments.top_up(request)) == "bank_account_of_another"
    assert world.bank.books == {}


async def test_cash_is_paid_later_under_a_number(world: World) -> None:
    customer = await world.customer()
    request = TopUp(customer_id=customer, source="store_payment", amount_minor=5_000)
    payment = await world.payments.top_up(request)
    assert payment.next_action is not None
    assert payment.next_action.code is not None
    assert len(payment.next_action.code) == 13
    done = await world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    assert done.state is S.CAPTURED
    assert await world.balance(customer) == (5_000, 5_000)


async def test_cash_that_nobody_pays_lapses_or_is_canceled(world: World) -> None:
    customer = await world.customer()
    request = TopUp(customer_id=customer, source="atm_payment", amount_minor=5_000)
    lapsing, canceled = await world.payments.top_up(request), await world.payments.top_up(request)
    await world.payments.cancel_payment(CancelPayment(payment_id=canceled.payment_id))
    world.pass_days(0.1)
    assert await expire_authorizations(world.payments) == 1
    assert (await now_of(world, lapsing)).state is S.EXPIRED
    assert (await now_of(world, canceled)).state is S.CANCELED
    assert await world.balance(customer) == (0, 0)


async def test_two_kinds_at_the_same_instant_cannot_pass_the_retention_cap_together(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, other = await world.customer(funds=600_000), world.another_process()
    await world.ledger.open_account(OpenAccount(owner=customer, account_type="trading_funds"))
    into = ExchangeFunds(customer_id=customer, direction=Direction.IN, amount_minor=600_000,
                         sources=[FundingSource(source="funds")])  # fmt: skip
    await world.payments.exchange(into)
    pending_for, both_have_read, reads = store.pending_for, asyncio.Barrier(2), count(1)

    async def read_together(*arguments: Any) -> Any:
        found = await pending_for(*arguments)
        if next(reads) <= 2:
            await both_have_read.wait()
        return found

    monkeypatch.setattr(store, "pending_for", read_together)
    await other.open()
    out = ExchangeFunds(customer_id=customer, direction=Direction.OUT, amount_minor=600_000, capture=False)
    top_up = TopUp(customer_id=customer, source="store_payment", amount_minor=600_000)
    made = await asyncio.gather(world.payments.exchange(out), other.top_up(top_up), return_exceptions=True)
    await other.close()
    refused = [each for each in made if isinstance(each, PaymentError)]
    assert [each.code in ("payment_busy", "pending_above_cap") for each in refused] == [True]
    again = world.payments.exchange(out) if isinstance(made[0], PaymentError) else world.payments.top_up(top_up)
    assert await code_of(again) == "pending_above_cap"


async def test_what_is_still_to_come_counts_towards_the_retention_cap(world: World) -> None:
    customer = await world.customer(funds=400_000)
    request = TopUp(customer_id=customer, source="store_payment", amount_minor=300_000)
    waiting = [await world.payments.top_up(request) for _ in range(2)]
    assert await code_of(world.payments.top_up(request)) == "pending_above_cap"
    await world.payments.cancel_payment(CancelPayment(payment_id=waiting[0].payment_id))
    await world.payments.top_up(request)


# -- withdrawals and payouts ------------------------------------------------------------------------------------


async def withdrawn(world: World, customer: str, amount: int) -> PaymentRecord:
    """On its way to the customer's own bank account."""
    account_id = world.bank.account_of(customer)
    return await world.payments.withdraw(
        Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=amount)
    )


async def test_a_withdrawal_is_in_flight_until_the_bank_says_so(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await withdrawn(world, customer, 700)
    assert (payment.state, payment.fee_minor) == (S.IN_FLIGHT, FEE)
    assert await world.balance(customer) == (1_000, 100)
    assert not await world.payments.hear_from_bank(payment.payment_id)
    world.bank.answers(InstructionState.DONE)
    assert await world.payments.hear_from_bank(payment.payment_id)
    assert (await now_of(world, payment)).state is S.CAPTURED
    assert await world.balance(customer) == (100, 100)
    assert await world.balance("internal:bank", "bank_in_transit") == (700, 700)
    assert await world.balance("internal:withdrawal_fee", "fee_income") == (FEE, FEE)


async def test_a_withdrawal_that_the_bank_refuses_never_left(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await withdrawn(world, customer, 700)
    world.bank.answers(InstructionState.FAILED, FailureCode.NO_ACCOUNT)
    assert await world.payments.hear_from_bank(payment.payment_id)
    failed = await now_of(world, payment)
    assert (failed.state, failed.refusal_code) == (S.REFUSED, "no_account")
    assert await world.balance(customer) == (1_000, 1_000)


@pytest.mark.parametrize("told_before", [True, False])
async def test_a_withdrawal_that_comes_back_is_returned_less_its_fee(world: World, *, told_before: bool) -> None:
    customer = await world.customer(funds=1_000)
    payment = await withdrawn(world, customer, 700)
    if told_before:
        world.bank.answers(InstructionState.DONE)
        assert await world.payments.hear_from_bank(payment.payment_id)
    world.bank.answers(InstructionState.RETURNED, FailureCode.ACCOUNT_CLOSED)
    assert await world.payments.hear_from_bank(payment.payment_id)
    assert (await now_of(world, payment)).state is S.RETURNED
    assert await world.balance(customer) == (800, 800)
    assert not await world.payments.hear_from_bank(payment.payment_id)


async def test_a_withdrawal_needs_its_fee_too(world: World) -> None:
    customer = await world.customer(funds=1_000)
    assert await code_of(withdrawn(world, customer, 801)) == "insufficient_funds"
    assert world.bank.books == {}


async def test_a_lost_answer_of_the_bank_sends_the_money_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.bank.fail("transfer", "after", "lost")
    payment = await withdrawn(world, customer, 700)
    assert payment.state is S.IN_FLIGHT
    assert [each.amount_minor for each in world.bank.books.values()] == [700]


async def test_sales_are_cleared_and_paid_out(world: World) -> None:
    customer, merchant = await world.customer(funds=1_000), "mer:shop"
    await world.charge(customer, 1_000, capture=True)
    fee = await world.payments.charge_merchant_fee(ChargeMerchantFee(merchant_id=merchant, amount_minor=30))
    assert fee.state is S.CAPTURED
    await world.payments.refund_payment(RefundPayment(payment_id=fee.payment_id, amount_minor=10))
    await world.payments.clear_sales(ClearSales(merchant_id=merchant, amount_minor=980))
    assert (await world.sales(), await world.balance(merchant, "settled_sales")) == (0, (980, 980))
    request = PayOut(merchant_id=merchant, bank_account_id=world.bank.account_of(merchant), amount_minor=980)
    payout = await world.payments.pay_out(request)
    world.bank.answers(InstructionState.DONE)
    world.pass_days(1)
    assert await world.payments.look_after_waiting() == 1
    assert (await now_of(world, payout)).state is S.CAPTURED
    assert await world.balance(merchant, "settled_sales") == (0, 0)


# -- the rest ---------------------------------------------------------------------------------------------------


async def test_a_repayment_by_bank_or_in_cash_reduces_the_receivable_when_it_arrives(world: World) -> None:
    customer = await world.customer()
    await world.credit_line(customer, 1_000)
    source = [FundingSource(source="credit")]
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=900, sources=source, capture=True)
    await world.payments.create_charge(request)
    by_bank = Repay(
        customer_id=customer, amount_minor=500, source="bank_debit", instrument_id=world.bank.account_of(customer)
    )
    waiting = await world.payments.repay(by_bank)
    in_cash = await world.payments.repay(Repay(customer_id=customer, amount_minor=400, source="store_payment"))
    too_much = world.payments.repay(Repay(customer_id=customer, amount_minor=1, source="store_payment"))
    assert await code_of(too_much) == "insufficient_funds"
    assert await world.balance(customer, "receivable") == (900, 0)
    await world.payments.complete_payment(CompletePayment(payment_id=in_cash.payment_id))
    world.bank.answers(InstructionState.DONE)
    assert await world.payments.hear_from_bank(waiting.payment_id)
    assert await world.balance(customer, "receivable") == (0, 0)
    assert await world.balance(customer, "credit") == (0, 1_000)


async def test_value_moves_into_and_out_of_a_trading_account(world: World) -> None:
    customer = await world.customer(funds=600, free_points=100)
    await world.ledger.open_account(OpenAccount(owner=customer, account_type="trading_funds"))
    named = [FundingSource(source="free_points"), FundingSource(source="funds")]
    request = ExchangeFunds(customer_id=customer, direction=Direction.IN, amount_minor=500, sources=named)
    provisional = await world.payments.exchange(replace(request, capture=False))
    assert (provisional.state, await world.balance(customer)) == (S.AUTHORIZED, (600, 200))
    await world.payments.capture_payment(CapturePayment(payment_id=provisional.payment_id))
    assert await world.balance(customer, "trading_funds") == (500, 500)
    back = await world.payments.exchange(ExchangeFunds(customer_id=customer, direction=Direction.OUT, amount_minor=300))
    assert back.state is S.CAPTURED
    assert await world.balance(customer) == (500, 500)


async def test_provisional_holds_together_stay_below_the_retention_cap(world: World) -> None:
    customer = await world.customer(funds=500_000)
    await world.ledger.open_account(OpenAccount(owner=customer, account_type="trading_funds"))
    into = ExchangeFunds(customer_id=customer, direction=Direction.IN, amount_minor=500_000)
    await world.payments.exchange(replace(into, sources=[FundingSource(source="funds")]))
    await world.payments.top_up(TopUp(customer_id=customer, source="bank_deposit", amount_minor=600_000))
    out = ExchangeFunds(customer_id=customer, direction=Direction.OUT, amount_minor=200_000, capture=False)
    held = [await world.payments.exchange(out) for _ in range(2)]
    assert await code_of(world.payments.exchange(replace(out, amount_minor=1))) == "pending_above_cap"
    for payment in held:
        await world.payments.capture_payment(CapturePayment(payment_id=payment.payment_id))
    assert await world.balance(customer) == (1_000_000, 1_000_000)


async def test_an_incentive_gives_points_with_their_own_expiry_and_can_be_taken_back(world: World) -> None:
    customer = await world.customer()
    until = world.clock.now() + timedelta(days=10)
    given = await world.payments.grant_incentive(
        GrantIncentive(customer_id=customer, amount_minor=100, points_expire_at=until)
    )
    (lot,) = (await world.ledger.list_lots(ListLots(account_id=account_id_of(customer, "free_points")))).lots
    assert (lot.remaining_minor, lot.expires_at) == (100, until)
    await world.payments.refund_payment(RefundPayment(payment_id=given.payment_id, amount_minor=40))
    assert await world.balance(customer, "free_points") == (60, 60)
    unknown = GrantIncentive(customer_id=customer, amount_minor=100, cost_bearer="nobody")
    assert await code_of(world.payments.grant_incentive(unknown)) == "unknown_source"


def approved(world: World, request: Adjust) -> Adjust:
    """The request, which a second person has approved."""
    world.approvals.approved[request.approval_id] = content_digest(request)
    return request


async def test_an_adjustment_needs_the_approval_of_this_very_content(world: World) -> None:
    customer = await world.customer(funds=50)
    request = Adjust(
        owner=customer,
        account_type="funds",
        direction=Direction.IN,
        amount_minor=100,
        approval_id=f"apv_{new_hex()}",
    )
    assert await code_of(world.payments.adjust(request)) == "approval_not_found"
    approved(world, request)
    assert await code_of(world.payments.adjust(replace(request, amount_minor=101))) == "approval_content_differs"
    adjusted = await world.payments.adjust(request)
    assert (adjusted.state, await world.balance(customer)) == (S.CAPTURED, (150, 150))
    assert await code_of(world.payments.adjust(request)) == "approval_consumed"
    down = replace(request, direction=Direction.OUT, amount_minor=30, approval_id=f"apv_{new_hex()}")
    await world.payments.adjust(approved(world, down))
    assert await world.balance(customer) == (120, 120)
    wrong = replace(request, account_type="credit", approval_id=f"apv_{new_hex()}")
    assert await code_of(world.payments.adjust(approved(world, wrong))) == "account_not_adjustable"


# -- kinds by configuration alone -------------------------------------------------------------------------------


DONATION = """
[kinds.donation]
name_ja = "寄付"
id_prefix = "don"
asset = "JPY"
payer = "customer"
payer_account_types = ["free_points", "funds"]
payee = "merchant"
payee_account_type = "unsettled_sales"
actions = ["create", "capture", "cancel", "refund", "expire"]
amount_minor_max = 100_000
refunds_max = 2
"""


async def test_a_kind_that_needs_nothing_new_is_added_by_configuration_alone(
    database: Database, tmp_path: Path
) -> None:
    own = resources.files("kessai.config").joinpath("payment_kinds.toml").read_text(encoding="utf-8")
    file = tmp_path / "payment_kinds.toml"
    file.write_text(own + DONATION, encoding="utf-8")
    async with opened(database, kinds=read_kinds(read_toml(file))) as world:
        customer = await world.customer(funds=500, free_points=50)
        request = CreatePayment(
            kind="donation", payer_id=customer, payee_id="mer:temple", amount_minor=300, capture=False
        )
        given = await world.payments.create_payment(request)
        assert (given.state, given.payment_id[:4]) == (S.AUTHORIZED, "don_")
        await world.payments.capture_payment(CapturePayment(payment_id=given.payment_id))
        refund = await world.payments.refund_payment(RefundPayment(payment_id=given.payment_id, amount_minor=270))
        assert refund.amount_minor == 270
        assert await world.balance(customer) == (500, 500)
        assert await world.balance(customer, "free_points") == (20, 20)
        assert await world.sales("mer:temple") == 30
    assert await verify(database.dsn, Settings(payment_kinds=str(file))) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"kind": "barter"}, "unknown_kind"),
        ({"kind": "charge"}, "kind_has_own_verb"),
        ({"kind": "payout"}, "kind_has_own_verb"),
        ({"kind": "merchant_fee"}, "participant_missing"),
        ({"kind": "clearing", "payer_id": "mer:1"}, "participant_missing"),
        ({"kind": "clearing", "payer_id": "mer:1", "payee_id": "mer:1", "capture": False}, "action_not_allowed"),
    ],
)
async def test_what_the_verb_for_any_kind_cannot_make_is_refused(
    world: World, wrong: dict[str, object], code: str
) -> None:
    request = CreatePayment(**{"amount_minor": 1, **wrong})  # pyright: ignore[reportArgumentType]
    assert await code_of(world.payments.create_payment(request)) == code


# -- limits -----------------------------------------------------------------------------------------------------


async def test_a_customers_limits_are_counted_by_day_and_month_in_japan(world: World) -> None:
    alice, bob = await world.customer(funds=1_000_000), await world.customer()
    await world.payments.transfer(Transfer(customer_id=alice, recipient_id=bob, amount_minor=600_000))
    over = Transfer(customer_id=alice, recipient_id=bob, amount_minor=400_001)
    assert await code_of(world.payments.transfer(over)) == "daily_limit_exceeded"
    back = Transfer(customer_id=bob, recipient_id=alice, amount_minor=600_000)
    await world.payments.transfer(back)  # what Bob received does not count as sent
    world.pass_days(1)
    await world.payments.transfer(replace(over, amount_minor=500_000))


async def test_what_came_to_nothing_does_not_count(world: World) -> None:
    alice, bob = await world.customer(funds=10), await world.customer()
    too_much = Transfer(customer_id=alice, recipient_id=bob, amount_minor=900_000)
    assert await code_of(world.payments.transfer(too_much)) == "insufficient_funds"
    await world.payments.top_up(TopUp(customer_id=alice, source="bank_deposit", amount_minor=900_000))
    await world.payments.transfer(too_much)


async def test_two_processes_cannot_pass_a_limit_together(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        alice, bob = await world.customer(funds=1_000_000), await world.customer()
        outcomes: list[object] = []
        for turn in range(6):
            service = (world.payments, other)[turn % 2]
            request: Message = Transfer(customer_id=alice, recipient_id=bob, amount_minor=190_000)
            try:
                outcomes.append((await service.transfer(request)).state)
            except PaymentError as error:
                outcomes.append(error.code)
            await world.payments.transfer(Transfer(customer_id=bob, recipient_id=alice, amount_minor=1))
        assert outcomes == [S.CAPTURED] * 5 + ["daily_limit_exceeded"]
    finally:
        await other.close()


async def test_the_legs_of_a_payment_with_somebody_outside_are_one_exchange(world: World) -> None:
    customer = await world.customer(funds=300)
    request = CreateCharge(
        customer_id=customer,
        merchant_id="mer:shop",
        amount_minor=1_000,
        sources=[FundingSource(source="funds"), CARD],
    )
    payment = await world.payments.create_charge(request)
    exchange = await world.ledger.get_exchange(GetExchange(exchange_id=payment.exchange_id))
    assert [leg.amount_minor for leg in exchange.legs] == [-300, -700, 1_000]
    assert exchange.expires_at is not None
    assert payment.expires_at is not None
    assert exchange.expires_at > payment.expires_at
