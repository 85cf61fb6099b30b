"""The sagas of a payment: each has one ledger activity, and ends with the new state, its step and its event together.

A lost answer is asked for again under the same ids. When it stays lost past `ANSWER_S`, the payment is told UNKNOWN
and claimed all the same, and the workflow goes on asking, without end, until the ledger says what became of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.ledger.api import (
    CaptureExchange,
    CreateExchange,
    ExchangeState,
    GetExchange,
    Ledger,
    Leg,
    ReverseExchange,
    VoidExchange,
    account_id_of,
)
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
)
from kessai.services.payment.domain import Change

ANSWER_S = 5.0
"""How long the ledger is asked before the payment is told UNKNOWN."""
ATTEMPT_S = 2.0
"""How long one attempt may take before it is cut off and repeated."""
PAUSE_S_MAX = 5.0
"""Longest pause between two attempts."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Deps:
    """Whom the payment service works with."""

    ledger: Ledger


Run: TypeAlias = Workflow[Deps]

_SAME_TO_CALLERS = {"hold_expired": "authorization_expired", "exchange_not_authorized": "charge_not_authorized"}
"""The ledger's words for what this door has its own word for."""


class SourceLeg(Message, frozen=True):
    """One source of an order, and the name by which the payment tells it."""

    name: str
    owner: str
    account_type: str
    amount_minor: int
    balancing: bool


class Order(Message, frozen=True):
    """A new payment and how to move its value."""

    payment: PaymentRecord
    sources: list[SourceLeg]
    payee_account_type: str
    capture: bool
    caller: str


class Task(Message, frozen=True):
    """An action on a payment that is claimed for it; `payment` is as it was right after the claim."""

    payment: PaymentRecord
    action: Action
    amount_minor: int
    action_id: str
    """`act_…` for the ledger."""
    caller: str
    processing_id: str
    final: bool = True
    refund: Refund | None = None


class Settled(Message, frozen=True):
    """What the ledger answered, as far as the payment needs it."""

    funding: tuple[Funding, ...] = ()
    expired: bool = False
    """Nothing was held any more: the ledger had let it expire."""


# -- workflows --------------------------------------------------------------------------------------------------


@define("payment.create", version=1)
async def create(wf: Run, order: Order) -> PaymentRecord:
    """Hold or move the value of a new payment."""
    notes = _Notes(wf, order.payment, order.caller, order.payment.processing_id)
    settled = await notes.ask(exchange_value, order)
    if isinstance(settled, PaymentError):
        notes.write(domain.refused(notes.payment, settled.code, wf.now()))
        raise _refusal(settled, payment_id=order.payment.payment_id)
    follow = domain.sold if order.capture else domain.authorized
    return notes.write(follow(notes.payment, list(settled.funding), wf.now()))


@define("payment.capture", version=1)
async def capture(wf: Run, task: Task) -> PaymentRecord:
    """Make (part of) an authorization final."""
    notes = _Notes(wf, task.payment, task.caller, task.processing_id)
    settled = await notes.ask(capture_value, task)
    if isinstance(settled, PaymentError):
        raise notes.declined(settled, task.payment.state)
    return notes.write(domain.captured(notes.payment, task.amount_minor, wf.now(), final=task.final))


@define("payment.release", version=1)
async def release(wf: Run, task: Task) -> PaymentRecord:
    """Let go of what an authorization holds: canceled, or lapsed."""
    notes = _Notes(wf, task.payment, task.caller, task.processing_id)
    settled = await notes.ask(release_value, task)
    if isinstance(settled, PaymentError):
        raise notes.declined(settled, task.payment.state)
    action = Action.EXPIRE if settled.expired else task.action
    after = notes.write(domain.released(notes.payment, action, wf.now()))
    if action is not task.action:
        raise Refused("authorization_expired", "The authorization has lapsed.", payment_id=after.payment_id)
    return after


@define("payment.refund", version=1)
async def refund(wf: Run, task: Task) -> Refund:
    """Give captured value back."""
    assert task.refund is not None
    notes = _Notes(wf, task.payment, task.caller, task.processing_id, task.refund)
    settled = await notes.ask(return_value, task)
    if isinstance(settled, PaymentError):
        refusal = notes.declined(settled, task.payment.state)
        notes.write_refund(RefundState.REFUSED, refusal.code)
        raise refusal
    notes.write(domain.refunded(notes.payment, task.amount_minor, wf.now()))
    return notes.write_refund(RefundState.SUCCEEDED)


class _Notes:
    """What a workflow writes down about its payment: states, steps, events."""

    def __init__(
        self, wf: Run, payment: PaymentRecord, caller: str, processing_id: str, refund: Refund | None = None
    ) -> None:
        self._wf = wf
        self._caller = caller
        self._processing_id = processing_id
        self._refund = refund
        self.payment = payment

    async def ask(self, activity: Callable[[Activity[Deps], T], Awaitable[R]], argument: T) -> R | PaymentError:
        """The ledger's answer, or its refusal; while it is unknown, the payment says so."""
        retry = Retry(attempt_timeout_s=ATTEMPT_S, delay_s_max=PAUSE_S_MAX)
        try:
            return await self._wf.activity(activity, argument, deadline_s=ANSWER_S, retry=retry, repeatable=True)
        except (Unavailable, Unknown):
            await self._lose_track()
        except PaymentError as refusal:
            return refusal
        try:
            return await self._wf.activity(activity, argument, retry=retry)
        except PaymentError as refusal:
            return refusal

    async def _lose_track(self) -> None:
        if self._refund is None:
            self.write(domain.lost_track(self.payment, self._wf.now()))
        else:
            self.write_refund(RefundState.UNKNOWN)
        await self._wf.flush()

    def write(self, change: Change) -> PaymentRecord:
        """The payment's new state with its step and event."""
        for row in store.step(
            change,
            claimed_by=self._wf.workflow_id if change.keeps_claim else None,
            refund_id=self._refund and self._refund.refund_id,
            processing_id=self._processing_id,
            caller=self._caller,
        ):
            self._wf.record(row)
        self._wf.publish(TOPIC, _event(change, self._refund, self._processing_id))
        self.payment = change.payment
        return change.payment

    def write_refund(self, state: RefundState, code: str | None = None) -> Refund:
        """The refund's new state."""
        assert self._refund is not None
        self._refund = replace(self._refund, state=state, refusal_code=code, updated_at=self._wf.now())
        self._wf.record(store.refund_update(self._refund))
        return self._refund

    def declined(self, refusal: PaymentError, before: PaymentState) -> Refused:
        """Put the payment back to where it was; gives what to tell the caller."""
        told = _refusal(refusal, payment_id=self.payment.payment_id)
        if self._refund is not None:
            told.details["refund_id"] = self._refund.refund_id
        self.write(domain.action_refused(self.payment, before, told.code, self._wf.now()))
        return told


def _refusal(refusal: PaymentError, *, payment_id: str) -> Refused:
    code = _SAME_TO_CALLERS.get(refusal.code, refusal.code)
    return Refused(code, refusal.message, **{**refusal.details, "payment_id": payment_id})


def _event(change: Change, refund: Refund | None, processing_id: str) -> PaymentStateChanged:
    after = change.payment
    return PaymentStateChanged(
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
    )


# -- activities: each may be repeated, its ids are fixed before it starts -----------------------------------------


async def exchange_value(activity: Activity[Deps], order: Order) -> Settled:
    """One ledger exchange with every source, held or moved at once."""
    payment = order.payment
    request = CreateExchange(
        exchange_id=payment.exchange_id,
        kind=payment.kind,
        reference=payment.payment_id,
        capture=order.capture,
        expires_at=payment.expires_at,
        sources=[
            Leg(
                owner=leg.owner,
                account_type=leg.account_type,
                amount_minor=leg.amount_minor,
                asset=payment.asset,
                balancing=leg.balancing,
            )
            for leg in order.sources
        ],
        targets=[
            Leg(
                owner=payment.payee_id,
                account_type=order.payee_account_type,
                amount_minor=payment.amount_minor,
                asset=payment.asset,
            )
        ],
    )
    exchange = await _ledger(activity, payment.processing_id).create_exchange(request)
    if len(order.sources) == 1:
        return Settled(funding=(Funding(source=order.sources[0].name, amount_minor=payment.amount_minor),))
    gave = {leg.account_id: -leg.amount_minor for leg in exchange.legs}
    parts = ((leg.name, gave.get(account_id_of(leg.owner, leg.account_type), 0)) for leg in order.sources)
    return Settled(funding=tuple(Funding(source=name, amount_minor=amount) for name, amount in parts if amount))


async def capture_value(activity: Activity[Deps], task: Task) -> Settled:
    """Capture (part of) the payment's exchange."""
    request = CaptureExchange(
        exchange_id=task.payment.exchange_id,
        amount_minor=task.amount_minor,
        final=task.final,
        action_id=task.action_id,
    )
    await _ledger(activity, task.processing_id).capture_exchange(request)
    return Settled()


async def release_value(activity: Activity[Deps], task: Task) -> Settled:
    """Void what the payment's exchange holds; the ledger may have let it expire already."""
    ledger, exchange_id = _ledger(activity, task.processing_id), task.payment.exchange_id
    try:
        await ledger.void_exchange(VoidExchange(exchange_id=exchange_id, action_id=task.action_id))
    except PaymentError as refusal:
        if refusal.code != "exchange_not_authorized":
            raise
        exchange = await ledger.get_exchange(GetExchange(exchange_id=exchange_id))
        captured = sum(leg.captured_minor for leg in exchange.legs if leg.amount_minor > 0)
        if exchange.state is ExchangeState.CAPTURED and captured == task.payment.captured_minor > 0:
            return Settled()  # captured in part, and the rest let go already
        if exchange.state not in (ExchangeState.EXPIRED, ExchangeState.VOIDED):
            raise
        return Settled(expired=exchange.state is ExchangeState.EXPIRED)
    return Settled()


async def return_value(activity: Activity[Deps], task: Task) -> Settled:
    """Reverse (part of) the payment's exchange; lots come back with their own expiry."""
    assert task.refund is not None
    request = ReverseExchange(
        exchange_id=task.payment.exchange_id,
        amount_minor=task.amount_minor,
        reversal_id=task.refund.exchange_id,
        reference=task.refund.refund_id,
        kind="refund",
    )
    await _ledger(activity, task.processing_id).reverse_exchange(request)
    return Settled()


def _ledger(activity: Activity[Deps], processing_id: str) -> Ledger:
    """The ledger, entered for the payment's own processing (the starting call may have named none)."""
    current_call().processing_id = processing_id
    return activity.deps.ledger
