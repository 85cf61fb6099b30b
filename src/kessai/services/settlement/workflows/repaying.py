"""A repayment (返済) of a claim: reserved with the claim, paid through the payment service, then settled.

The payment is made for whoever asked for the repayment, in the processing that it came in, else in one that begins with
it; its reference is the repayment's own name, by which the payment's later steps are known again. Its movement, which
the tracer is told of, bears that name too, and the payment's own id as soon as that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar

from kessai.foundation.call import current_call
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound, PaymentError, Refused, Unavailable
from kessai.foundation.ids import bare
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.payment.api import PaymentState, RepayClaim
from kessai.services.settlement import store
from kessai.services.settlement.domain.claims import ClaimPart, spoken_for
from kessai.services.settlement.store import claims, movements
from kessai.services.settlement.store.movements import Ending, Movement
from kessai.services.settlement.store.payouts import Known, movements_known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import announce, write_down
from kessai.services.settlement.workflows.moving import require_answer, wake, within
from kessai.services.settlement.workflows.offsetting import end_parts

KIND = "claim_repayment"
PAYERS = {"bank_deposit": "internal:bank_deposit", "bank_debit": "internal:bank"}
"""Whose account each source of a repayment is."""
_ENDS = (PaymentState.CAPTURED, PaymentState.REFUSED, PaymentState.CANCELED, PaymentState.EXPIRED)


class RepayOrder(Message, frozen=True):
    """What is repaid of which claim, and how."""

    appended: ClassVar = ("debit_on",)

    name: str
    """The repayment's own: the reference of its payment."""
    claim_id: str
    amount_minor: int
    source: str
    bank_account_id: str | None
    debit_on: date | None = None
    """The day whose file of the bank it goes with; None: at once."""


class Paid(Message, frozen=True):
    """What the payment service said."""

    payee_id: str
    payment_id: str | None
    state: PaymentState
    code: str | None


@define("settlement.repay_claim", version=1)
async def repay(wf: Workflow[Deps], order: RepayOrder) -> Paid:
    """Reserve, pay, settle; what is still under way then is settled when the payment service tells of its end."""
    payee_id = await wf.activity(reserve, order)
    try:
        paid = await wf.activity(pay_back, (order, payee_id))
    except PaymentError as refusal:
        if refusal.retryable:
            raise
        paid = Paid(payee_id=payee_id, payment_id=None, state=PaymentState.REFUSED, code=refusal.code)
    if paid.state in _ENDS:
        await wf.activity(settle, (order, paid))
    return paid


async def reserve(activity: Activity[Deps], order: RepayOrder) -> str:
    """Speak for a part of the claim, once; gives whose claim it is. Raises `repayment_above_claim`."""
    deps = activity.deps
    now = deps.clock.now()

    async def work(connection: Connection) -> str:
        if (known := await claims.part_of_payment(connection, order.name)) is not None:
            return known[0].payee_id
        found = await claims.by_ids(connection, [bare(order.claim_id)])
        if not found:
            raise NotFound("claim_not_found", "There is no such claim.", claim_id=order.claim_id)
        (claim,) = found
        if order.amount_minor > claim.free_minor:
            raise above_claim(order.claim_id, claim.free_minor)
        if not await claims.change(connection, [(spoken_for(claim, order.amount_minor), claim.version)]):
            raise Unavailable("contention", "The claim was changed at this moment; look at it again.")
        part = ClaimPart(
            payee_id=claim.payee_id,
            claim_id=claim.claim_id,
            payment_id=order.name,
            kind="collected",
            amount_minor=order.amount_minor,
        )
        await claims.insert_parts(connection, [part], now)
        await _write_down(connection, order, claim.payee_id, now)
        return claim.payee_id

    return await deps.database.transaction(store.ROLE, work)


async def _write_down(connection: Connection, order: RepayOrder, payee_id: str, now: datetime) -> None:
    """Write down what is going to be asked for, in the processing of the call."""
    given = current_call().processing_id
    movement = Movement(
        payment_id=order.name,
        kind=KIND,
        owner_id=PAYERS[order.source],
        counterpart_id=payee_id,
        amount_minor=order.amount_minor,
        about=f"claim:{bare(order.claim_id)}",
    )
    await write_down(connection, [movement], now, within=given)


def above_claim(claim_id: str, free_minor: int) -> Refused:
    """More is repaid than is owed."""
    return Refused("repayment_above_claim", "More than is owed.", claim_id=claim_id, owed_minor=free_minor)


async def pay_back(activity: Activity[Deps], asked: tuple[RepayOrder, str]) -> Paid:
    """Have the payment made."""
    order, payee_id = asked
    request = RepayClaim(
        merchant_id=payee_id,
        amount_minor=order.amount_minor,
        source=order.source,
        instrument_id=order.bank_account_id,
        reference=order.name,
        debit_on=order.debit_on,
    )
    try:
        with within(await _processing_of(activity.deps, order)):
            record = await activity.deps.payment.repay_claim(request)
    except PaymentError as error:
        require_answer(error)
        made = error.details.get("payment_id")
        refused = PaymentState.REFUSED.value
        await _note(
            activity.deps, Ending(order.name, refused, error.code, refund_id=None if made is None else str(made))
        )
        raise
    ending = Ending(order.name, record.state.value, record.refusal_code, refund_id=record.payment_id)
    await _note(activity.deps, ending)
    return Paid(payee_id=payee_id, payment_id=record.payment_id, state=record.state, code=record.refusal_code)


async def _processing_of(deps: Deps, order: RepayOrder) -> str:
    """The processing that it was written down in."""
    (known,) = (await movements_known(deps.database, [order.name])).values()
    return known.processing_id


async def _note(deps: Deps, ending: Ending) -> None:
    """Write down what the payment service answered, and tell the tracer."""
    now = deps.clock.now()
    await deps.database.transaction(store.ROLE, lambda connection: note_repayments(connection, [ending], now))
    wake(deps)


async def note_repayments(connection: Connection, endings: Sequence[Ending], now: datetime) -> None:
    """Write down how the payments of repayments stand, and tell the tracer of what changed."""
    if changed := await movements.note_repayments(connection, endings, now):
        await announce(connection, changed, now, entry=False)


async def settle(activity: Activity[Deps], ended: tuple[RepayOrder, Paid]) -> None:
    """Write down what came of it."""
    order, paid = ended
    known = Known(order.name, paid.state.value, paid.code, "", order.amount_minor, 0)
    now = activity.deps.clock.now()
    await activity.deps.database.transaction(store.ROLE, lambda connection: end_parts(connection, [known], now))
