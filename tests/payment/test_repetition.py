"""Requests that come again, and answers that do not come at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from kessai.foundation.db import role_of
from kessai.foundation.errors import KeyReused, PaymentError, RequestInProgress
from kessai.services.payment.api import (
    CancelCharge,
    CaptureCharge,
    GetHistory,
    GetPayment,
    GetRefund,
    ListPayments,
    ListRefunds,
    PaymentRecord,
    PaymentState,
    Refund,
    RefundCharge,
    RefundState,
    TopUp,
)
from kessai.services.payment.service import desk
from kessai.services.payment.workflows import notes
from tests.payment.world import World, key

R = TypeVar("R")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are waited for a tenth of a second, and asked for again soon."""
    monkeypatch.setattr(notes, "ANSWER_S", 0.1)
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.05)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 1.0)


async def unknown(payment: Awaitable[PaymentRecord], world: World) -> PaymentRecord:
    """The answer to a request whose outcome is not known in time."""
    answer = await payment
    assert answer.state is PaymentState.UNKNOWN
    assert await world.payments.get_payment(GetPayment(payment_id=answer.payment_id)) == answer
    return answer


async def settled(world: World, payment_id: str) -> PaymentState:
    """The payment's state once it is known."""
    while True:
        state = (await world.payments.get_payment(GetPayment(payment_id=payment_id))).state
        if state not in (PaymentState.UNKNOWN, PaymentState.PENDING):
            return state
        await asyncio.sleep(0.02)


async def resolved(world: World, refund_id: str) -> Refund:
    """The refund once its outcome is known."""
    while True:
        found = await world.payments.get_refund(GetRefund(refund_id=refund_id))
        if found.state is not RefundState.UNKNOWN:
            return found
        await asyncio.sleep(0.02)


async def insisted(ask: Callable[[], Awaitable[R]]) -> R:
    """The answer to a request that is sent again and again under its key."""
    while True:
        try:
            return await ask()
        except RequestInProgress:
            await asyncio.sleep(0.02)


# -- the same request again -------------------------------------------------------------------------------------


async def test_a_repeated_request_gets_the_stored_answer_and_moves_nothing(world: World) -> None:
    customer = await world.customer()
    request = TopUp(customer_id=customer, source="bank_deposit", amount_minor=700)
    with key("top-up") as call:
        first = await world.payments.top_up(request)
        assert not call.replayed
    with key("top-up") as call:
        assert await world.payments.top_up(request) == first
        assert call.replayed
    assert await world.balance(customer) == (700, 700)


async def test_a_repeated_capture_gets_its_own_answer_though_the_charge_has_come_further(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 600)
    request = CaptureCharge(charge_id=payment.payment_id, amount_minor=400)
    with key("capture"):
        first = await world.payments.capture_charge(request)
    await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    with key("capture") as call:
        assert await world.payments.capture_charge(request) == first
        assert call.replayed


async def test_a_repeated_refund_is_made_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 600, capture=True)
    answers: list[Refund] = []
    for _ in range(2):
        with key("refund"):
            answers.append(
                await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=200))
            )
    assert answers[0] == answers[1]
    assert len((await world.payments.list_refunds(ListRefunds(payment_id=payment.payment_id))).refunds) == 1
    assert await world.balance(customer) == (600, 600)


async def workflows_of(world: World) -> list[tuple[str, bool]]:
    """Every workflow there is, open or done."""
    rows = await world.database.fetch(
        role_of("payment"),
        "SELECT workflow_id, true AS done FROM payment.workflow_done"
        " UNION ALL SELECT workflow_id, false FROM payment.workflow_open ORDER BY 1",
    )
    return [(row["workflow_id"], row["done"]) for row in rows]


Verb = Callable[[World, str, int], Awaitable[PaymentRecord | Refund]]


async def capturing(world: World, charge_id: str, amount: int) -> PaymentRecord:
    """Capture one part of several."""
    return await world.payments.capture_charge(
        CaptureCharge(charge_id=charge_id, amount_minor=amount, final=amount == 60)
    )


async def canceling(world: World, charge_id: str, _: int) -> PaymentRecord:
    """Release what is held."""
    return await world.payments.cancel_charge(CancelCharge(charge_id=charge_id))


async def refunding(world: World, charge_id: str, amount: int) -> Refund:
    """Give a part back."""
    return await world.payments.refund_charge(RefundCharge(charge_id=charge_id, amount_minor=amount))


@pytest.mark.parametrize(
    ("verb", "amounts"),
    [(capturing, (40, 60)), (canceling, (100,)), (refunding, (40, 60))],
    ids=["capture", "cancel", "refund"],
)
async def test_once_nothing_is_left_to_act_on_a_repetition_is_looked_up_and_starts_nothing(
    world: World, verb: Verb, amounts: tuple[int, ...]
) -> None:
    customer = await world.customer(funds=200)
    charge_id = (await world.charge(customer, 100, capture=verb is refunding)).payment_id
    other_id = (await world.charge(customer, 100, capture=verb is refunding)).payment_id
    answers: list[PaymentRecord | Refund] = []
    for amount in amounts:
        with key(f"part of {amount}"):
            answers.append(await verb(world, charge_id, amount))
    with key("of the other"):
        await verb(world, other_id, amounts[-1])
    calls, known, balance = world.line.calls, await workflows_of(world), await world.balance(customer)

    for amount, answer in zip(amounts, answers, strict=True):
        with key(f"part of {amount}") as call:
            assert await verb(world, charge_id, amount) == answer
            assert call.replayed
    with key("of the other"), pytest.raises(KeyReused):
        await verb(world, charge_id, amounts[-1])
    if verb is not canceling:
        with key(f"part of {amounts[0]}"), pytest.raises(KeyReused):
            await verb(world, charge_id, 41)
    assert world.line.calls == calls
    assert await workflows_of(world) == known
    assert await world.balance(customer) == balance


async def test_a_repeated_authorization_gets_its_answer_after_its_time_is_over(world: World) -> None:
    customer = await world.customer(funds=200)
    until = world.clock.now() + timedelta(days=1)
    with key("charge"):
        first = await world.charge(customer, 100, expires_at=until)
    world.pass_days(2)
    with key("charge") as call:
        assert await world.charge(customer, 100, expires_at=until) == first
        assert call.replayed
    with key("charge"), pytest.raises(KeyReused):
        await world.charge(customer, 101, expires_at=until)
    with key("another"), pytest.raises(PaymentError, match="expires_in_past"):
        await world.charge(customer, 100, expires_at=until)


@pytest.mark.usefixtures("impatient")
async def test_a_repeated_action_whose_outcome_is_not_known_yet_is_in_progress(world: World) -> None:
    customer = await world.customer(funds=100)
    charge = await world.charge(customer, 100, capture=True)
    request = RefundCharge(charge_id=charge.payment_id)
    world.line.cut_after = 1_000_000
    with key("refund"):
        refund = await world.payments.refund_charge(request)
    with key("refund"), pytest.raises(RequestInProgress):
        await world.payments.refund_charge(request)
    with key("refund"), pytest.raises(KeyReused):
        await world.payments.refund_charge(RefundCharge(charge_id=charge.payment_id, amount_minor=1))
    world.line.cut_after = 0
    assert (await resolved(world, refund.refund_id)).state is RefundState.SUCCEEDED
    assert await world.balance(customer) == (100, 100)


async def test_a_refusal_is_replayed_even_when_it_would_no_longer_be_made(world: World) -> None:
    customer = await world.customer()
    errors: list[PaymentError] = []
    for _ in range(2):
        with key("charge"), pytest.raises(PaymentError) as error:
            await world.charge(customer, 10)
        errors.append(error.value)
        await world.payments.top_up(TopUp(customer_id=customer, source="bank_deposit", amount_minor=100))
    assert [each.code for each in errors] == ["insufficient_funds"] * 2
    assert errors[0].details == errors[1].details


async def test_a_key_that_comes_back_with_other_content_is_refused(world: World) -> None:
    customer = await world.customer(funds=1_000)
    with key("charge"):
        payment = await world.charge(customer, 10)
    with key("charge"), pytest.raises(KeyReused):
        await world.charge(customer, 11)
    with key("capture"):
        await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
    with key("capture"), pytest.raises(KeyReused):
        await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id, amount_minor=1))


async def test_a_request_that_is_still_worked_on_says_so(world: World) -> None:
    customer = await world.customer()
    request = TopUp(customer_id=customer, source="bank_deposit", amount_minor=700)

    async def send() -> object:
        with key("top-up"):
            return await world.payments.top_up(request)

    outcomes = await asyncio.gather(send(), send(), return_exceptions=True)
    assert sum(isinstance(each, RequestInProgress) for each in outcomes) == 1
    assert await world.balance(customer) == (700, 700)


# -- lost answers -----------------------------------------------------------------------------------------------


async def test_a_lost_answer_is_asked_for_again_and_takes_effect_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    for cut in ("cut_before", "cut_after"):
        setattr(world.line, cut, 2)
        payment = await world.charge(customer, 100)
        setattr(world.line, cut, 2)
        payment = await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
        assert payment.state is PaymentState.CAPTURED
    assert await world.sales() == 200
    assert await world.balance(customer) == (800, 800)


@pytest.mark.parametrize("verb", ["capture", "cancel"])
async def test_an_action_without_outcome_is_not_answered_with_what_the_payment_was_before(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    customer = await world.customer(funds=1_000)
    charge = await world.charge(customer, 100)

    async def ask() -> PaymentRecord:
        with key("action"):
            if verb == "capture":
                return await world.payments.capture_charge(CaptureCharge(charge_id=charge.payment_id))
            return await world.payments.cancel_charge(CancelCharge(charge_id=charge.payment_id))

    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 0.0)
    world.line.cut_before = 1_000_000
    for _ in range(2):
        with pytest.raises(RequestInProgress):
            await ask()
    assert (await world.payments.get_payment(GetPayment(payment_id=charge.payment_id))).state is charge.state
    world.line.cut_before = 0
    outcome = await insisted(ask)
    assert outcome.state is (PaymentState.CAPTURED if verb == "capture" else PaymentState.CANCELED)
    assert await ask() == outcome
    assert await world.sales() == outcome.captured_minor


async def test_a_creation_without_outcome_says_that_it_is_pending_and_ends_as_that_very_payment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await world.customer(funds=1_000)

    async def ask() -> PaymentRecord:
        with key("charge"):
            return await world.charge(customer, 100, capture=True)

    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 0.0)
    world.line.cut_before = 1_000_000
    told = await ask()
    assert told.state is PaymentState.PENDING
    with pytest.raises(RequestInProgress):
        await ask()
    world.line.cut_before = 0
    outcome = await insisted(ask)
    assert (outcome.payment_id, outcome.state) == (told.payment_id, PaymentState.CAPTURED)
    assert await ask() == outcome
    assert await world.balance(customer) == (900, 900)


async def test_a_refund_without_outcome_says_that_it_is_pending_and_ends_as_that_very_refund(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await world.customer(funds=1_000)
    charge = await world.charge(customer, 100, capture=True)

    async def ask() -> Refund:
        with key("refund"):
            return await world.payments.refund_charge(RefundCharge(charge_id=charge.payment_id))

    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 0.0)
    world.line.cut_before = 1_000_000
    told = await ask()
    assert told.state is RefundState.PENDING
    world.line.cut_before = 0
    outcome = await insisted(ask)
    assert (outcome.refund_id, outcome.state) == (told.refund_id, RefundState.SUCCEEDED)
    assert await ask() == outcome
    assert await world.balance(customer) == (1_000, 1_000)


@pytest.mark.usefixtures("impatient")
async def test_while_the_outcome_is_unknown_the_payment_says_so_and_then_tells_it(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.line.cut_after = 1_000_000
    payment = await unknown(world.charge(customer, 100), world)
    with pytest.raises(PaymentError, match="payment_unresolved") as error:
        await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
    assert error.value.retryable
    world.line.cut_after = 0
    assert await settled(world, payment.payment_id) is PaymentState.AUTHORIZED
    history = await world.payments.get_history(GetHistory(payment_id=payment.payment_id))
    assert [step.state for step in history.steps] == [
        PaymentState.PENDING,
        PaymentState.UNKNOWN,
        PaymentState.AUTHORIZED,
    ]
    await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
    assert await world.sales() == 100


@pytest.mark.usefixtures("impatient")
async def test_an_unknown_action_is_resolved_to_what_the_ledger_did(world: World) -> None:
    customer = await world.customer(funds=1_000)
    captured, canceled = await world.charge(customer, 100), await world.charge(customer, 100)
    world.line.cut_before = 1_000_000
    await unknown(world.payments.capture_charge(CaptureCharge(charge_id=captured.payment_id)), world)
    await unknown(world.payments.cancel_charge(CancelCharge(charge_id=canceled.payment_id)), world)
    world.line.cut_before = 0
    assert await settled(world, captured.payment_id) is PaymentState.CAPTURED
    assert await settled(world, canceled.payment_id) is PaymentState.CANCELED
    assert await world.balance(customer) == (900, 900)


@pytest.mark.usefixtures("impatient")
async def test_an_unknown_charge_that_the_ledger_refuses_in_the_end_is_refused(world: World) -> None:
    customer = await world.customer()
    world.line.cut_before = 1_000_000
    payment = await unknown(world.charge(customer, 100), world)
    world.line.cut_before = 0
    assert await settled(world, payment.payment_id) is PaymentState.REFUSED


@pytest.mark.usefixtures("impatient")
async def test_an_unknown_refund_leaves_the_payment_captured_and_is_resolved(world: World) -> None:
    customer = await world.customer(funds=100)
    payment = await world.charge(customer, 100, capture=True)
    world.line.cut_after = 1_000_000
    refund = await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    assert refund.state is RefundState.UNKNOWN
    with pytest.raises(PaymentError, match="payment_busy"):
        await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    world.line.cut_after = 0
    found = await resolved(world, refund.refund_id)
    assert found.state is RefundState.SUCCEEDED
    assert await world.balance(customer) == (100, 100)


@pytest.mark.usefixtures("impatient")
async def test_what_one_process_left_unknown_another_takes_to_its_end(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.line.cut_after = 1_000_000
    payment = await unknown(world.charge(customer, 100), world)
    await world.payments.close(grace_s=0.1)
    world.line.cut_after = 0
    world.payments = world.another_process()
    await world.payments.open()
    assert await settled(world, payment.payment_id) is PaymentState.AUTHORIZED
    assert await world.balance(customer) == (1_000, 900)


# -- what is published ------------------------------------------------------------------------------------------


async def test_every_step_is_published_in_the_flush_that_wrote_it(world: World) -> None:
    customer = await world.customer(funds=1_000)
    payment = await world.charge(customer, 100)
    await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
    with pytest.raises(PaymentError):
        await world.charge(customer, 5_000)
    rows = await world.database.fetch(
        role_of("payment"),
        "SELECT coalesce(sum(event_count), 0) AS events FROM payment.outbox WHERE topic = $1",
        "payment.payment",
    )
    made = (await world.payments.list_payments(ListPayments(customer_id=customer))).payments
    histories = [await world.payments.get_history(GetHistory(payment_id=each.payment_id)) for each in made]
    assert rows[0]["events"] == sum(len(history.steps) - 1 for history in histories)
