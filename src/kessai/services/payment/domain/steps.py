"""The state machine, and what each step makes of a payment.

`TRANSITIONS` is the machine; every change goes through `_step`, so no other move can be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from kessai.services.payment.api import Action, Funding, NextAction, PaymentRecord, PaymentState
from kessai.services.payment.domain.funding import still_held
from kessai.services.payment.domain.further import GivenBack

S = PaymentState

_OUTCOMES = {
    Action.AUTHORIZE: frozenset({S.AUTHORIZED}),
    Action.CAPTURE: frozenset({S.CAPTURED}),
    Action.REFUSE: frozenset({S.REFUSED}),
}
_NEW = _OUTCOMES | {Action.REQUIRE_ACTION: frozenset({S.REQUIRES_ACTION}), Action.SEND: frozenset({S.IN_FLIGHT})}
_LOST = {Action.LOSE_TRACK: frozenset({S.UNKNOWN})}
_HELD = {
    Action.CAPTURE: frozenset({S.PARTIALLY_CAPTURED, S.CAPTURED}),
    Action.REFUSE: frozenset({S.AUTHORIZED, S.PARTIALLY_CAPTURED}),
    Action.LOSE_TRACK: frozenset({S.UNKNOWN}),
}

TRANSITIONS: Mapping[PaymentState, Mapping[Action, frozenset[PaymentState]]] = {
    S.PENDING: _NEW | _LOST,
    S.REQUIRES_ACTION: _NEW | _LOST | {Action.CANCEL: frozenset({S.CANCELED}), Action.EXPIRE: frozenset({S.EXPIRED})},
    S.AUTHORIZED: _HELD | {Action.CANCEL: frozenset({S.CANCELED}), Action.EXPIRE: frozenset({S.EXPIRED})},
    S.PARTIALLY_CAPTURED: _HELD | {Action.CANCEL: frozenset({S.CAPTURED}), Action.EXPIRE: frozenset({S.CAPTURED})},
    S.CAPTURED: {
        Action.REFUND: frozenset({S.CAPTURED}),
        Action.REFUSE: frozenset({S.CAPTURED}),
        Action.RETURN: frozenset({S.RETURNED}),
    },
    S.IN_FLIGHT: _LOST | {Action.CAPTURE: frozenset({S.CAPTURED}), Action.REFUSE: frozenset({S.REFUSED})},
    S.RETURNED: {},
    S.CANCELED: {},
    S.REFUSED: {},
    S.EXPIRED: {},
    S.UNKNOWN: {
        Action.AUTHORIZE: frozenset({S.AUTHORIZED}),
        Action.CAPTURE: frozenset({S.PARTIALLY_CAPTURED, S.CAPTURED}),
        Action.CANCEL: frozenset({S.CANCELED, S.CAPTURED}),
        Action.EXPIRE: frozenset({S.EXPIRED, S.CAPTURED}),
        Action.REFUSE: frozenset({S.REFUSED, S.AUTHORIZED, S.PARTIALLY_CAPTURED, S.REQUIRES_ACTION, S.IN_FLIGHT}),
        Action.REQUIRE_ACTION: frozenset({S.REQUIRES_ACTION}),
        Action.SEND: frozenset({S.IN_FLIGHT}),
    },
}
"""From a state, by an action, to these states. A refused action leaves a payment that has come further where it was."""

FINAL = frozenset({S.CAPTURED, S.CANCELED, S.REFUSED, S.EXPIRED, S.RETURNED})
"""Nothing is held any more; what was captured may still be refunded."""


@dataclass(frozen=True, slots=True)
class Change:
    """A payment after one step, and what the step was."""

    payment: PaymentRecord
    action: Action
    amount_minor: int
    """What this step moved, held or released."""
    code: str | None = None
    keeps_claim: bool = False
    """The workflow goes on working on the payment."""
    exchange_id: str | None = None
    """A further ledger exchange that the step made."""
    fee_minor: int = 0
    """What the step kept as a fee."""
    given_back: GivenBack | None = None
    """What went back with it, and by which exchanges."""


def authorized(payment: PaymentRecord, funding: list[Funding], at: datetime) -> Change:
    """The sources are held; of an escrow, the value is with the marketplace."""
    until = payment.next_action.authorized_until if payment.next_action else payment.expires_at
    after = replace(payment, state=S.AUTHORIZED, funding=funding, next_action=None, expires_at=until)
    return _step(payment, after, Action.AUTHORIZE, payment.amount_minor, at)


def sold(payment: PaymentRecord, funding: list[Funding], at: datetime) -> Change:
    """The value moved at once."""
    after = replace(
        payment,
        state=S.CAPTURED,
        funding=funding,
        captured_minor=payment.amount_minor,
        captures=payment.captures + 1,
        next_action=None,
        expires_at=None,
    )
    return _step(payment, after, Action.CAPTURE, payment.amount_minor, at)


def action_required(
    payment: PaymentRecord, funding: list[Funding], action: NextAction, act_by: datetime | None, at: datetime
) -> Change:
    """The payment goes on when something outside has happened, by `act_by` if at all."""
    action = replace(action, authorized_until=payment.expires_at)
    after = replace(payment, state=S.REQUIRES_ACTION, funding=funding, next_action=action, expires_at=act_by)
    return _step(payment, after, Action.REQUIRE_ACTION, payment.amount_minor, at)


def sent(payment: PaymentRecord, funding: list[Funding], at: datetime) -> Change:
    """The bank has the payment."""
    after = replace(payment, state=S.IN_FLIGHT, funding=funding)
    return _step(payment, after, Action.SEND, payment.amount_minor, at)


def returned(
    payment: PaymentRecord, exchange_id: str, code: str | None, at: datetime, funding: list[Funding]
) -> Change:
    """What had left came back; a fee stays."""
    after = replace(payment, state=S.RETURNED, funding=funding)
    change = _step(payment, after, Action.RETURN, payment.amount_minor, at, code)
    return dataclasses.replace(change, exchange_id=exchange_id)


def captured(
    payment: PaymentRecord, amount_minor: int, at: datetime, *, final: bool, funding: list[Funding] | None = None
) -> Change:
    """An amount of the authorization is final; with `final`, the rest is released. `funding`: after what went back."""
    state = S.CAPTURED if final or amount_minor == still_held(payment) else S.PARTIALLY_CAPTURED
    after = replace(
        payment,
        state=state,
        captured_minor=payment.captured_minor + amount_minor,
        captures=payment.captures + 1,
        funding=payment.funding if funding is None else funding,
    )
    return _step(payment, after, Action.CAPTURE, amount_minor, at)


def paid_on(change: Change, fee_minor: int, exchange_id: str | None) -> Change:
    """A capture of an escrow: what the marketplace kept of it, and the exchange that paid the seller."""
    payment = replace(change.payment, fee_minor=change.payment.fee_minor + fee_minor)
    return dataclasses.replace(change, payment=payment, fee_minor=fee_minor, exchange_id=exchange_id)


def released(payment: PaymentRecord, action: Action, at: datetime, funding: list[Funding] | None = None) -> Change:
    """What was still held is released, by `CANCEL` or `EXPIRE`; what was captured before stays captured.

    `funding`: of an escrow, after what went back.
    """
    nothing_captured = S.CANCELED if action is Action.CANCEL else S.EXPIRED
    state = S.CAPTURED if payment.captured_minor else nothing_captured
    after = replace(payment, state=state, next_action=None, funding=payment.funding if funding is None else funding)
    return _step(payment, after, action, still_held(payment), at)


def refunded(payment: PaymentRecord, amount_minor: int, at: datetime, funding: list[Funding]) -> Change:
    """An amount went back; `funding` says to whom."""
    total = payment.refunded_minor + amount_minor
    after = replace(payment, refunded_minor=total, refunds=payment.refunds + 1, funding=funding)
    return _step(payment, after, Action.REFUND, amount_minor, at)


def refused(payment: PaymentRecord, code: str, at: datetime) -> Change:
    """The ledger or somebody outside declined: a payment that has not come further ends REFUSED."""
    after = replace(payment, state=S.REFUSED, refusal_code=code, next_action=None)
    return _step(payment, after, Action.REFUSE, 0, at, code)


def action_refused(
    payment: PaymentRecord, before: PaymentState, code: str, at: datetime, funding: list[Funding] | None = None
) -> Change:
    """An action was declined on a payment: it is where it was before, but for what a card has got back already."""
    after = replace(payment, state=before, funding=payment.funding if funding is None else funding)
    return _step(payment, after, Action.REFUSE, still_held(payment) - still_held(after), at, code)


def lost_track(payment: PaymentRecord, at: datetime) -> Change:
    """The ledger's answer did not come: the outcome is UNKNOWN until it is found."""
    after = replace(payment, state=S.UNKNOWN)
    change = _step(payment, after, Action.LOSE_TRACK, 0, at)
    return Change(change.payment, change.action, 0, keeps_claim=True)


def may_follow(before: PaymentState, action: Action, after: PaymentState) -> bool:
    """Whether the state machine has this move."""
    return after in TRANSITIONS[before].get(action, ())


def _step(
    before: PaymentRecord, after: PaymentRecord, action: Action, amount: int, at: datetime, code: str | None = None
) -> Change:
    assert may_follow(before.state, action, after.state), (before.state, action, after.state)
    return Change(replace(after, version=before.version + 1, updated_at=at), action, amount, code)
