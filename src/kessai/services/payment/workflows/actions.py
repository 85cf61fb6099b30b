"""The sagas of what is done to a payment: capture, release, refund. Each claims the payment first."""

from __future__ import annotations

import dataclasses

from kessai.foundation.errors import PaymentError, Refused
from kessai.sdk.workflow import define
from kessai.services.payment import domain
from kessai.services.payment.api import Action, PaymentRecord, Refund, RefundState
from kessai.services.payment.workflows import elsewhere, value
from kessai.services.payment.workflows.notes import Notes, Run, refused_payment
from kessai.services.payment.workflows.orders import Settled, Task
from kessai.services.payment.workflows.returning import told_of, told_of_nothing


@define("payment.capture", version=1)
async def capture(wf: Run, task: Task) -> PaymentRecord:
    """Make (part of) an authorization final; of an escrow, pay the seller."""
    notes = Notes(wf, task.payment, task.caller, task.processing_id)
    if task.parks:
        return await _pay_on(notes, task)
    if task.outside_part():
        # Not given up: to undo it, too, one would have to know whether it was taken, and what is taken and given back
        # can never be taken again.
        taken = await notes.effect(elsewhere.take_card_part, task, elsewhere.give_card_part_back, gives_up=False)
        if isinstance(taken, PaymentError):
            raise await notes.decline(taken, task.payment.state)
    settled = await notes.ask(value.capture_value, task)
    if isinstance(settled, PaymentError):
        raise await notes.decline(settled, task.payment.state)
    if task.on_card and task.final and not task.outside_part():
        await _let_card_go(notes, task)
    return notes.write(domain.captured(notes.payment, task.amount_minor, wf.now(), final=task.final))


async def _pay_on(notes: Notes, task: Task) -> PaymentRecord:
    """Pay the seller of an escrow; with the last part, what is left goes back to the buyer."""
    paid = await notes.ask(value.pay_on, task)
    if isinstance(paid, PaymentError):
        raise await notes.decline(paid, task.payment.state)
    final, funding, back = task.final, None, None
    if task.rest:
        rest = task.turned()
        returned = await _give_back(notes, rest)
        final = False  # what cannot go back now stays parked, and may be canceled
        if not isinstance(returned, PaymentError):
            final, funding, back = returned.code is None, rest.funding_after(returned), told_of(rest, returned)
    change = domain.captured(notes.payment, task.amount_minor, notes.wf.now(), final=final, funding=funding)
    change = domain.paid_on(change, task.fee_minor, value.paid_on_id_of(task))
    return notes.write(dataclasses.replace(change, given_back=back))


@define("payment.release", version=1)
async def release(wf: Run, task: Task) -> PaymentRecord:
    """Let go of what a payment holds: canceled, or lapsed; of an escrow, give it back."""
    notes = Notes(wf, task.payment, task.caller, task.processing_id)
    settled = await _let_go(notes, task)
    if isinstance(settled, PaymentError):
        raise await notes.decline(settled, task.payment.state)
    funding, back = (task.funding_after(settled), told_of(task, settled)) if task.parts else (None, None)
    if settled.code is not None:
        refusal = Refused(settled.code, "Only the card has got its part back; the rest stays where it is.")
        raise await notes.decline(refusal, task.payment.state, funding, back)
    action = Action.EXPIRE if settled.expired else task.action
    change = domain.released(notes.payment, action, wf.now(), funding)
    after = notes.write(dataclasses.replace(change, exchange_id=settled.exchange_id, given_back=back))
    if action is not task.action:
        raise Refused("authorization_expired", "The authorization has lapsed.", payment_id=after.payment_id)
    return after


async def _let_go(notes: Notes, task: Task) -> Settled | PaymentError:
    if task.parts:
        return await _give_back(notes, task)
    if task.on_card:
        await _let_card_go(notes, task)
    return await notes.ask(value.release_value, task)


async def _let_card_go(notes: Notes, task: Task) -> None:
    """Release what is left on the card; until that is journalled there, the payment stays as it is, or UNKNOWN.

    A refusal changes nothing: what a gateway will not let go of lapses there by itself, and nothing of it is taken.
    """
    await notes.look(elsewhere.let_card_go, task)


@define("payment.refund", version=1)
async def refund(wf: Run, task: Task) -> Refund:
    """Give captured value back to its sources."""
    assert task.refund is not None
    notes = Notes(wf, task.payment, task.caller, task.processing_id, task.refund)
    if task.parks:
        taken = await notes.ask(value.take_back, task, value.pay_on_again)
        if isinstance(taken, PaymentError):
            raise await notes.decline(taken, task.payment.state)
    returned = await _give_back(notes, task)
    if isinstance(returned, PaymentError):
        raise await notes.decline(returned, task.payment.state, given_back=told_of_nothing(task))
    amount = sum(task.back_after(returned).values())
    if task.parks and amount < task.amount_minor:
        await notes.settle(value.pay_on_rest, task)
    change = domain.refunded(notes.payment, amount, wf.now(), task.funding_after(returned))
    notes.write(dataclasses.replace(change, exchange_id=returned.exchange_id, given_back=told_of(task, returned)))
    return notes.write_refund(RefundState.SUCCEEDED, returned.code, amount)


async def _give_back(notes: Notes, task: Task) -> Settled | PaymentError:
    """Give back to the card first (the last used), then inside. Once the card has its part, that part is booked.

    `code` in the answer: why only the card's part went back.
    """
    on_card = bool(task.outside_part())
    if on_card:
        given = await notes.effect_for_good(elsewhere.refund_card, task)
        if isinstance(given, PaymentError):
            return given
    returned = await notes.ask(value.return_value, task)
    if not isinstance(returned, PaymentError) or not on_card:
        return returned
    await notes.settle(value.return_card_part, task)
    return Settled(code=refused_payment(returned, payment_id=task.payment.payment_id).code)
