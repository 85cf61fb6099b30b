"""The sagas of what became of a payment outside: completed after waiting, or on its way to a bank."""

from __future__ import annotations

import dataclasses

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow import define
from kessai.services.payment import domain
from kessai.services.payment.api import Action, PaymentRecord
from kessai.services.payment.workflows import elsewhere, value
from kessai.services.payment.workflows.create import capture_all
from kessai.services.payment.workflows.notes import Notes, Run
from kessai.services.payment.workflows.orders import Elsewhere, Settled, Task
from kessai.services.payment.workflows.returning import reversal_id_of, told_of


@define("payment.complete", version=1)
async def complete(wf: Run, task: Task) -> PaymentRecord:
    """Go on with a payment whose customer, store or bank has acted: capture what is held, or undo it."""
    notes = Notes(wf, task.payment, task.caller, task.processing_id)
    found = await _found(notes, task)
    if isinstance(found, PaymentError) and found.code == "action_pending":
        raise await notes.decline(found, task.payment.state)
    await notes.ask(value.take_over, task, value.let_go_of_task)
    if isinstance(found, PaymentError):
        raise await notes.refuse(found)
    payment = task.payment
    if payment.capture_at_once or task.parks:
        await _capture(notes, task)
    follow = domain.sold if payment.capture_at_once and not task.parks else domain.authorized
    return notes.write(follow(notes.payment, list(payment.funding), wf.now()))


async def _capture(notes: Notes, task: Task) -> None:
    """Take what is held; what a bank debited or a till took cannot be undone, so that the ledger may not refuse it."""
    if not task.on_card:
        await notes.settle(value.book_whole, task.payment)
    elif (refusal := await capture_all(notes, task.payment, on_card=True)) is not None:
        raise await notes.refuse(refusal)


async def _found(notes: Notes, task: Task) -> Elsewhere | PaymentError:
    assert task.outside is not None
    match task.outside.gateway:
        case "card":
            return await notes.effect(elsewhere.look_at_card, task, elsewhere.let_card_go)
        case "bank":
            return await notes.look(elsewhere.look_at_bank, task)
        case _:
            return Elsewhere()  # whoever completes it has the cash


@define("payment.settle", version=1)
async def settle(wf: Run, task: Task) -> PaymentRecord:
    """What the bank made of a payment out: it arrived (CAPTURE), it did not leave (REFUSE), it came back (RETURN)."""
    notes = Notes(wf, task.payment, task.caller, task.processing_id)
    payment = task.payment
    if task.action is Action.CAPTURE:
        done = await notes.settle(value.book_whole, payment)
    elif task.action is Action.REFUSE:
        done = await notes.ask(value.release_value, task)
    else:
        done = await notes.settle(value.book_return, task)
    if isinstance(done, PaymentError):
        raise await notes.decline(done, payment.state)
    return notes.write(_change(notes, task, done))


def _change(notes: Notes, task: Task, done: Settled) -> domain.Change:
    now = notes.wf.now()
    match task.action:
        case Action.CAPTURE:
            return domain.sold(notes.payment, list(task.payment.funding), now)
        case Action.REFUSE:
            return domain.refused(notes.payment, task.code or "other", now)
        case _:
            funding, exchange_id = task.funding_after(done), reversal_id_of(task)
            change = domain.returned(notes.payment, exchange_id, task.code, now, funding)
            return dataclasses.replace(change, given_back=told_of(task, done))
