"""A card among a charge's sources: held inside and out, captured, given back, and every answer lost at every point."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex
from kessai.services.payment.api import (
    CancelCharge,
    CaptureCharge,
    CompletePayment,
    CreateCharge,
    Funding,
    FundingSource,
    GetPayment,
    NextActionType,
    PaymentRecord,
    PaymentState,
    RefundCharge,
)
from kessai.services.payment.jobs import expire_authorizations
from kessai.services.payment.service import desk
from kessai.services.payment.workflows import notes
from tests.payment.test_service import code_of
from tests.payment.world import World

CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
S = PaymentState


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are waited for a fifth of a second, and asked for again soon."""
    monkeypatch.setattr(notes, "ANSWER_S", 0.2)
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.05)
    monkeypatch.setattr(notes, "GIVE_UP_S", 0.5)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 1.5)


async def charged(world: World, customer: str, amount: int, *sources: Any, **more: Any) -> PaymentRecord:
    """A charge from named sources and the card."""
    named = [FundingSource(source=each) if isinstance(each, str) else each for each in sources]
    request = CreateCharge(
        customer_id=customer, merchant_id="mer:shop", amount_minor=amount, sources=[*named, CARD], **more
    )
    return await world.payments.create_charge(request)


async def owed_by_cards(world: World) -> int:
    """What the card companies owe, in our ledger."""
    return -(await world.balance("internal:card", "card_receivable"))[0]


async def state_of(world: World, payment: PaymentRecord) -> PaymentState:
    """As it is stored."""
    return (await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))).state


# -- the good days ----------------------------------------------------------------------------------------------


async def test_a_mixed_charge_takes_points_then_balance_then_the_card(world: World) -> None:
    customer = await world.customer(funds=200, free_points=300)
    payment = await charged(world, customer, 1_000, "free_points", "funds", capture=True)
    assert payment.state is S.CAPTURED
    assert payment.funding == [
        Funding(source="free_points", amount_minor=300),
        Funding(source="funds", amount_minor=200),
        Funding(source="card", amount_minor=500),
    ]
    assert (world.cards.taken, await owed_by_cards(world), await world.sales()) == (500, 500, 1_000)


async def test_a_card_that_would_give_less_than_its_minimum_gets_it_from_an_earlier_source(world: World) -> None:
    customer = await world.customer(funds=980)
    payment = await charged(world, customer, 1_000, "funds")
    assert payment.funding == [Funding(source="funds", amount_minor=950), Funding(source="card", amount_minor=50)]
    assert world.cards.held == 50


async def test_a_card_is_not_asked_when_the_other_sources_suffice(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await charged(world, customer, 1_000, "funds", capture=True)
    assert (payment.state, world.cards.calls) == (S.CAPTURED, [])


async def test_parts_are_captured_in_order_and_the_rest_is_released(world: World) -> None:
    customer = await world.customer(funds=300)
    payment = await charged(world, customer, 1_000, "funds")
    assert (payment.state, world.cards.held) == (S.AUTHORIZED, 700)
    part = await world.payments.capture_charge(
        CaptureCharge(charge_id=payment.payment_id, amount_minor=200, final=False)
    )
    assert (part.state, world.cards.taken) == (S.PARTIALLY_CAPTURED, 0)
    last = await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id, amount_minor=400))
    assert (last.state, last.captured_minor) == (S.CAPTURED, 600)
    assert (world.cards.taken, world.cards.held, await owed_by_cards(world)) == (300, 0, 300)
    assert await world.balance(customer) == (0, 0)


async def test_a_final_capture_that_leaves_the_card_untouched_lets_it_go(world: World) -> None:
    customer = await world.customer(funds=300)
    payment = await charged(world, customer, 1_000, "funds")
    await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id, amount_minor=200))
    assert (world.cards.taken, world.cards.held) == (0, 0)
    assert await world.balance(customer) == (100, 100)


async def test_a_canceled_charge_lets_go_inside_and_out(world: World) -> None:
    customer = await world.customer(funds=300)
    payment = await charged(world, customer, 1_000, "funds")
    canceled = await world.payments.cancel_charge(CancelCharge(charge_id=payment.payment_id))
    assert (canceled.state, world.cards.held) == (S.CANCELED, 0)
    assert await world.balance(customer) == (300, 300)


async def test_an_authorization_that_lapses_lets_the_card_go(world: World) -> None:
    customer = await world.customer(funds=300)
    payment = await charged(world, customer, 1_000, "funds")
    world.pass_days(8)
    assert await expire_authorizations(world.payments) == 1
    assert (await state_of(world, payment), world.cards.held) == (S.EXPIRED, 0)


async def test_refunds_go_back_in_the_reverse_order_of_use(world: World) -> None:
    customer = await world.customer(funds=200, free_points=300)
    payment = await charged(world, customer, 1_000, "free_points", "funds", capture=True)
    for amount, taken, funds, points in ((400, 100, 0, 0), (200, 0, 100, 0), (400, 0, 200, 300)):
        await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=amount))
        assert world.cards.taken == taken
        assert await owed_by_cards(world) == taken
        assert (await world.balance(customer))[0] == funds
        assert (await world.balance(customer, "free_points"))[0] == points


# -- 3-D Secure -------------------------------------------------------------------------------------------------


async def test_a_card_that_asks_for_3ds_waits_and_then_goes_on(world: World) -> None:
    customer = await world.customer(funds=300)
    world.cards.asks_for_3ds = True
    payment = await charged(world, customer, 1_000, "funds", capture=True, return_url="https://shop.example/back")
    assert payment.state is S.REQUIRES_ACTION
    assert payment.next_action is not None
    assert payment.next_action.type is NextActionType.REDIRECT
    assert payment.next_action.url == "https://issuer.example/3ds"
    complete = CompletePayment(payment_id=payment.payment_id)
    assert await code_of(world.payments.complete_payment(complete)) == "action_pending"
    assert await state_of(world, payment) is S.REQUIRES_ACTION
    world.cards.customer_acts()
    done = await world.payments.complete_payment(complete)
    assert (done.state, done.next_action, world.cards.taken) == (S.CAPTURED, None, 700)
    assert await code_of(world.payments.complete_payment(complete)) == "payment_not_waiting"


async def test_after_3ds_an_authorization_lapses_with_its_own_time(world: World) -> None:
    customer = await world.customer()
    world.cards.asks_for_3ds = True
    payment = await charged(world, customer, 1_000)
    assert payment.expires_at is not None
    assert (payment.expires_at - world.clock.now()).total_seconds() < 1_000
    world.cards.customer_acts()
    done = await world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    assert done.state is S.AUTHORIZED
    assert done.expires_at is not None
    assert (done.expires_at - world.clock.now()).days >= 6


async def test_a_customer_who_fails_3ds_is_refused_and_nothing_is_held(world: World) -> None:
    customer = await world.customer(funds=300)
    world.cards.asks_for_3ds = True
    payment = await charged(world, customer, 1_000, "funds")
    world.cards.customer_acts(succeeds=False)
    complete = world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    assert await code_of(complete) == "authentication_failed"
    assert await state_of(world, payment) is S.REFUSED
    assert await world.balance(customer) == (300, 300)


async def test_a_customer_who_never_comes_back_from_3ds_lets_the_payment_lapse(world: World) -> None:
    customer = await world.customer(funds=300)
    world.cards.asks_for_3ds = True
    payment = await charged(world, customer, 1_000, "funds")
    world.pass_days(0.1)
    assert await expire_authorizations(world.payments) == 1
    assert await state_of(world, payment) is S.EXPIRED
    assert (await world.balance(customer), world.cards.held) == ((300, 300), 0)


async def test_who_did_not_come_back_but_finished_3ds_is_looked_after(world: World) -> None:
    customer = await world.customer(funds=300)
    world.cards.asks_for_3ds = True
    payment = await charged(world, customer, 1_000, "funds", capture=True)
    world.cards.customer_acts()
    world.pass_days(0.001)
    assert await world.payments.look_after_waiting() == 1
    assert await state_of(world, payment) is S.CAPTURED


# -- faults -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["card_declined", "down"])
@pytest.mark.parametrize("verb", ["authorize", "capture"])
@pytest.mark.usefixtures("impatient")
async def test_a_refusal_by_the_card_undoes_everything_else(world: World, verb: str, fault: str) -> None:
    customer = await world.customer(funds=300)
    world.cards.fail(verb, *[fault] * 3)
    expected = "card_gateway_unavailable" if fault == "down" else fault
    assert await code_of(charged(world, customer, 1_000, "funds", capture=True)) == expected
    assert (world.cards.held, world.cards.taken) == (0, 0)
    assert await world.balance(customer) == (300, 300)


@pytest.mark.parametrize("fault", ["lost", "after"])
@pytest.mark.parametrize("verb", ["authorize", "capture"])
@pytest.mark.usefixtures("impatient")
async def test_a_lost_answer_is_asked_for_again_and_charged_once(world: World, verb: str, fault: str) -> None:
    customer = await world.customer(funds=300)
    world.cards.fail(verb, fault, fault)
    payment = await charged(world, customer, 1_000, "funds", capture=True)
    assert payment.state is S.CAPTURED
    assert (world.cards.taken, await owed_by_cards(world), await world.sales()) == (700, 700, 1_000)


@pytest.mark.parametrize("fault", ["lost", "after"])
@pytest.mark.parametrize("verb", ["authorize", "capture"])
@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_never_comes_is_given_up_and_undone(world: World, verb: str, fault: str) -> None:
    customer = await world.customer(funds=300)
    world.cards.fail(verb, *[fault] * 1_000)
    with pytest.raises(PaymentError) as error:
        await charged(world, customer, 1_000, "funds", capture=True)
    assert error.value.code == "gave_up"
    world.cards.faults.clear()
    assert await world.payments.get_payment(GetPayment(payment_id=str(error.value.details["payment_id"])))
    assert (world.cards.held, world.cards.taken) == (0, 0)
    assert await world.balance(customer) == (300, 300)


@pytest.mark.usefixtures("impatient")
async def test_undoing_goes_on_until_it_is_done(world: World) -> None:
    customer = await world.customer(funds=300)
    world.cards.fail("capture", "gateway_refused")
    world.cards.fail("void", "down", "lost", "after")
    assert await code_of(charged(world, customer, 1_000, "funds", capture=True)) == "gateway_refused"
    assert world.cards.held == 0


@pytest.mark.parametrize("fault", ["card_declined", "lost", "after"])
@pytest.mark.usefixtures("impatient")
async def test_a_refund_that_the_card_refuses_or_loses_is_refused_or_done_once(world: World, fault: str) -> None:
    customer = await world.customer(funds=300)
    payment = await charged(world, customer, 1_000, "funds", capture=True)
    world.cards.fail("refund", fault)
    request = RefundCharge(charge_id=payment.payment_id, amount_minor=800)
    if fault == "card_declined":
        assert await code_of(world.payments.refund_charge(request)) == fault
        assert (world.cards.taken, await world.balance(customer)) == (700, (0, 0))
    else:
        await world.payments.refund_charge(request)
        assert (world.cards.taken, await world.balance(customer)) == (0, (100, 100))


async def test_inside_sources_that_do_not_suffice_leave_the_card_alone(world: World) -> None:
    customer = await world.customer(funds=100)
    limited = FundingSource(source="card", instrument_id=CARD.instrument_id, max_amount_minor=500)
    request = CreateCharge(
        customer_id=customer,
        merchant_id="mer:shop",
        amount_minor=1_000,
        sources=[FundingSource(source="funds"), limited],
    )
    assert await code_of(world.payments.create_charge(request)) == "insufficient_funds"
    assert world.cards.calls == []


async def test_what_can_be_said_of_a_card_beforehand_is_refused_at_once(world: World) -> None:
    customer = await world.customer(funds=100)
    no_card = FundingSource(source="card")
    assert await code_of(charged(world, customer, 40)) == "amount_below_source_minimum"
    assert await code_of(charged(world, customer, 100, accepted_sources=["funds"])) == "source_not_accepted"
    request = CreateCharge(customer_id=customer, merchant_id="m", amount_minor=100, sources=[no_card])
    assert await code_of(world.payments.create_charge(request)) == "instrument_required"


async def test_several_captures_at_once_take_from_the_card_once(world: World) -> None:
    customer = await world.customer()
    payment = await charged(world, customer, 1_000)
    capture = CaptureCharge(charge_id=payment.payment_id)
    await asyncio.gather(*(world.payments.capture_charge(capture) for _ in range(4)), return_exceptions=True)
    assert world.cards.taken == 1_000
