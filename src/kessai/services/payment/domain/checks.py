"""Whether something may be done to a payment now; each check raises its errors in the documented order."""

from __future__ import annotations

from datetime import datetime, timedelta

from kessai.foundation.call import Call
from kessai.foundation.errors import Conflict, Invalid, Refused
from kessai.services.payment.api import PaymentRecord
from kessai.services.payment.api import PaymentState as S
from kessai.services.payment.api.words import SETTLEMENT_MOVE
from kessai.services.payment.domain.funding import still_held
from kessai.services.payment.domain.kinds import KindAction, PaymentKind


class Busy(Conflict):
    """Something is going on with the payment; the same request may be sent again."""

    retryable = True


def check_amount(amount_minor: int, asset: str, kind: PaymentKind) -> None:
    """Raises `wrong_asset`, `amount_above_limit`."""
    if asset != kind.asset:
        raise Invalid("wrong_asset", f"A {kind.name} is paid in {kind.asset}.", asset=asset)
    if amount_minor > kind.amount_minor_max:
        raise Refused(
            "amount_above_limit",
            f"A {kind.name} is at most {kind.amount_minor_max}.",
            limit_minor=kind.amount_minor_max,
        )


def check_may_move(kind: PaymentKind, call: Call) -> None:
    """Raises Forbidden `missing_scope` where a key without it would move merchants' own money, by whichever verb."""
    if kind.is_merchants_own:
        call.require(SETTLEMENT_MOVE)


def check_allowed(kind: PaymentKind, action: KindAction) -> None:
    """Raises `action_not_allowed`."""
    if action not in kind.actions:
        raise Refused("action_not_allowed", f"A {kind.name} has no {action}.", kind=kind.name)


def authorization_expiry(
    expires_at: datetime | None, kind: PaymentKind, now: datetime, *, at_once: bool
) -> datetime | None:
    """When the authorization lapses; None for a sale at once.

    Raises `expires_without_authorization`, `expires_in_past`, `expires_too_late`.
    """
    if at_once:
        if expires_at is not None:
            raise Invalid("expires_without_authorization", "A sale at once has nothing that could expire.")
        return None
    if expires_at is None:
        return now + timedelta(days=kind.hold_days)
    if expires_at <= now:
        raise Invalid("expires_in_past", "expires_at must lie ahead.")
    if expires_at > now + timedelta(days=kind.hold_days_max):
        raise Invalid("expires_too_late", f"An authorization lasts at most {kind.hold_days_max} days.")
    return expires_at


def capture_amount(payment: PaymentRecord, amount_minor: int | None, kind: PaymentKind, now: datetime) -> int:
    """How much the capture takes.

    Raises `payment_unresolved`, `already_captured`, `charge_not_authorized`, `authorization_expired`,
    `capture_above_authorized`, `captures_exhausted`.
    """
    _require_held(payment)
    _require_time_left(payment, now)
    left = still_held(payment)
    amount = left if amount_minor is None else amount_minor
    if amount > left:
        raise Refused("capture_above_authorized", f"Only {left} is left to capture.", capturable_minor=left)
    if payment.captures >= kind.captures_max:
        raise Refused("captures_exhausted", f"A {kind.name} is captured in at most {kind.captures_max} parts.")
    return amount


def check_fee(amount_minor: int, fee_minor: int) -> None:
    """Raises `fee_above_amount`."""
    if fee_minor > amount_minor:
        raise Refused("fee_above_amount", f"A fee is taken out of the amount, which is {amount_minor}.")


def check_cancel(payment: PaymentRecord, now: datetime) -> None:
    """Raises `payment_unresolved`, `already_captured`, `already_canceled`, `charge_not_authorized`,
    `authorization_expired`."""
    if payment.state is S.CANCELED:
        raise Refused("already_canceled", "The payment was canceled.", payment_id=payment.payment_id)
    if payment.state is not S.REQUIRES_ACTION:
        _require_held(payment)
    _require_time_left(payment, now)


def refund_amount(payment: PaymentRecord, amount_minor: int | None, kind: PaymentKind) -> int:
    """How much the refund gives back.

    Raises `payment_unresolved`, `charge_not_captured`, `refund_above_captured`, `refunds_exhausted`.
    """
    _require_resolved(payment)
    if payment.state is not S.CAPTURED:
        raise Refused("charge_not_captured", f"The payment is {payment.state}; only a captured one is refunded.")
    left = payment.captured_minor - payment.refunded_minor
    amount = left if amount_minor is None else amount_minor
    if amount > left or left == 0:
        raise Refused("refund_above_captured", f"Only {left} is left to refund.", refundable_minor=left)
    if payment.refunds >= kind.refunds_max:
        raise Refused("refunds_exhausted", f"A {kind.name} is refunded in at most {kind.refunds_max} parts.")
    return amount


def check_waiting(payment: PaymentRecord, now: datetime) -> None:
    """Raises `payment_unresolved`, `authorization_expired`, `payment_not_waiting`."""
    _require_resolved(payment)
    if payment.state is S.EXPIRED:
        raise Refused("authorization_expired", "The time to act is over.", payment_id=payment.payment_id)
    if payment.state is not S.REQUIRES_ACTION:
        raise Refused("payment_not_waiting", f"The payment is {payment.state}.", payment_id=payment.payment_id)
    _require_time_left(payment, now)


def unresolved(payment: PaymentRecord) -> Busy:
    """Nothing can be done to a payment whose outcome is not known yet; retryable."""
    return Busy(
        "payment_unresolved",
        "The payment's outcome is still being looked for; try again shortly.",
        payment_id=payment.payment_id,
    )


def is_overdue(payment: PaymentRecord, now: datetime) -> bool:
    """Whether it still holds value past its time."""
    held = payment.state in (S.AUTHORIZED, S.PARTIALLY_CAPTURED, S.REQUIRES_ACTION)
    return held and payment.expires_at is not None and payment.expires_at <= now


def _require_resolved(payment: PaymentRecord) -> None:
    if payment.state in (S.UNKNOWN, S.PENDING):
        raise unresolved(payment)


def _require_held(payment: PaymentRecord) -> None:
    _require_resolved(payment)
    match payment.state:
        case S.AUTHORIZED | S.PARTIALLY_CAPTURED:
            return
        case S.CAPTURED:
            raise Refused("already_captured", "The payment is captured.", payment_id=payment.payment_id)
        case S.EXPIRED:
            raise Refused("authorization_expired", "The authorization has lapsed.", payment_id=payment.payment_id)
        case state:
            raise Refused("charge_not_authorized", f"The payment is {state}.", payment_id=payment.payment_id)


def _require_time_left(payment: PaymentRecord, now: datetime) -> None:
    if payment.expires_at is not None and payment.expires_at <= now:
        raise Refused("authorization_expired", "The authorization has lapsed.", payment_id=payment.payment_id)
