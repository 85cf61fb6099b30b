"""What could not be asked is never taken for an answer, and money that was taken outside is never forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.apps.verify import verify
from kessai.foundation.db import role_of
from kessai.foundation.errors import PaymentError, Refused, Unavailable
from kessai.foundation.events import Relay, parked
from kessai.foundation.events.outbox import outbox_insert, outbox_row
from kessai.services.bank.api import FailureCode, Instruction, InstructionChanged, InstructionState
from kessai.services.ledger.api import CloseAccount, Freeze, FreezeAccount, account_id_of
from kessai.services.payment.api import (
    CancelCharge,
    CancelPayment,
    CompletePayment,
    CreateCharge,
    FundingSource,
    GetPayment,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    RefundState,
    TopUp,
    Withdraw,
)
from kessai.services.payment.service import desk
from kessai.services.payment.subscribers import bank_results
from kessai.services.payment.workflows import notes
from tests.payment.world import World

S = PaymentState
CARD = FundingSource(source="card", instrument_id="crd_" + "1" * 32)
AWAY = Unavailable("database_unavailable", "The database cannot be reached just now.")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is lost is asked for again soon; callers wait until it is known."""
    monkeypatch.setattr(notes, "ANSWER_S", 0.3)
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.05)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 30.0)


async def _code_of(asked: Awaitable[object]) -> str:
    with pytest.raises(PaymentError) as caught:
        await asked
    return caught.value.code


async def _now(world: World, payment: PaymentRecord) -> PaymentRecord:
    return await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))


def _break(party: Any, verb: str, *, times: int, after: bool) -> None:
    """So many calls of a verb end in an error of the service's own, before or after they took effect."""
    real, left = getattr(party, verb), [times]

    async def broken(request: Any) -> Any:
        if left[0] == 0:
            return await real(request)
        left[0] -= 1
        if after:
            await real(request)
        raise AWAY

    setattr(party, verb, broken)


async def _withdrawal(world: World, customer: str) -> PaymentRecord:
    account_id = world.bank.account_of(customer)
    return await world.payments.withdraw(Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=5_000))


async def _top_up_by_bank(world: World, customer: str) -> PaymentRecord:
    account_id = world.bank.account_of(customer)
    request = TopUp(customer_id=customer, source="bank_debit", instrument_id=account_id, amount_minor=5_000)
    return await world.payments.top_up(request)


# -- instructions that cannot be recalled -----------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 4, 12])
async def test_a_withdrawal_that_the_bank_has_is_never_refused_however_often_it_cannot_answer(
    world: World, times: int
) -> None:
    customer = await world.customer(funds=10_000)
    _break(world.bank, "transfer", times=times, after=True)
    assert (await _withdrawal(world, customer)).state is S.IN_FLIGHT
    assert len(world.bank.books) == 1
    assert (await world.balance(customer))[1] < 10_000 - 5_000


async def test_a_withdrawal_is_refused_only_once_the_bank_never_will_have_it(world: World) -> None:
    customer = await world.customer(funds=10_000)
    _break(world.bank, "transfer", times=1_000_000, after=False)
    _break(world.bank, "abort", times=5, after=False)
    assert await _code_of(_withdrawal(world, customer)) == "bank_not_instructed"
    assert [(each.state, each.failure_code) for each in world.bank.books.values()] == [
        (InstructionState.FAILED, FailureCode.ABORTED)
    ]
    assert await world.balance(customer) == (10_000, 10_000)


async def test_a_refusal_after_an_answer_that_was_lost_does_not_decide_a_withdrawal(world: World) -> None:
    customer = await world.customer(funds=10_000)
    real, answers = world.bank.transfer, iter([AWAY, Refused("bank_account_removed", "It was removed.")])

    async def first_done_then_refused(request: Any) -> Any:
        await real(request)
        raise next(answers)

    world.bank.transfer = first_done_then_refused
    assert (await _withdrawal(world, customer)).state is S.IN_FLIGHT
    assert [each.failure_code for each in world.bank.books.values()] == [None]


async def test_a_refund_that_the_card_gateway_may_have_is_not_refused(world: World) -> None:
    customer = await world.customer()
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=3_000, sources=[CARD])
    charge = await world.payments.create_charge(replace(request, capture=True))
    _break(world.cards, "refund", times=5, after=True)
    refund = await world.payments.refund_charge(RefundCharge(charge_id=charge.payment_id))
    assert (refund.state, world.cards.taken) == (RefundState.SUCCEEDED, 0)


# -- looks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3, 20])
async def test_a_look_that_fails_does_not_decide_a_debit(world: World, times: int) -> None:
    customer = await world.customer()
    payment = await _top_up_by_bank(world, customer)
    world.bank.answers(InstructionState.DONE)
    first = [True]
    real = world.bank.get_instruction
    left = [times]

    async def flaky(request: Any) -> Instruction:
        if first[0]:  # whether it has acted is asked before anything begins
            first[0] = False
        elif left[0]:
            left[0] -= 1
            raise AWAY
        return await real(request)

    world.bank.get_instruction = flaky
    done = await world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    assert (done.state, await world.balance(customer)) == (S.CAPTURED, (5_000, 5_000))


# -- what the ledger may not refuse any more ----------------------------------------------------------------------


async def test_an_account_that_is_promised_a_debit_cannot_be_closed(world: World) -> None:
    customer = await world.customer()
    await _top_up_by_bank(world, customer)
    close = world.ledger.close_account(CloseAccount(account_id=account_id_of(customer, "funds")))
    assert await _code_of(close) == "account_not_empty"


async def test_a_debit_that_the_ledger_refuses_to_book_waits_for_an_operator(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await world.customer()
    payment = await _top_up_by_bank(world, customer)
    world.bank.answers(InstructionState.DONE)
    real = world.ledger.capture_exchange

    async def refuse(request: Any) -> Any:
        del request
        raise Refused("account_closed", "The account is closed.")

    monkeypatch.setattr(world.ledger, "capture_exchange", refuse)
    complete = world.payments.complete_payment(CompletePayment(payment_id=payment.payment_id))
    assert await _code_of(complete) == "workflow_parked"
    (case,) = await world.payments.parked_workflows()
    assert "account_closed" in case.error
    assert (await _now(world, payment)).state is S.REQUIRES_ACTION
    monkeypatch.setattr(world.ledger, "capture_exchange", real)
    assert await world.payments.unpark(case.workflow_id)
    async with asyncio.timeout(30):
        while (await _now(world, payment)).state is not S.CAPTURED:
            await asyncio.sleep(0.02)
    assert await world.balance(customer) == (5_000, 5_000)


# -- what came back ---------------------------------------------------------------------------------------------


async def _tell(world: World, payment: PaymentRecord) -> None:
    """The bank publishes how far its instructions are."""
    (told,) = world.bank.books.values()
    event = InstructionChanged(
        event_id=f"{told.instruction_id}:{told.state}",
        instruction_id=told.instruction_id,
        kind=told.kind,
        state=told.state,
        account_id=told.account_id,
        owner_kind=told.owner_kind,
        owner_id=told.owner_id,
        amount_minor=told.amount_minor,
        failure_code=told.failure_code,
        bank_reference=None,
        reference=payment.payment_id,
        processing_id="",
        version=2,
        occurred_at=world.clock.now(),
    )
    row = outbox_row("bank.transfer", [event], world.clock.now())
    await world.database.fetch(role_of("bank"), outbox_insert("bank"), *([column] for column in row))
    await Relay(world.database, "bank").assign()


@pytest.mark.parametrize("away", [1, 3])
async def test_a_transfer_that_the_bank_returned_comes_back_though_nobody_could_look_when_it_was_heard(
    world: World, away: int
) -> None:
    customer = await world.customer(funds=10_000)
    payment = await _withdrawal(world, customer)
    subscription = bank_results(world.database, world.clock, world.payments)
    world.bank.answers(InstructionState.DONE)
    await _tell(world, payment)
    assert await subscription.deliver() == 1
    world.bank.answers(InstructionState.RETURNED, FailureCode.ACCOUNT_CLOSED)
    await _tell(world, payment)
    world.bank.fail("get_instruction", *["down"] * away)
    with pytest.raises(Unavailable):
        await subscription.deliver()
    if away == 1:
        assert await subscription.deliver() == 1
    else:
        world.bank.faults.clear()
        assert await world.payments.look_after_waiting() == 1
        assert await world.payments.look_after_waiting() == 0
    assert (await _now(world, payment)).state is S.RETURNED
    assert await parked(world.database, "payment") == []


async def test_one_payment_that_cannot_be_looked_after_holds_up_no_other(world: World) -> None:
    customer = await world.customer()
    payments = sorted([await _top_up_by_bank(world, customer) for _ in range(3)], key=lambda each: each.payment_id)
    world.bank.answers(InstructionState.DONE)
    del world.bank.books["bdb_" + payments[0].payment_id[4:]]  # the double then raises a KeyError
    world.clock.advance(timedelta(hours=1))
    assert await world.payments.look_after_waiting() == 2
    assert [(await _now(world, each)).state for each in payments] == [S.REQUIRES_ACTION, S.CAPTURED, S.CAPTURED]


# -- cash -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("canceled", [False, True])
async def test_cash_that_was_taken_too_late_is_credited_once_by_a_payment_of_its_own(
    world: World, *, canceled: bool
) -> None:
    customer = await world.customer()
    payment = await world.payments.top_up(TopUp(customer_id=customer, source="atm_payment", amount_minor=5_000))
    if canceled:
        await world.payments.cancel_payment(CancelPayment(payment_id=payment.payment_id))
    world.pass_days(2)
    told = CompletePayment(payment_id=payment.payment_id)
    credited = [await world.payments.complete_payment(told) for _ in range(3)]
    assert {(each.payment_id, each.state) for each in credited} == {(credited[0].payment_id, S.CAPTURED)}
    assert credited[0].metadata == {"late_for": payment.payment_id}
    assert (await _now(world, payment)).state is (S.CANCELED if canceled else S.EXPIRED)
    assert await world.balance(customer) == (5_000, 5_000)
    assert await verify(world.database.dsn) == []


async def test_late_cash_that_the_ledger_refuses_waits_for_an_operator(world: World) -> None:
    customer = await world.customer()
    payment = await world.payments.top_up(TopUp(customer_id=customer, source="atm_payment", amount_minor=5_000))
    world.pass_days(2)
    account_id = account_id_of(customer, "funds")
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id, freeze=Freeze.IN))
    told = CompletePayment(payment_id=payment.payment_id)
    assert await _code_of(world.payments.complete_payment(told)) == "workflow_parked"
    (case,) = await world.payments.parked_workflows()
    assert "account_frozen" in case.error


# -- cards ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [["down"] * 3, ["down", "lost", "after"] * 4])
async def test_a_cancel_does_not_end_before_the_card_is_released(world: World, faults: list[str]) -> None:
    customer = await world.customer(funds=1_000)
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=3_000, sources=[CARD])
    payment = await world.payments.create_charge(request)
    world.cards.fail("void", *faults)
    canceled = await world.payments.cancel_charge(CancelCharge(charge_id=payment.payment_id))
    assert (canceled.state, world.cards.held) == (S.CANCELED, 0)
    assert world.cards.calls.count("void") == len(faults) + 1
