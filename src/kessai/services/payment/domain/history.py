"""A payment against its own steps and refunds: one changed, missing or doubled row contradicts the others. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from kessai.services.payment.api import Action, PaymentRecord, PaymentState, Refund, RefundState
from kessai.services.payment.domain.further import GivenBack
from kessai.services.payment.domain.kinds import PaymentKind
from kessai.services.payment.domain.steps import may_follow

S = PaymentState
_WHOLE = (Action.AUTHORIZE, Action.REQUIRE_ACTION, Action.SEND, Action.RETURN)
"""Steps whose amount is the payment's."""
_STAYS = (S.AUTHORIZED, S.PARTIALLY_CAPTURED, S.CAPTURED)
"""What a refused action leaves as it was."""
_LET_GO = (Action.CANCEL, Action.EXPIRE)
_UNSETTLED = (RefundState.PENDING, RefundState.UNKNOWN)


class TracedStep(NamedTuple):
    """A step as its row has it."""

    sequence: int
    action: Action
    state: PaymentState
    amount_minor: int
    code: str | None
    refund_id: str | None
    caller: str
    recorded_at: datetime
    exchange_id: str | None
    fee_minor: int
    given_back: GivenBack | None
    processing_id: str


@dataclass(frozen=True, slots=True)
class TracedRefund:
    """A refund as its row has it."""

    refund: Refund
    caller: str


@dataclass(frozen=True, slots=True)
class Traced:
    """A payment with everything that its service has written down of it."""

    payment: PaymentRecord
    busy: bool
    caller: str
    birth: str | None
    """The digest that was written with it."""
    payee_account_type: str | None
    """Where its request named another than its kind's."""
    steps: Sequence[TracedStep]
    refunds: Sequence[TracedRefund]

    def has(self, action: Action) -> bool:
        """Whether such a step was made."""
        return any(step.action is action for step in self.steps)


def birth_digest(payment: PaymentRecord, caller: str, payee_account_type: str | None) -> str:
    """16 digits over what never changes of a payment: who, to whom, how much of what, in which exchange."""
    facts = (
        payment.kind,
        payment.payer_id,
        payment.payee_id,
        payment.beneficiary_id or "",
        payee_account_type or "",
        str(payment.amount_minor),
        str(payment.fee_minor) if payment.beneficiary_id is None else "",  # an escrow's fee grows
        payment.asset,
        payment.exchange_id,
        payment.processing_id,
        caller,
    )
    return hashlib.sha256("\x1f".join((payment.payment_id[4:], *facts)).encode()).hexdigest()[:16]


def contradictions(traced: Traced, kind: PaymentKind) -> list[str]:
    """Where a payment's rows do not agree with each other."""
    found = [] if traced.birth == _birth(traced) else ["it is not what it was when it was made"]
    found += _course_faults(traced)
    found += _sum_faults(traced, kind)
    if traced.refunds or any(step.refund_id for step in traced.steps):
        found += _refund_faults(traced)
    return found


def _birth(traced: Traced) -> str:
    return birth_digest(traced.payment, traced.caller, traced.payee_account_type)


def _course_faults(traced: Traced) -> Iterator[str]:
    """The steps, one after the other: their numbers, what may follow what, and how much each is about."""
    payment, before, next_one, held = traced.payment, S.PENDING, 1, traced.payment.amount_minor
    rest = before
    for step in traced.steps:
        if step.sequence != next_one:
            yield f"its step {next_one} is missing, or {step.sequence} is one too many"
        if not may_follow(before, step.action, step.state):
            yield f"step {step.sequence} leads from {before} by {step.action.value} to {step.state}"
        if step.action is Action.REFUSE and rest in _STAYS and step.state is not rest:
            yield f"step {step.sequence} refused an action, and left it {step.state} instead of {rest}"
        if step.processing_id != payment.processing_id:
            yield f"step {step.sequence} is of another processing"
        back = sum(step.given_back.parts.values()) if step.given_back else 0
        if (wanted := _amount_of(step, payment, held, back)) is not None and step.amount_minor != wanted:
            yield f"step {step.sequence} ({step.action.value}) is about {step.amount_minor}, not {wanted}"
        held -= back + (step.amount_minor if step.action is Action.CAPTURE else 0)
        rest = rest if step.state is S.UNKNOWN else step.state
        before, next_one = step.state, step.sequence + (1 if step.action is Action.LOSE_TRACK else 2)
    yield from _end_faults(traced, before)


def _amount_of(step: TracedStep, payment: PaymentRecord, held: int, back: int) -> int | None:
    """What a step must be about; None: any part."""
    if step.action in _WHOLE:
        return payment.amount_minor
    if step.action in _LET_GO:
        return held
    if step.action is Action.LOSE_TRACK:
        return 0
    return back if step.action in (Action.REFUSE, Action.REFUND) else None


def _end_faults(traced: Traced, state: PaymentState) -> Iterator[str]:
    payment = traced.payment
    if payment.state is not state:
        yield f"it is {payment.state}, its steps make it {state}"
    if traced.busy:
        return
    if state in (S.PENDING, S.UNKNOWN):
        yield f"it is {state}, but nothing works on it"
    if not traced.steps:
        return
    last = traced.steps[-1]
    if payment.version != last.sequence:
        yield f"its version is {payment.version}, its last step {last.sequence}"
    if payment.updated_at != last.recorded_at:
        yield "its last step is of another time"
    if payment.state is S.REFUSED and payment.refusal_code != last.code:
        yield f"it was refused with {payment.refusal_code}, its last step with {last.code}"


def _sum_faults(traced: Traced, kind: PaymentKind) -> Iterator[str]:
    payment = traced.payment
    captures = [step.amount_minor for step in traced.steps if step.action is Action.CAPTURE]
    refunds = [step.amount_minor for step in traced.steps if step.action is Action.REFUND]
    told = {
        "captured_minor": (payment.captured_minor, sum(captures)),
        "captures": (payment.captures, len(captures)),
        "refunded_minor": (payment.refunded_minor, sum(refunds)),
        "refunds": (payment.refunds, len(refunds)),
    }
    if kind.parks:
        told["fee_minor"] = (payment.fee_minor, sum(step.fee_minor for step in traced.steps))
    if payment.funding:
        wanted = payment.amount_minor + (0 if kind.parks else payment.fee_minor)
        told["funding"] = (sum(part.amount_minor for part in payment.funding), wanted)
    for name, (mine, steps) in told.items():
        if mine != steps:
            yield f"its {name} is {mine}, its steps make it {steps}"
    back = Counter[str]()
    for step in traced.steps:
        if step.given_back is not None:
            back.update(step.given_back.parts)
    for part in payment.funding:
        if part.returned_minor != back.pop(part.source, 0):
            yield f"{part.returned_minor} went back to {part.source}, its steps say otherwise"
    if any(back.values()):
        yield f"its steps gave back to {', '.join(back)}, which gave nothing"


def _refund_faults(traced: Traced) -> Iterator[str]:
    """Each refund is ended by one step, which names it and is about the same."""
    steps: dict[str, list[TracedStep]] = {}
    for step in traced.steps:
        if step.refund_id is not None:
            steps.setdefault(step.refund_id, []).append(step)
        elif step.action is Action.REFUND:
            yield f"step {step.sequence} names no refund"
    for each in traced.refunds:
        ended = steps.pop(each.refund.refund_id, [])
        if each.refund.state in _UNSETTLED:
            if not traced.busy:
                yield f"{each.refund.refund_id} is {each.refund.state}, and nothing works on it"
        elif len(ended) != 1 or not _ends(each, ended[0], traced.payment):
            yield f"{each.refund.refund_id} is {each.refund.state}, which no step of its agrees with"
    yield from (f"there is no {refund_id}, of which a step tells" for refund_id in steps)


def _ends(each: TracedRefund, step: TracedStep, payment: PaymentRecord) -> bool:
    refund, back = each.refund, step.given_back
    same = (each.caller, refund.asset, refund.processing_id) == (step.caller, payment.asset, payment.processing_id)
    if refund.state is RefundState.REFUSED:
        return same and step.action is Action.REFUSE and step.code == refund.refusal_code
    told = (refund.amount_minor, back and back.exchange_id) == (step.amount_minor, refund.exchange_id)
    return same and told and step.action is Action.REFUND
