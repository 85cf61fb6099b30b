"""Charges, top-ups and transfers against the real ledger."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from kessai.foundation.errors import PaymentError, Refused
from kessai.services.ledger.api import Freeze, FreezeAccount, ListLots, account_id_of
from kessai.services.payment.api import (
    Action,
    CancelCharge,
    CaptureCharge,
    CreateCharge,
    Funding,
    FundingSource,
    GetHistory,
    GetPayment,
    GetRefund,
    ListPayments,
    ListRefunds,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    RefundState,
    TopUp,
    Transfer,
)
from kessai.services.payment.jobs import expire_authorizations
from tests.payment.world import World


async def code_of(work: object) -> str:
    with pytest.raises(PaymentError) as error:
        await work  # pyright: ignore[reportGeneralTypeIssues]
    return error.value.code


def capture(payment: PaymentRecord, amount: int | None = None, *, final: bool = True) -> CaptureCharge:
    return CaptureCharge(charge_id=payment.payment_id, amount_minor=amount, final=final)


def refund(payment: PaymentRecord, amount: int | None = None) -> RefundCharge:
    return RefundCharge(charge_id=payment.payment_id, amount_minor=amount)


# -- the good days ----------------------------------------------------------------------------------------------


async def test_a_top_up_adds_to_the_customers_funds(world: World) -> None:
    customer = await world.customer()
    payment = await world.payments.top_up(
        TopUp(customer_id=customer, source="convenience_store", amount_minor=5_000, reference="slip 7")
    )
    assert (payment.state, payment.captured_minor, payment.payer_id) == (
        PaymentState.CAPTURED,
        5_000,
        "internal:convenience_store",
    )
    assert await world.balance(customer) == (5_000, 5_000)
    assert await world.balance("internal:convenience_store", "deposit") == (-5_000, -5_000)


async def test_a_charge_holds_its_sources_until_it_is_captured(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 700)
    assert payment.state is PaymentState.AUTHORIZED
    assert payment.payment_id.startswith("chg_")
    assert await world.balance(customer) == (1_000, 300)
    captured = await world.payments.capture_charge(capture(payment))
    assert (captured.state, captured.captured_minor) == (PaymentState.CAPTURED, 700)
    assert await world.balance(customer) == (300, 300)
    assert await world.sales() == 700


async def test_sources_give_in_the_customers_order_up_to_their_maximum(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=400)
    payment = await world.payments.create_charge(
        CreateCharge(
            customer_id=customer,
            merchant_id="mer:shop",
            amount_minor=1_000,
            sources=[FundingSource(source="free_points", max_amount_minor=300), FundingSource(source="funds")],
        )
    )
    assert payment.funding == [
        Funding(source="free_points", amount_minor=300),
        Funding(source="funds", amount_minor=700),
    ]
    assert await world.balance(customer, "free_points") == (400, 100)
    assert await world.balance(customer) == (1_000, 300)


async def test_a_source_with_nothing_in_it_gives_nothing(world: World) -> None:
    customer = await world.customer(funds=500, free_points=20)
    payment = await world.charge(customer, 500, "free_points", "funds")
    assert payment.funding == [
        Funding(source="free_points", amount_minor=20),
        Funding(source="funds", amount_minor=480),
    ]


async def test_who_never_had_points_pays_from_the_other_sources(world: World) -> None:
    customer = await world.customer(funds=500)
    payment = await world.payments.create_charge(
        CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=500)
    )
    assert payment.funding == [Funding(source="funds", amount_minor=500)]


async def test_a_sale_at_once_needs_no_capture(world: World) -> None:
    customer = await world.customer(funds=500)
    payment = await world.charge(customer, 500, capture=True)
    assert (payment.state, payment.captured_minor, payment.expires_at) == (PaymentState.CAPTURED, 500, None)
    assert await world.sales() == 500


async def test_captures_in_parts_add_up_and_the_last_releases_the_rest(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 1_000)
    first = await world.payments.capture_charge(capture(payment, 300, final=False))
    assert (first.state, first.captured_minor) == (PaymentState.PARTIALLY_CAPTURED, 300)
    assert await world.balance(customer) == (700, 0)
    last = await world.payments.capture_charge(capture(payment, 200))
    assert (last.state, last.captured_minor, last.captures) == (PaymentState.CAPTURED, 500, 2)
    assert await world.balance(customer) == (500, 500)
    assert await world.sales() == 500


async def test_a_canceled_charge_releases_what_it_held(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 700)
    canceled = await world.payments.cancel_charge(CancelCharge(charge_id=payment.payment_id))
    assert canceled.state is PaymentState.CANCELED
    assert await world.balance(customer) == (1_000, 1_000)


async def test_canceling_after_a_part_keeps_the_part_and_releases_the_rest(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 700)
    await world.payments.capture_charge(capture(payment, 200, final=False))
    canceled = await world.payments.cancel_charge(CancelCharge(charge_id=payment.payment_id))
    assert (canceled.state, canceled.captured_minor) == (PaymentState.CAPTURED, 200)
    assert await world.balance(customer) == (800, 800)


async def test_refunds_give_back_to_the_sources_with_the_lots_own_expiry(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=300)
    points = ListLots(account_id=account_id_of(customer, "free_points"), include_empty=True)
    before = (await world.ledger.list_lots(points)).lots
    payment = await world.charge(customer, 1_000, "free_points", "funds", capture=True)
    world.pass_days(30)
    part = await world.payments.refund_charge(refund(payment, 400))
    assert (part.state, part.amount_minor) == (RefundState.SUCCEEDED, 400)
    rest = await world.payments.refund_charge(refund(payment))
    assert rest.amount_minor == 600
    assert await world.balance(customer) == (1_000, 1_000)
    assert (await world.ledger.list_lots(points)).lots == before
    assert await world.sales() == 0
    found = await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))
    assert (found.state, found.refunded_minor, found.refunds) == (PaymentState.CAPTURED, 1_000, 2)
    listed = await world.payments.list_refunds(ListRefunds(payment_id=payment.payment_id))
    assert [each.refund_id for each in listed.refunds] == [part.refund_id, rest.refund_id]
    assert await world.payments.get_refund(GetRefund(refund_id=part.refund_id)) == part


async def test_a_transfer_moves_funds_between_customers(world: World) -> None:
    alice, bob = await world.customer(funds=900), await world.customer()
    payment = await world.payments.transfer(Transfer(customer_id=alice, recipient_id=bob, amount_minor=400))
    assert payment.state is PaymentState.CAPTURED
    assert (await world.balance(alice), await world.balance(bob)) == ((500, 500), (400, 400))


# -- looking ----------------------------------------------------------------------------------------------------


async def test_what_is_stored_is_what_was_answered(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=10)
    payment = await world.charge(
        customer, 700, "free_points", "funds", reference="order 1", description="tea", metadata={"till": "3"}
    )
    assert await world.payments.get_payment(GetPayment(payment_id=payment.payment_id)) == payment


async def test_the_history_tells_every_step_with_its_time(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 700)
    world.pass_days(1)
    await world.payments.capture_charge(capture(payment, 500))
    await world.payments.refund_charge(refund(payment, 100))
    history = await world.payments.get_history(GetHistory(payment_id=payment.payment_id))
    told = [(step.sequence, step.action, step.state, step.amount_minor) for step in history.steps]
    assert told == [
        (0, Action.CREATE, PaymentState.PENDING, 700),
        (1, Action.AUTHORIZE, PaymentState.AUTHORIZED, 700),
        (2, Action.CAPTURE, PaymentState.CAPTURED, 500),
        (3, Action.REFUND, PaymentState.CAPTURED, 100),
    ]
    assert history.steps[2].recorded_at - history.steps[1].recorded_at >= timedelta(days=1)


async def test_payments_are_listed_newest_first_by_pages_for_both_sides(world: World) -> None:
    alice, bob = await world.customer(funds=1_000), await world.customer()
    made = [await world.charge(alice, 10) for _ in range(3)]
    sent = await world.payments.transfer(Transfer(customer_id=alice, recipient_id=bob, amount_minor=1))
    seen: list[str] = []
    cursor = None
    while True:
        page = await world.payments.list_payments(ListPayments(customer_id=alice, limit=2, cursor=cursor))
        seen += [each.payment_id for each in page.payments]
        if (cursor := page.next_cursor) is None:
            break
    assert seen[:4] == [sent.payment_id, *(each.payment_id for each in reversed(made))]
    assert seen[4].startswith("top_")
    received = await world.payments.list_payments(ListPayments(customer_id=bob))
    assert [each.payment_id for each in received.payments] == [sent.payment_id]
    assert await code_of(world.payments.list_payments(ListPayments(customer_id=bob, cursor="x"))) == "bad_cursor"


async def test_what_does_not_exist_is_not_found(world: World) -> None:
    missing = "chg_" + "0" * 32
    assert await code_of(world.payments.get_payment(GetPayment(payment_id=missing))) == "payment_not_found"
    assert await code_of(world.payments.get_history(GetHistory(payment_id=missing))) == "payment_not_found"
    assert await code_of(world.payments.get_refund(GetRefund(refund_id="rfn_" + "0" * 32))) == "refund_not_found"
    assert await code_of(world.payments.capture_charge(CaptureCharge(charge_id=missing))) == "charge_not_found"
    customer = await world.customer(funds=10)
    top_up = (await world.payments.list_payments(ListPayments(customer_id=customer))).payments[0]
    assert await code_of(world.payments.cancel_charge(CancelCharge(charge_id=top_up.payment_id))) == "charge_not_found"
    other_prefix = "chg_" + top_up.payment_id[4:]
    assert await code_of(world.payments.get_payment(GetPayment(payment_id=other_prefix))) == "payment_not_found"


# -- refusals ---------------------------------------------------------------------------------------------------


async def test_without_enough_in_its_sources_a_charge_is_refused_and_holds_nothing(world: World) -> None:
    customer = await world.customer(funds=100, free_points=20)
    for sources in (("funds",), ("free_points", "funds")):
        with pytest.raises(Refused) as error:
            await world.charge(customer, 121, *sources)
        assert error.value.code == "insufficient_funds"
        refused = await world.payments.get_payment(GetPayment(payment_id=str(error.value.details["payment_id"])))
        assert (refused.state, refused.refusal_code) == (PaymentState.REFUSED, "insufficient_funds")
        assert await code_of(world.payments.capture_charge(capture(refused))) == "charge_not_authorized"
    assert await world.balance(customer) == (100, 100)
    assert await world.balance(customer, "free_points") == (20, 20)


async def test_a_top_up_above_the_retention_cap_is_refused(world: World) -> None:
    customer = await world.customer(funds=999_999)
    work = world.payments.top_up(TopUp(customer_id=customer, source="bank_deposit", amount_minor=2))
    assert await code_of(work) == "retention_cap_exceeded"


async def test_a_frozen_or_missing_account_refuses_the_payment(world: World) -> None:
    customer = await world.customer(funds=100)
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id_of(customer, "funds"), freeze=Freeze.OUT))
    assert await code_of(world.charge(customer, 1)) == "account_frozen"
    assert await code_of(world.charge("cus:nobody", 1)) == "account_not_found"


async def test_what_can_be_refused_beforehand_writes_nothing(world: World) -> None:
    alice = await world.customer()
    funds = [FundingSource(source="funds")]
    charges: dict[str, dict[str, Any]] = {
        "wrong_asset": {"asset": "BTC"},
        "amount_above_limit": {"amount_minor": 10_000_001},
        "unknown_source": {"sources": [FundingSource(source="gold")]},
        "duplicate_source": {"sources": funds * 2},
        "sources_below_amount": {"sources": [FundingSource(source="funds", max_amount_minor=9)]},
        "expires_without_authorization": {"capture": True, "expires_at": world.clock.now()},
        "expires_in_past": {"expires_at": world.clock.now()},
        "expires_too_late": {"expires_at": world.clock.now() + timedelta(days=61)},
    }
    for code, wrong in charges.items():
        request: dict[str, Any] = {
            "customer_id": alice,
            "merchant_id": "m",
            "amount_minor": 10,
            "sources": funds,
            **wrong,
        }
        assert await code_of(world.payments.create_charge(CreateCharge(**request))) == code
    top_up = TopUp(customer_id=alice, source="under_the_mattress", amount_minor=1)
    assert await code_of(world.payments.top_up(top_up)) == "unknown_source"
    top_up = TopUp(customer_id=alice, source="bank_deposit", amount_minor=1, asset="USD")
    assert await code_of(world.payments.top_up(top_up)) == "wrong_asset"
    transfer = Transfer(customer_id=alice, recipient_id=alice, amount_minor=1)
    assert await code_of(world.payments.transfer(transfer)) == "same_participant"
    assert (await world.payments.list_payments(ListPayments(customer_id=alice))).payments == []


async def test_actions_that_come_too_late_are_refused(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payments = world.payments
    captured = await payments.capture_charge(capture(await world.charge(customer, 100), 60))
    assert await code_of(payments.capture_charge(capture(captured, 1))) == "already_captured"
    assert await code_of(payments.cancel_charge(CancelCharge(charge_id=captured.payment_id))) == "already_captured"
    assert await code_of(payments.refund_charge(refund(captured, 61))) == "refund_above_captured"
    await payments.refund_charge(refund(captured))
    assert await code_of(payments.refund_charge(refund(captured))) == "refund_above_captured"
    canceled = await payments.cancel_charge(CancelCharge(charge_id=(await world.charge(customer, 100)).payment_id))
    assert await code_of(payments.capture_charge(capture(canceled))) == "charge_not_authorized"
    assert await code_of(payments.cancel_charge(CancelCharge(charge_id=canceled.payment_id))) == "already_canceled"
    assert await code_of(payments.refund_charge(refund(canceled))) == "charge_not_captured"
    held = await world.charge(customer, 100)
    assert await code_of(payments.capture_charge(capture(held, 101))) == "capture_above_authorized"
    assert await code_of(payments.refund_charge(refund(held))) == "charge_not_captured"


# -- time -------------------------------------------------------------------------------------------------------


async def test_an_authorization_lapses_and_releases_what_it_held(world: World) -> None:
    customer = await world.customer(funds=1_000)
    lapsing = await world.charge(customer, 300, expires_at=world.clock.now() + timedelta(days=1))
    partly = await world.charge(customer, 300)
    await world.payments.capture_charge(capture(partly, 100, final=False))
    staying = await world.charge(customer, 300, expires_at=world.clock.now() + timedelta(days=30))
    world.pass_days(8)
    assert await code_of(world.payments.capture_charge(capture(lapsing))) == "authorization_expired"
    assert await expire_authorizations(world.payments) == 2
    assert await expire_authorizations(world.payments) == 0
    states = [
        (await world.payments.get_payment(GetPayment(payment_id=each.payment_id))).state
        for each in (lapsing, partly, staying)
    ]
    assert states == [PaymentState.EXPIRED, PaymentState.CAPTURED, PaymentState.AUTHORIZED]
    assert await world.balance(customer) == (900, 600)
    cancel = world.payments.cancel_charge(CancelCharge(charge_id=lapsing.payment_id))
    assert await code_of(cancel) == "authorization_expired"


# -- at the same time -------------------------------------------------------------------------------------------


async def test_of_many_captures_at_once_exactly_one_takes_the_amount(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 600)
    outcomes = await asyncio.gather(
        *(world.payments.capture_charge(capture(payment)) for _ in range(8)), return_exceptions=True
    )
    codes = [each.code for each in outcomes if isinstance(each, PaymentError)]
    assert codes == ["already_captured"] * 7
    assert await world.sales() == 600


async def test_parts_captured_at_once_never_exceed_the_authorization(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 1_000)
    outcomes = await asyncio.gather(
        *(world.payments.capture_charge(capture(payment, 300, final=False)) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, PaymentRecord) for each in outcomes) == 3
    assert {each.code for each in outcomes if isinstance(each, PaymentError)} == {"capture_above_authorized"}
    assert await world.sales() == 900


async def test_a_process_with_a_stale_memory_decides_on_what_is_stored(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        customer = await world.customer(funds=1_000)
        payment = await world.charge(customer, 600)
        await other.capture_charge(capture(payment, 200, final=False))
        assert await code_of(world.payments.capture_charge(capture(payment, 500))) == "capture_above_authorized"
        await other.capture_charge(capture(payment))
        assert await code_of(world.payments.capture_charge(capture(payment))) == "already_captured"
        assert await world.sales() == 600
    finally:
        await other.close()


async def test_two_processes_never_capture_more_than_was_authorized(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        customer = await world.customer(funds=1_000)
        for _ in range(5):
            payment = await world.charge(customer, 100)
            outcomes = await asyncio.gather(
                *(each.capture_charge(capture(payment)) for each in (world.payments, other) * 2), return_exceptions=True
            )
            assert sum(isinstance(each, PaymentRecord) for each in outcomes) == 1
            codes = {each.code for each in outcomes if isinstance(each, PaymentError)}
            assert codes <= {"already_captured", "payment_busy"}
        assert await world.sales() == 500
    finally:
        await other.close()
