"""Net orders: what may be done with one when, how it and its payment make one state, and its signed return addresses.

An order decides by itself only until a payment holds its amount. From then on the payment's state is the order's, so
that there is one truth; a payment that was refused leaves the order open for another attempt.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never
from urllib.parse import parse_qsl, urlencode, urlsplit

from kessai.foundation.errors import Invalid, Refused
from kessai.services.payment.api import PaymentRecord
from kessai.services.payment.api import PaymentState as S
from kessai.services.payment.api.orders import (
    ORDER_PAST,
    CreateOrder,
    NetOrder,
    OrderAction,
    OrderChanged,
    OrderState,
)
from kessai.services.payment.domain.checkout import OrderTerms
from kessai.services.payment.domain.checks import Busy
from kessai.services.payment.domain.kinds import PaymentKind


class Own(StrEnum):
    """What an order itself knows of its state."""

    OPEN = "OPEN"
    BOUND = "BOUND"
    """Its time to be confirmed is over, and its payment tells the rest."""
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it is kept. `customer_id`, `payment_id`: of the last attempt to pay it."""

    order_id: str
    own: Own
    version: int
    asked: CreateOrder
    customer_id: str | None
    payment_id: str | None
    expires_at: datetime
    sealed_key: bytes = field(repr=False)
    content_sha256: bytes
    caller: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChange:
    """An order after one step of its own."""

    order: Order
    action: OrderAction
    caller: str
    request_key: str | None = None


# -- a new one ------------------------------------------------------------------------------------------------------

RESERVED = ("order_id", "result", "payment_id", "signature")
"""Parameters that are added to return addresses."""

_VISIBLE = re.compile(r"[!#-;=?-Z\[\]_a-z~]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def check_return_address(address: str, name: str) -> None:
    """Raises Invalid `return_url_not_https`, `return_url_malformed`, `return_url_reserved`."""
    if not address.lower().startswith("https://"):
        raise Invalid("return_url_not_https", f"{name} must begin with https://.", field=name)
    try:
        parts = urlsplit(address)
        whole = parts.port != 0 and _HOST.fullmatch(parts.hostname or "") is not None
    except ValueError:
        raise _malformed(name) from None
    if not whole or not _VISIBLE.fullmatch(address) or "@" in parts.netloc or "#" in address:
        raise _malformed(name)
    if taken := {each for each, _ in parse_qsl(parts.query, keep_blank_values=True)}.intersection(RESERVED):
        raise Invalid("return_url_reserved", f"{name} has {min(taken)}, which is added to it.", field=name)


def _malformed(name: str) -> Invalid:
    return Invalid("return_url_malformed", f"{name} needs a host, and has no user and no fragment.", field=name)


def confirmable_until(expires_at: datetime | None, now: datetime, terms: OrderTerms) -> datetime:
    """Until when a new order may be confirmed; raises `expires_in_past`, `expires_too_late`."""
    if expires_at is None:
        return now + timedelta(minutes=terms.live_minutes)
    if expires_at <= now:
        raise Invalid("expires_in_past", "expires_at must lie ahead.")
    if expires_at > now + timedelta(minutes=terms.live_minutes_max):
        raise Invalid("expires_too_late", f"An order is open for at most {terms.live_minutes_max} minutes.")
    return expires_at


def check_capture_days(request: CreateOrder, kind: PaymentKind) -> None:
    """Raises `capture_days_without_authorization`, `capture_days_too_many`."""
    if request.capture_days is None:
        return
    if request.capture:
        raise Invalid("capture_days_without_authorization", "What is captured at once has no time to be captured.")
    if request.capture_days > kind.hold_days_max:
        raise Invalid("capture_days_too_many", f"An authorization lasts at most {kind.hold_days_max} days.")


def check_accepted(sources: Sequence[str], kind: PaymentKind) -> None:
    """Raises `unknown_source`."""
    for source in sources:
        if source not in kind.payer_account_types and source not in kind.sources:
            raise Invalid("unknown_source", f"{source} is not a source of a {kind.name}.", source=source)


# -- state ----------------------------------------------------------------------------------------------------------


def is_undecided(payment: PaymentRecord | None) -> bool:
    """Whether no payment holds, or may yet hold, the order's amount."""
    return payment is None or payment.state is S.REFUSED


def state_of(order: Order, payment: PaymentRecord | None, now: datetime) -> OrderState:
    """The one state of an order and its payment."""
    match order.own:
        case Own.CANCELED:
            return OrderState.CANCELED
        case Own.EXPIRED:
            return OrderState.EXPIRED
        case Own.OPEN | Own.BOUND:
            return _state_by_payment(order, payment, now)
        case _:
            assert_never(order.own)


_BY_PAYMENT: Mapping[S, OrderState] = {
    S.AUTHORIZED: OrderState.AUTHORIZED,
    S.PARTIALLY_CAPTURED: OrderState.PARTIALLY_CAPTURED,
    S.CAPTURED: OrderState.CAPTURED,
    S.CANCELED: OrderState.CANCELED,
    S.EXPIRED: OrderState.EXPIRED,
}


def _state_by_payment(order: Order, payment: PaymentRecord | None, now: datetime) -> OrderState:
    if payment is None or payment.state is S.REFUSED:
        return OrderState.EXPIRED if order.expires_at <= now else OrderState.OPEN
    return _BY_PAYMENT.get(payment.state, OrderState.CONFIRMING)


def check_confirm(order: Order, payment: PaymentRecord | None, customer_id: str, now: datetime) -> None:
    """Raises `order_canceled`, `order_expired`, `order_confirming`, `order_confirmed`, `order_of_another`."""
    match state_of(order, payment, now):
        case OrderState.OPEN:
            if order.asked.customer_id not in (None, customer_id):
                raise Refused("order_of_another", "The order is for another customer.", order_id=order.order_id)
        case OrderState.CONFIRMING:
            raise Busy("order_confirming", "A payment of this order is under way.", order_id=order.order_id)
        case OrderState.AUTHORIZED | OrderState.PARTIALLY_CAPTURED | OrderState.CAPTURED:
            raise Refused("order_confirmed", "The order is confirmed.", order_id=order.order_id)
        case OrderState.CANCELED | OrderState.EXPIRED as ended:
            raise over(order, ended)


def over(order: Order, ended: OrderState) -> Refused:
    """What is said of an order that was given up or is too late."""
    if ended is OrderState.CANCELED:
        return Refused("order_canceled", "The order was canceled.", order_id=order.order_id)
    return Refused("order_expired", "The order's time is over.", order_id=order.order_id)


def capture_expiry(order: Order, now: datetime) -> datetime | None:
    """When the authorization of an order that is confirmed now lapses; None: the kind's own time, or at once."""
    days = order.asked.capture_days
    return None if days is None else now + timedelta(days=days)


def when_overdue(payment: PaymentRecord | None) -> Own | None:
    """What becomes of an open order whose time is over; None while its payment's outcome is not known."""
    if is_undecided(payment):
        return Own.EXPIRED
    assert payment is not None
    return Own.BOUND if payment.state in _BY_PAYMENT else None


# -- what is told ---------------------------------------------------------------------------------------------------

RESULTS: Mapping[OrderState, str] = {
    OrderState.AUTHORIZED: "confirmed",
    OrderState.PARTIALLY_CAPTURED: "confirmed",
    OrderState.CAPTURED: "confirmed",
    OrderState.CANCELED: "canceled",
    OrderState.EXPIRED: "expired",
}
"""What a return address says of a state; of others there is nothing to tell the shop."""


def redirect_of(order: Order, state: OrderState, key: bytes) -> str:
    """Where to send the customer, signed, so that nobody without the key can pretend another result."""
    result, payment_id = RESULTS[state], order.payment_id
    address = order.asked.success_url if result == "confirmed" else order.asked.cancel_url
    added = {"order_id": order.order_id, "result": result, "payment_id": payment_id or ""}
    added["signature"] = signature_of(order.order_id, result, payment_id, key)
    return f"{address}{'&' if '?' in address else '?'}{urlencode(added)}"


def signature_of(order_id: str, result: str, payment_id: str | None, key: bytes) -> str:
    """HMAC-SHA-256 over order, result and payment, in hexadecimal."""
    return hmac.digest(key, f"{order_id}.{result}.{payment_id or ''}".encode(), "sha256").hex()


def told(order: Order, payment: PaymentRecord | None, now: datetime) -> NetOrder:
    """The order as the door tells it, but for where to send its customer."""
    asked, state = order.asked, state_of(order, payment, now)
    held = state in (OrderState.AUTHORIZED, OrderState.PARTIALLY_CAPTURED)
    return NetOrder(
        order_id=order.order_id,
        state=state,
        merchant_id=asked.merchant_id,
        customer_id=order.customer_id,
        amount_minor=asked.amount_minor,
        asset=asked.asset,
        success_url=asked.success_url,
        cancel_url=asked.cancel_url,
        expires_at=order.expires_at,
        capture=asked.capture,
        capture_days=asked.capture_days,
        accepted_sources=asked.accepted_sources,
        reference=asked.reference,
        description=asked.description,
        metadata=asked.metadata,
        payment_id=order.payment_id,
        captured_minor=0 if payment is None else payment.captured_minor,
        refunded_minor=0 if payment is None else payment.refunded_minor,
        capture_before=payment.expires_at if payment is not None and held else None,
        next_action=None if payment is None else payment.next_action,
        redirect_url=None,
        created_at=order.created_at,
        updated_at=order.updated_at if payment is None else max(order.updated_at, payment.updated_at),
    )


def event_of(change: OrderChange) -> OrderChanged:
    """What is published of a step."""
    order = change.order
    return OrderChanged(
        type=f"payment.order.{ORDER_PAST[change.action]}",
        event_id=f"{order.order_id}:{order.version}",
        order_id=order.order_id,
        merchant_id=order.asked.merchant_id,
        customer_id=order.customer_id,
        payment_id=order.payment_id,
        amount_minor=order.asked.amount_minor,
        asset=order.asked.asset,
        reference=order.asked.reference,
        version=order.version,
        occurred_at=order.updated_at,
    )
