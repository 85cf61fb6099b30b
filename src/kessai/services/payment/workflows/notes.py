"""How a saga asks for an outcome and writes down what became of its payment: states, steps, events.

A lost answer is asked for again under the same ids. When it stays lost past `ANSWER_S`, the payment is told UNKNOWN
and claimed all the same, and the workflow goes on asking: without end the ledger, and whoever outside did what cannot
be undone; others outside until `GIVE_UP_S`, after which what may have been done is undone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from msgspec.structs import replace

from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Activity, Retry, Workflow
from kessai.services.bank.api import Bank
from kessai.services.cardgateway.api import CardGateway
from kessai.services.ledger.api import Ledger
from kessai.services.payment import domain, store
from kessai.services.payment.api import (
    TOPIC,
    Action,
    Funding,
    PaymentRecord,
    PaymentState,
    PaymentStateChanged,
    Refund,
    RefundState,
    event_type,
)
from kessai.services.payment.domain import Change, GivenBack
from kessai.services.payment.gateways import Approvals

ANSWER_S = 5.0
"""How long somebody is asked before the payment is told UNKNOWN."""
ATTEMPT_S = 2.0
"""How long one attempt at the ledger may take before it is cut off and repeated."""
PAUSE_S_MAX = 5.0
"""Longest pause between two attempts."""
GIVE_UP_S = 600.0
"""How long somebody outside is asked for an answer that was lost, before the payment is given up and undone."""
REFUSALS_MAX = 3
"""Times that somebody outside may say beforehand that they cannot be reached, until the payment is refused."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Deps:
    """Whom the payment service works with."""

    ledger: Ledger
    cards: CardGateway | None = None
    bank: Bank | None = None
    approvals: Approvals | None = None


Run: TypeAlias = Workflow[Deps]
Step: TypeAlias = Callable[[Activity[Deps], T], Awaitable[R]]

_SAME_TO_CALLERS = {"hold_expired": "authorization_expired", "exchange_not_authorized": "charge_not_authorized"}
"""The ledger's words for what this door has its own word for."""


class Notes:
    """What a workflow asks and writes down."""

    def __init__(
        self, wf: Run, payment: PaymentRecord, caller: str, processing_id: str, refund: Refund | None = None
    ) -> None:
        self.wf = wf
        self._caller = caller
        self._processing_id = processing_id
        self.refund = refund
        self.payment = payment

    # -- asking -------------------------------------------------------------------------------------------------

    async def ask(self, activity: Step[T, R], argument: T, undo: Step[T, object] | None = None) -> R | PaymentError:
        """The ledger's answer, or its refusal; while it is unknown, the payment says so. `undo` undoes it later."""
        retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
        try:
            return await self.wf.activity(
                activity, argument, compensate=undo, deadline_s=ANSWER_S, retry=retry, repeatable=True
            )
        except (Unavailable, Unknown):
            await self._lose_track()
        except PaymentError as refusal:
            return refusal
        try:
            return await self.wf.activity(activity, argument, compensate=undo, retry=retry)
        except PaymentError as refusal:
            return refusal

    async def settle(self, activity: Step[T, R], argument: T) -> R:
        """The ledger's answer to what follows from something that cannot be undone; a refusal is an operator's case."""
        answer = await self.ask(activity, argument)
        if isinstance(answer, PaymentError):
            raise AssertionError(f"what is done outside cannot be booked: {answer!r}")
        return answer

    async def look(self, activity: Step[T, R], argument: T) -> R | PaymentError:
        """What somebody outside has to say, or why it came to nothing. A look that fails decides nothing: it is made
        again without end, and so is what can only be gone on with."""
        retry = Retry(delay_s_max=PAUSE_S_MAX)
        try:
            return await self.wf.activity(activity, argument, deadline_s=ANSWER_S, retry=retry)
        except (Unavailable, Unknown):
            await self._lose_track()
        except PaymentError as refusal:
            return refusal
        try:
            return await self.wf.activity(activity, argument, retry=retry)
        except PaymentError as refusal:
            return refusal

    async def effect(
        self, activity: Step[T, R], argument: T, undo: Step[T, object], *, gives_up: bool = True
    ) -> R | PaymentError:
        """What somebody outside answered to something that can be undone, or why it is to be: refused, not to be
        reached, or given up. Where it does not give up, an answer that was lost is asked for without end."""
        retry = Retry(attempts_max=REFUSALS_MAX, delay_s_max=PAUSE_S_MAX)
        try:
            return await self.wf.activity(activity, argument, compensate=undo, deadline_s=ANSWER_S, retry=retry)
        except Unavailable as error:
            return _no(error)
        except Unknown:
            await self._lose_track()
        except PaymentError as refusal:
            return refusal
        again, limit_s = Retry(delay_s_max=PAUSE_S_MAX), GIVE_UP_S if gives_up else None
        try:
            return await self.wf.activity(activity, argument, compensate=undo, deadline_s=limit_s, retry=again)
        except (Unavailable, Unknown) as error:
            return Refused("gave_up", f"There was no answer in time; it is undone ({error.code}).", cause=error.code)
        except PaymentError as refusal:
            return refusal

    async def effect_for_good(
        self, activity: Step[T, R], argument: T, prevent: Step[T, R] | None = None
    ) -> R | PaymentError:
        """What somebody outside answered to something that cannot be undone. It is refused only when it surely was not
        taken up: they say so before they write anything down, or `prevent` sees to it that it never will be.

        `prevent` gives the outcome where it was taken up, and raises Refused when it never will be.
        """
        retry = Retry(attempts_max=REFUSALS_MAX, delay_s_max=PAUSE_S_MAX)
        try:
            return await self.wf.activity(activity, argument, deadline_s=ANSWER_S, retry=retry)
        except Unavailable as error:
            return _no(error)
        except Unknown:
            await self._lose_track()
        except PaymentError as refusal:
            return refusal
        try:
            return await self.wf.activity(prevent or activity, argument, retry=Retry(delay_s_max=PAUSE_S_MAX))
        except PaymentError as refusal:
            return refusal

    async def _lose_track(self) -> None:
        if self.refund is not None:
            self.write_refund(RefundState.UNKNOWN)
        elif domain.may_follow(self.payment.state, Action.LOSE_TRACK, PaymentState.UNKNOWN):
            self.write(domain.lost_track(self.payment, self.wf.now()))
        await self.wf.flush()

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, change: Change) -> PaymentRecord:
        """The payment's new state with its step and event."""
        for row in store.step(
            change,
            claimed_by=self.wf.workflow_id if change.keeps_claim else None,
            refund_id=self.refund and self.refund.refund_id,
            processing_id=self._processing_id,
            caller=self._caller,
        ):
            self.wf.record(row)
        self.wf.publish(TOPIC, _event(change, self.refund, self._processing_id))
        self.payment = change.payment
        return change.payment

    def write_refund(self, state: RefundState, code: str | None = None, amount_minor: int | None = None) -> Refund:
        """The refund's new state, and where less went back than asked for, how much."""
        assert self.refund is not None
        amount = self.refund.amount_minor if amount_minor is None else amount_minor
        self.refund = replace(
            self.refund, state=state, refusal_code=code, amount_minor=amount, updated_at=self.wf.now()
        )
        self.wf.record(store.refund_update(self.refund))
        return self.refund

    async def refuse(self, refusal: PaymentError) -> Refused:
        """Undo what was done, last first, and end the payment REFUSED; gives what to tell the caller."""
        await self.wf.compensate()
        told = refused_payment(refusal, payment_id=self.payment.payment_id)
        self.write(domain.refused(self.payment, told.code, self.wf.now()))
        return told

    async def decline(
        self,
        refusal: PaymentError,
        before: PaymentState,
        funding: list[Funding] | None = None,
        given_back: GivenBack | None = None,
    ) -> Refused:
        """Undo what the action did, and put the payment back to where it was; gives what to tell the caller.

        `funding`: after what went back all the same, and cannot be undone; `given_back`: by which exchanges.
        """
        await self.wf.compensate()
        told = refused_payment(refusal, payment_id=self.payment.payment_id)
        if self.refund is not None:
            told.details["refund_id"] = self.refund.refund_id
        change = domain.action_refused(self.payment, before, told.code, self.wf.now(), funding)
        self.write(dataclasses.replace(change, given_back=given_back))
        if self.refund is not None:
            self.write_refund(RefundState.REFUSED, told.code)
        return told


def _no(error: Unavailable) -> Refused:
    """Somebody outside is not to be reached, and nothing was done."""
    return Refused(error.code, error.message, **error.details)


def refused_payment(refusal: PaymentError, *, payment_id: str) -> Refused:
    """A refusal in this door's words, naming the payment."""
    code = _SAME_TO_CALLERS.get(refusal.code, refusal.code)
    return Refused(code, refusal.message, **{**refusal.details, "payment_id": payment_id})


def _event(change: Change, refund: Refund | None, processing_id: str) -> PaymentStateChanged:
    after = change.payment
    given_back = domain.fee_given_back(after, after.refunded_minor)
    fee = change.fee_minor
    if given_back and change.action is Action.REFUND:
        fee = given_back - domain.fee_given_back(after, after.refunded_minor - change.amount_minor)
    return PaymentStateChanged(
        type=event_type(after.kind, change.action),
        event_id=f"{after.payment_id}:{after.version}",
        payment_id=after.payment_id,
        kind=after.kind,
        action=change.action,
        state=after.state,
        amount_minor=change.amount_minor,
        asset=after.asset,
        payer_id=after.payer_id,
        payee_id=after.payee_id,
        captured_minor=after.captured_minor,
        refunded_minor=after.refunded_minor,
        exchange_id=after.exchange_id,
        refund_id=refund and refund.refund_id,
        code=change.code,
        processing_id=processing_id,
        version=after.version,
        occurred_at=after.updated_at,
        beneficiary_id=after.beneficiary_id,
        fee_minor=fee,
        fee_total_minor=after.fee_minor - given_back,
        method=after.method,
        account_type=after.account_type,
        reference=after.reference,
    )
