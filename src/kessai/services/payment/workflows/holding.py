"""The saga of many holds at once: each is one ledger exchange, and all of them share the ledger's flush.

Their rows are written PENDING when it starts. Every exchange has an id derived from its payment's, and is asked for as
that of a payment that is made alone: what is found under the id is the answer, so that all may be repeated after any
crash. While no answer comes, all of them are UNKNOWN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

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


@define("payment.hold", version=1)
async def hold(wf: Run, holds: Holds) -> HeldAll:
    """Hold the value of every payment, and leave each AUTHORIZED or REFUSED."""
    notes = [Notes(wf, each, holds.caller, each.processing_id) for each in held_payments_of(holds)]
    held = await _asked(wf, holds, notes)
    now = wf.now()
    for each, parts in zip(notes, held.funding, strict=True):
        code = held.refused.get(each.payment.payment_id)
        if code is not None:
            each.write(domain.refused(each.payment, code, now))
        else:
            funding = [Funding(source=source, amount_minor=amount) for source, amount in parts]
            each.write(domain.authorized(each.payment, funding, now))
    return held


async def _asked(wf: Run, holds: Holds, notes: Sequence[Notes]) -> HeldAll:
    """The ledger's answers; while one is unknown, the payments say so."""
    retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
    try:
        return await wf.activity(hold_all, holds, deadline_s=ANSWER_S, retry=retry, repeatable=True)
    except (Unavailable, Unknown):
        for each in notes:
            each.write(domain.lost_track(each.payment, wf.now()))
        await wf.flush()
    return await wf.activity(hold_all, holds, retry=retry)


async def hold_all(activity: Activity[Deps], holds: Holds) -> HeldAll:
    """One exchange a payment, all handed to the ledger at the same moment; each is held, refused, or was so before."""
    payments = held_payments_of(holds)
    answers = await asyncio.gather(*(_hold_one(activity, _order_of(each, holds)) for each in payments))
    refused: dict[str, str] = {}
    funding: list[list[tuple[str, int]]] = []
    for each, answer in zip(payments, answers, strict=True):
        if isinstance(answer, Settled):
            funding.append([(part.source, part.amount_minor) for part in answer.funding])
            continue
        if answer.retryable:
            raise Unknown(answer.code, answer.message)  # others may be held
        refused[each.payment_id] = refused_payment(answer, payment_id=each.payment_id).code
        funding.append([])
    return HeldAll(funding=funding, refused=refused)


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
