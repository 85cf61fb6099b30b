"""A repayment (返済) of a claim: reserved with the claim, paid through the payment service, then settled.

The payment is made for whoever asked for the repayment, in the processing that it came in; its reference is the
repayment's own name, by which the payment's later steps are known again.
"""

from __future__ import annotations

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound, PaymentError, Refused, Unavailable
from kessai.foundation.ids import bare
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.payment.api import PaymentState, RepayClaim
from kessai.services.settlement import store
from kessai.services.settlement.domain.claims import ClaimPart, spoken_for
from kessai.services.settlement.store import claims
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.offsetting import end_parts

_ENDS = (PaymentState.CAPTURED, PaymentState.REFUSED, PaymentState.CANCELED, PaymentState.EXPIRED)


class RepayOrder(Message, frozen=True):
    """What is repaid of which claim, and how."""

    name: str
    """The repayment's own: the reference of its payment."""
    claim_id: str
    amount_minor: int
    source: str
    bank_account_id: str | None


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
        return claim.payee_id

    return await deps.database.transaction(store.ROLE, work)


def above_claim(claim_id: str, free_minor: int) -> Refused:
    """More is repaid than is owed."""
    return Refused("repayment_above_claim", "More than is owed.", claim_id=claim_id, owed_minor=free_minor)


async def pay_back(activity: Activity[Deps], asked: tuple[RepayOrder, str]) -> Paid:
    """Have the payment made."""
    order, payee_id = asked
    record = await activity.deps.payment.repay_claim(
        RepayClaim(
            merchant_id=payee_id,
            amount_minor=order.amount_minor,
            source=order.source,
            instrument_id=order.bank_account_id,
            reference=order.name,
        )
    )
    return Paid(payee_id=payee_id, payment_id=record.payment_id, state=record.state, code=record.refusal_code)


async def settle(activity: Activity[Deps], ended: tuple[RepayOrder, Paid]) -> None:
    """Write down what came of it."""
    order, paid = ended
    known = Known(order.name, paid.state.value, paid.code, "", order.amount_minor, 0)
    now = activity.deps.clock.now()
    await activity.deps.database.transaction(store.ROLE, lambda connection: end_parts(connection, [known], now))
