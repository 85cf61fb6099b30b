"""What an action on a payment is to do, decided beforehand. Nothing here waits."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.ids import new_id
from kessai.services.payment import domain
from kessai.services.payment.api import Action, PaymentRecord, PaymentState, Refund, RefundState
from kessai.services.payment.domain import PaymentKind, PlannedSource, parts_of
from kessai.services.payment.service.opening import source_leg
from kessai.services.payment.workflows import Outside, SourceLeg, Task

S = PaymentState


def task_of(
    payment: PaymentRecord,
    kind: PaymentKind,
    action: Action,
    amount_minor: int,
    *,
    final: bool = True,
    fee_minor: int = 0,
    code: str | None = None,
) -> Task:
    """The action, on the payment as it will be right after the claim."""
    call = current_call()
    routes, outside = _routes(payment, kind), outside_of(payment, kind)
    parts = parts_of(payment, action, amount_minor, parks=kind.parks) if _has_parts(payment, action, kind) else {}
    wide = outside is not None or len(routes) > 1 or any(route.along for route in routes) or action is Action.RETURN
    return Task(
        payment=replace(payment, version=payment.version + 1),
        action=action,
        amount_minor=amount_minor,
        action_id=new_id("act"),
        caller=call.caller,
        processing_id=payment.processing_id,
        final=final,
        parts=parts if wide or kind.parks else {},
        rest=_rest(payment, kind, action, amount_minor, final=final),
        routes=routes if wide or kind.parks else [],
        payee_account_type=kind.payee_account_type,
        beneficiary_account_type=kind.beneficiary_account_type,
        outside=outside,
        fee_minor=fee_minor,
        code=code,
    )


def _has_parts(payment: PaymentRecord, action: Action, kind: PaymentKind) -> bool:
    """Whether an action gives or takes in parts at all: letting go of a hold does not."""
    if action in (Action.REFUND, Action.RETURN):
        return True
    if action is Action.CAPTURE:
        return not kind.parks
    return gives_back(payment, kind)


def gives_back(payment: PaymentRecord, kind: PaymentKind) -> bool:
    """Whether what is let go of was taken already, so that it has to be given back: an escrow."""
    return kind.parks and payment.state in (S.AUTHORIZED, S.PARTIALLY_CAPTURED)


def _rest(
    payment: PaymentRecord, kind: PaymentKind, action: Action, amount_minor: int, *, final: bool
) -> dict[str, int]:
    """Of the last capture of an escrow: what goes back to each of the buyer's sources."""
    left = domain.still_held(payment) - amount_minor
    if not kind.parks or action is not Action.CAPTURE or not final or not left:
        return {}
    return parts_of(payment, Action.CANCEL, left, parks=True)


def _routes(payment: PaymentRecord, kind: PaymentKind) -> list[SourceLeg]:
    return [
        source_leg(PlannedSource(part.source, part.amount_minor, balancing=False), kind, payment.payer_id)
        for part in payment.funding
    ]


def outside_of(payment: PaymentRecord, kind: PaymentKind) -> Outside | None:
    """Who outside takes part in a payment."""
    if kind.pays_out:
        return Outside(gateway="bank", owner_id=payment.payer_id, instrument_id=payment.instrument_id)
    for part in payment.funding:
        named = kind.sources.get(part.source)
        if named is not None and named.gateway is not None:
            owner_id = payment.payee_id if kind.payer == "internal" else payment.payer_id
            return Outside(
                gateway=named.gateway, owner_id=owner_id, source=part.source, instrument_id=payment.instrument_id
            )
    return None


def refund_task(
    payment: PaymentRecord, kind: PaymentKind, amount_minor: int, refund_id: str, reason: str | None, now: datetime
) -> Task:
    """A refund; of an escrow, with the part of the fee that goes back."""
    fee = 0
    if kind.parks:
        total, before = payment.captured_minor, payment.refunded_minor
        gone = domain.shared_fee(payment.fee_minor, total, before, 0)
        fee = domain.shared_fee(payment.fee_minor, total, before + amount_minor, gone)
    task = task_of(payment, kind, Action.REFUND, amount_minor, fee_minor=fee)
    return replace(task, refund=_new_refund(task, refund_id, reason, now))


def _new_refund(task: Task, refund_id: str, reason: str | None, now: datetime) -> Refund:
    return Refund(
        refund_id=refund_id,
        payment_id=task.payment.payment_id,
        state=RefundState.PENDING,
        amount_minor=task.amount_minor,
        asset=task.payment.asset,
        reason=reason,
        refusal_code=None,
        exchange_id=new_id("exc"),
        processing_id=task.processing_id,
        created_at=now,
        updated_at=now,
    )
