"""The saga of many holds at once: each is one ledger exchange, and all of them share the ledger's flush.

Their rows are written PENDING when it starts. Every exchange has an id derived from its payment's, and is asked for as
that of a payment that is made alone: what is found under the id is the answer, so that all may be repeated after any
crash. What is decided is written down at once; a payment of which no answer comes is UNKNOWN meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from kessai.foundation.call import Call, current_call, enter_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.workflow import Activity, Retry, define
from kessai.services.payment import domain
from kessai.services.payment.api import Funding, PaymentRecord, PaymentState
from kessai.services.payment.workflows.notes import PAUSE_S_MAX, Deps, Notes, Run, refused_payment
from kessai.services.payment.workflows.orders import Order, Settled, SourceLeg, exchange_id_of
from kessai.services.payment.workflows.value import exchange_value

ANSWER_S = 5.0
"""How long the ledger is asked before the payments are told UNKNOWN."""
ATTEMPT_S = 2.0
"""How long one attempt may take before it is cut off and repeated."""
STRAGGLER_S = 0.5
"""How long those that the ledger has not answered hold up the others, after each one that it has answered."""
_STRAGGLER = Unknown("outcome_unknown", "The ledger has answered others, and not this one.")


class Held(NamedTuple):
    """One payment, decided beforehand."""

    payment_id: str
    payer_id: str
    amount_minor: int
    reference: str | None
    metadata: dict[str, str]
    processing_id: str


class HeldPath(NamedTuple):
    """Where the value of a kind is held, and for whom."""

    kind: str
    asset: str
    payer_account_types: tuple[str, ...]
    payee_id: str
    payee_account_type: str


class Holds(Message):
    """Payments of a kind to be authorized."""

    holds: list[Held]
    path: HeldPath
    caller: str
    created_at: datetime
    expires_at: datetime


class HeldAll(Message):
    """What came of them, in their order."""

    funding: list[list[tuple[str, int]]]
    """How each was split over its sources; empty where it was refused."""
    refused: dict[str, str]
    """By payment id, why."""


class HeldSome(Message):
    """What came of those that are decided, by payment id; nothing is told of the others."""

    funding: dict[str, list[tuple[str, int]]]
    """How each that is held was split over its sources."""
    refused: dict[str, str]
    """Why each other is not."""


def held_payments_of(holds: Holds) -> list[PaymentRecord]:
    """The payments as they begin, in their order."""
    return [_payment_of(each, holds) for each in holds.holds]


def _payment_of(held: Held, holds: Holds) -> PaymentRecord:
    path = holds.path
    return PaymentRecord(
        payment_id=held.payment_id,
        kind=path.kind,
        state=PaymentState.PENDING,
        amount_minor=held.amount_minor,
        asset=path.asset,
        payer_id=held.payer_id,
        payee_id=path.payee_id,
        captured_minor=0,
        refunded_minor=0,
        funding=[],
        refusal_code=None,
        reference=held.reference,
        description=None,
        metadata=held.metadata,
        exchange_id=exchange_id_of("hold", held.payment_id),
        processing_id=held.processing_id,
        created_at=holds.created_at,
        updated_at=holds.created_at,
        expires_at=holds.expires_at,
        captures=0,
        refunds=0,
        version=0,
        capture_at_once=False,
    )


@define("payment.hold", version=2)
async def hold(wf: Run, holds: Holds) -> HeldAll:
    """Hold the value of every payment, and leave each AUTHORIZED or REFUSED. Those that are decided do not wait for
    the others."""
    notes = {each.payment_id: Notes(wf, each, holds.caller, each.processing_id) for each in held_payments_of(holds)}
    told, rest = HeldSome(funding={}, refused={}), holds
    while rest.holds:
        some = await _heard(wf, rest, notes)
        for each in rest.holds:
            _write(wf, notes[each.payment_id], some)
        told.funding.update(some.funding)
        told.refused.update(some.refused)
        rest = replace(rest, holds=[each for each in rest.holds if _is_open(each, some)])
        if rest.holds:
            await _lose_track(wf, rest, notes)
    return HeldAll(funding=[told.funding.get(each.payment_id, []) for each in holds.holds], refused=told.refused)


async def _heard(wf: Run, rest: Holds, notes: Mapping[str, Notes]) -> HeldSome:
    """What the ledger decided of some of them; while it decides of none, they are UNKNOWN."""
    retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
    if all(_is_unknown(notes[each.payment_id]) for each in rest.holds):
        return await wf.activity(hold_some, rest, retry=retry)
    try:
        return await wf.activity(hold_some, rest, deadline_s=ANSWER_S, retry=retry, repeatable=True)
    except (Unavailable, Unknown):
        await _lose_track(wf, rest, notes)
    return await wf.activity(hold_some, rest, retry=retry)


async def _lose_track(wf: Run, rest: Holds, notes: Mapping[str, Notes]) -> None:
    """Write down what is decided, and that these are not."""
    for each in rest.holds:
        if not _is_unknown(notes[each.payment_id]):
            notes[each.payment_id].write(domain.lost_track(notes[each.payment_id].payment, wf.now()))
    await wf.flush()


def _is_unknown(note: Notes) -> bool:
    return note.payment.state is PaymentState.UNKNOWN


def _is_open(held: Held, some: HeldSome) -> bool:
    return held.payment_id not in some.funding and held.payment_id not in some.refused


def _write(wf: Run, note: Notes, some: HeldSome) -> None:
    payment = note.payment
    if (code := some.refused.get(payment.payment_id)) is not None:
        note.write(domain.refused(payment, code, wf.now()))
    elif (parts := some.funding.get(payment.payment_id)) is not None:
        funding = [Funding(source=source, amount_minor=amount) for source, amount in parts]
        note.write(domain.authorized(payment, funding, wf.now()))


@define("payment.hold", version=1)
async def hold_together(wf: Run, holds: Holds) -> HeldAll:
    """As it was: none is told before all are decided. Of runs that began so."""
    notes = [Notes(wf, each, holds.caller, each.processing_id) for each in held_payments_of(holds)]
    retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
    try:
        held = await wf.activity(hold_all, holds, deadline_s=ANSWER_S, retry=retry, repeatable=True)
    except (Unavailable, Unknown):
        await _lose_track(wf, holds, {each.payment.payment_id: each for each in notes})
        held = await wf.activity(hold_all, holds, retry=retry)
    funding = {each.payment.payment_id: parts for each, parts in zip(notes, held.funding, strict=True)}
    for each in notes:
        _write(wf, each, HeldSome(funding=funding, refused=held.refused))
    return held


async def hold_some(activity: Activity[Deps], holds: Holds) -> HeldSome:
    """One exchange a payment, all handed to the ledger at the same moment; each is held, refused, or was so before.

    Raises Unknown where it told of none, whether each is held or not.
    """
    return await _asked(activity, holds, STRAGGLER_S)


async def _asked(activity: Activity[Deps], holds: Holds, straggler_s: float | None) -> HeldSome:
    payments = held_payments_of(holds)
    answers = await _answers(activity, [_order_of(each, holds) for each in payments], straggler_s)
    some, doubt = HeldSome(funding={}, refused={}), None
    for each, answer in zip(payments, answers, strict=True):
        if isinstance(answer, Settled):
            some.funding[each.payment_id] = [(part.source, part.amount_minor) for part in answer.funding]
        elif answer.retryable:
            doubt = answer
        else:
            some.refused[each.payment_id] = refused_payment(answer, payment_id=each.payment_id).code
    if doubt is not None and not some.funding and not some.refused:
        raise Unknown(doubt.code, doubt.message)
    return some


async def hold_all(activity: Activity[Deps], holds: Holds) -> HeldAll:
    """As `hold_some`, and raises Unknown where it told not of all; each is waited for."""
    some = await _asked(activity, holds, None)
    if any(_is_open(each, some) for each in holds.holds):
        raise Unknown("outcome_unknown", "Some of them may be held.")
    return HeldAll(funding=[some.funding.get(each.payment_id, []) for each in holds.holds], refused=some.refused)


async def _answers(
    activity: Activity[Deps], orders: Sequence[Order], straggler_s: float | None
) -> list[Settled | PaymentError]:
    """What the ledger says of each. Where it has answered some, it is waited for while it goes on to answer."""
    tasks = [asyncio.ensure_future(_hold_one(activity, each)) for each in orders]
    try:
        done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while waiting and done:
            done, waiting = await asyncio.wait(waiting, timeout=straggler_s, return_when=asyncio.FIRST_COMPLETED)
        return [_STRAGGLER if each in waiting else each.result() for each in tasks]
    finally:
        for each in tasks:
            each.cancel()  # what is asked for in vain is asked for again


async def _hold_one(activity: Activity[Deps], order: Order) -> Settled | PaymentError:
    """In the payment's own processing: this is a task of its own, and so is what it calls as."""
    call = current_call()
    enter_call(Call(caller=call.caller, request_id=call.request_id, deadline=call.deadline))
    try:
        return await exchange_value(activity, order)
    except PaymentError as refusal:
        return refusal


def _order_of(payment: PaymentRecord, holds: Holds) -> Order:
    path, alone = holds.path, len(holds.path.payer_account_types) == 1
    return Order(
        payment=payment,
        sources=[
            SourceLeg(
                name=each,
                owner=payment.payer_id,
                account_type=each,
                amount_minor=payment.amount_minor,
                balancing=not alone,
                optional=not alone,
            )
            for each in path.payer_account_types
        ],
        payee_account_type=path.payee_account_type,
        capture=False,
        caller=holds.caller,
    )
