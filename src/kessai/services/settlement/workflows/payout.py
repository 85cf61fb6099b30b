"""The job settlement.payout: payouts whose day to instruct the bank has come.

Each is INSTRUCTED before anything is asked for, with the ids of its payments, so that a run that was cut off asks for
the very same again. The transfer fee (振込手数料) goes first where the merchant bears it; then the payment service pays
out. What is refused is FAILED and goes into the next cycle; what cannot be paid now is HELD, and looked at again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import derived_hex
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.payment.api import PaymentState, PayOut
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.cycles import PayeeTerms, instruct_day_of, soonest_pay_day
from kessai.services.settlement.domain.naming import payment_id_of
from kessai.services.settlement.domain.payouts import (
    Payout,
    PayoutState,
    decided,
    refused,
    reopened,
    unpaid_for,
    why_held,
)
from kessai.services.settlement.store import payouts
from kessai.services.settlement.store.movements import ASKED, Movement
from kessai.services.settlement.store.payouts import FIRST, Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import announce, ask, write_down, write_down_apart
from kessai.services.settlement.workflows.charging import FEE_OWNER
from kessai.services.settlement.workflows.clear import PageOfPayouts, clear_all
from kessai.services.settlement.workflows.cycle import terms_on
from kessai.services.settlement.workflows.moving import says_no, within
from kessai.services.settlement.workflows.offsetting import contended, with_something_owed
from kessai.services.settlement.workflows.returning import Returned, return_all_fees

BANK_OWNER = "internal:bank"
_UNDER_WAY = (PaymentState.PENDING, PaymentState.UNKNOWN)


class PageChosen(Message, frozen=True):
    """What a page came to that was chosen for the bank."""

    last: tuple[str, str] | None
    chosen: int
    amount_minor: int
    held: int


class PageTold(Message, frozen=True):
    """What became of payouts that were to be told to the payment service."""

    last: tuple[str, str] | None
    told: int
    failed: int
    open: int
    """Of which no answer was to be had."""


@define("settlement.payout", version=1)
async def pay_cycles(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Have everything paid whose day to instruct the bank has come."""
    returned = Returned() if order.dry_run else await return_all_fees(wf)
    if not order.dry_run:
        await _offset_again(wf, order)
    chosen = amount = held = 0
    after: tuple[str, str] | None = FIRST
    while after is not None:
        page = await wf.activity(choose, PageOfPayouts(order=order, after=after, done=chosen))
        chosen, amount, held = chosen + page.chosen, amount + page.amount_minor, held + page.held
        after = page.last
    note = f"{chosen} payouts, {amount} yen" + (f"; {held} held" if held else "") + returned.note
    return JobDone(done=chosen, note=note if order.dry_run else note + await _tell(wf, order))


async def _offset_again(wf: Workflow[Deps], order: JobOrder) -> None:
    """What has come to be owed since payouts were decided is offset before they are paid."""
    after: tuple[str, str] | None = FIRST
    while after is not None:
        after = await wf.activity(reopen, PageOfPayouts(order=order, after=after, done=0))
    await clear_all(wf, order)


async def _tell(wf: Workflow[Deps], order: JobOrder) -> str:
    """Tell the payment service of all that is INSTRUCTED; gives what the operator should know."""
    told = failed = unanswered = 0
    after: tuple[str, str] | None = FIRST
    while after is not None:
        page = await wf.activity(tell_payment, PageOfPayouts(order=order, after=after, done=told))
        told, failed, unanswered = told + page.told, failed + page.failed, unanswered + page.open
        after = page.last
    said = f"; {failed} refused" if failed else ""
    return said + (f"; {unanswered} without an answer, run it again" if unanswered else "")


# -- offsetting again -------------------------------------------------------------------------------------------------


async def reopen(activity: Activity[Deps], page: PageOfPayouts) -> tuple[str, str] | None:
    """Payouts of a page that are due, and against which something is to be offset, are MADE again; gives the last."""
    deps, day, limit, now = activity.deps, page.order.day, cycle_rules().pages.payees, activity.deps.clock.now()

    async def work(connection: Connection) -> list[Payout]:
        found = await payouts.to_instruct(connection, day, page.after, limit)
        again = [reopened(each) for each in await with_something_owed(connection, found)]
        if len(await payouts.change(connection, again, now)) < len(again):
            raise contended()
        return found

    found = await deps.database.transaction(store.ROLE, work)
    return found[-1].key if len(found) == limit else None


# -- choosing ---------------------------------------------------------------------------------------------------------


async def choose(activity: Activity[Deps], page: PageOfPayouts) -> PageChosen:
    """Decide for a page of payouts that are due whether the bank is instructed, by today's terms."""
    deps, day, limit = activity.deps, page.order.day, cycle_rules().pages.payees
    found = await deps.database.transaction(
        store.ROLE, lambda connection: payouts.to_instruct(connection, day, page.after, limit)
    )
    terms = {each.payee_id: each for each in await terms_on(deps, [*{each.payee_id for each in found}], day)}
    after = [_chosen(each, terms.get(each.payee_id, each.terms), day) for each in found]
    changed = [now for was, now in zip(found, after, strict=True) if now != was]
    if not page.order.dry_run:
        at = deps.clock.now()
        await deps.database.transaction(store.ROLE, lambda connection: _instruct(connection, changed, at))
    chosen = [each for each in after if each.state is PayoutState.INSTRUCTED]
    return PageChosen(
        last=found[-1].key if len(found) == limit else None,
        chosen=len(chosen),
        amount_minor=sum(each.amount_minor for each in chosen),
        held=sum(each.state is PayoutState.HELD for each in after),
    )


def _chosen(payout: Payout, terms: PayeeTerms, day: date) -> Payout:
    """The payout INSTRUCTED, with the ids of its payments; or HELD, or carried over after all."""
    if (reason := why_held(terms)) is not None:
        return payout if payout.reason == reason else unpaid_for(payout, reason)
    if payout.state is PayoutState.HELD:
        payout = decided(payout, terms)
        if payout.state is not PayoutState.CLEARED:
            return payout
    pay_on = soonest_pay_day(terms, payout.pay_on, day)
    turn = str(payout.version)
    return replace(
        payout,
        state=PayoutState.INSTRUCTED,
        reason=None,
        pay_on=pay_on,
        instruct_on=instruct_day_of(terms, pay_on),
        bank_account_id=terms.bank_account_id,
        payment_id=payment_id_of("payout", payout.payout_id, turn),
        fee_payment_id=payment_id_of("transfer_fee", payout.payout_id, turn) if payout.transfer_fee_minor else None,
    )


async def _instruct(connection: Connection, changed: Sequence[Payout], now: datetime) -> None:
    """Write what was decided, and the transfer fees that are going to be asked for."""
    if len(await payouts.change(connection, changed, now)) < len(changed):
        raise contended()
    fees = [each for each in changed if each.state is PayoutState.INSTRUCTED and each.fee_payment_id]
    await write_down(connection, [_fee(each) for each in fees], now)


def _fee(payout: Payout) -> Movement:
    return Movement(
        payment_id=str(payout.fee_payment_id),
        kind="transfer_fee",
        owner_id=payout.payee_id,
        counterpart_id=FEE_OWNER,
        amount_minor=payout.transfer_fee_minor,
        about=f"payout:{payout.payout_id}",
    )


def _transfer(payout: Payout) -> Movement:
    return Movement(
        payment_id=str(payout.payment_id),
        kind="payout",
        owner_id=payout.payee_id,
        counterpart_id=BANK_OWNER,
        amount_minor=payout.amount_minor,
        about=f"payout:{payout.payout_id}",
    )


# -- telling the payment service --------------------------------------------------------------------------------------


async def tell_payment(activity: Activity[Deps], page: PageOfPayouts) -> PageTold:
    """Tell the payment service of a page of payouts that are INSTRUCTED: transfer fees first, then the transfers.

    Raises what the payment service says when it answers for none of them.
    """
    deps, limit, now = activity.deps, cycle_rules().pages.payees, activity.deps.clock.now()
    found = await deps.database.transaction(
        store.ROLE, lambda connection: payouts.instructed(connection, page.after, limit)
    )
    fees = await ask(activity, [each.fee_payment_id for each in found if each.fee_payment_id])
    paid = [each for each in found if each.fee_payment_id is None or fees[each.fee_payment_id].done]
    unpaid = [each for each in found if each.fee_payment_id is not None and not fees[each.fee_payment_id].done]
    without = [refused(each, fees[str(each.fee_payment_id)].code, fee_taken=False) for each in unpaid]
    await deps.database.transaction(store.ROLE, lambda connection: _begin(connection, paid, without, now))
    answers = await _pay_out(deps, paid)
    failed = [
        refused(each, answers[each.key].code, fee_taken=each.transfer_fee_minor > 0)
        for each in paid
        if _is_refused(answers.get(each.key))
    ]
    await deps.database.transaction(store.ROLE, lambda connection: _note(connection, paid, answers, failed, now))
    told = len(answers) - len(failed)
    await progress(deps.database, deps.clock, page.order, done=page.done + told)
    return PageTold(
        last=found[-1].key if len(found) == limit else None,
        told=told,
        failed=len(failed) + len(without),
        open=len(paid) - len(answers),
    )


class Answer(Message, frozen=True):
    """What the payment service answered about one payout."""

    payment_id: str
    processing_id: str
    state: PaymentState
    code: str | None


def _is_refused(answer: Answer | None) -> bool:
    return answer is not None and answer.state is PaymentState.REFUSED


async def _begin(connection: Connection, paid: Sequence[Payout], without: Sequence[Payout], now: datetime) -> None:
    """Write down the transfers that are going to be asked for, and what became of those without their fee."""
    await write_down_apart(connection, [_transfer(each) for each in paid], now)
    await payouts.change(connection, without, now)


async def _pay_out(deps: Deps, paid: Sequence[Payout]) -> dict[tuple[str, str], Answer]:
    """Ask for transfers, some at a time; gives the answers, by payout, of those that were to be had."""
    known = await payouts.movements_known(deps.database, [str(each.payment_id) for each in paid])
    room = asyncio.Semaphore(cycle_rules().pages.transfers)
    asked = [each for each in paid if known[str(each.payment_id)].state == ASKED]
    found = await asyncio.gather(*(_pay_one(deps, each, known[str(each.payment_id)], room) for each in asked))
    errors = [each for each in found if isinstance(each, PaymentError)]
    if errors and len(errors) == len(found):
        raise errors[0]
    return {each.key: answer for each, answer in zip(asked, found, strict=True) if isinstance(answer, Answer)}


async def _pay_one(deps: Deps, payout: Payout, known: Known, room: asyncio.Semaphore) -> Answer | PaymentError | None:
    """One answer; None while it is under way; an error that says nothing of it."""
    request = PayOut(
        merchant_id=payout.payee_id,
        bank_account_id=str(payout.bank_account_id),
        amount_minor=payout.amount_minor,
        pay_on=payout.pay_on,
        payout_id=payout.payment_id,
        reference=f"payout:{payout.payout_id}",
    )
    async with room:
        with within(known.processing_id, derived_hex("settlement", "pay_out", known.payment_id)):
            try:
                record = await deps.payment.pay_out(request)
            except PaymentError as error:
                if not says_no(error):
                    return error
                return _answer(known, PaymentState.REFUSED, error.code)
    if record.state in _UNDER_WAY:
        return None
    return _answer(known, record.state, record.refusal_code)


def _answer(known: Known, state: PaymentState, code: str | None) -> Answer:
    return Answer(payment_id=known.payment_id, processing_id=known.processing_id, state=state, code=code)


async def _note(
    connection: Connection,
    paid: Sequence[Payout],
    answers: dict[tuple[str, str], Answer],
    failed: Sequence[Payout],
    now: datetime,
) -> None:
    """Write down what was answered; what the payment service's events have told meanwhile stays."""
    rows = [(each.payment_id, each.state.value, each.code) for each in answers.values()]
    written = await payouts.note_answers(connection, rows, now)
    if written:
        processings = [each.processing_id for each in answers.values() if each.payment_id in written]
        await announce(connection, processings, now, entry=False)
    await payouts.change(connection, [each for each in failed if each.payment_id in written], now)
