"""Net payment (ネット決済): an order that a shop creates, a customer confirms, and the shop captures later."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Instant, Message, PageLimit, Reference, verb
from kessai.services.payment.api.refusals import CANCEL_ERRORS, CAPTURE_ERRORS, CHARGE_ERRORS
from kessai.services.payment.api.words import (
    Description,
    Id,
    Metadata,
    NextAction,
    Participant,
    PointsUse,
    SourceNames,
    Sources,
    Url,
)

CaptureDays = Annotated[int, msgspec.Meta(ge=1, le=366)]
ReturnAddress = Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)]
"""https, with a host, without user, fragment, or the parameters that are added to it."""


class OrderState(StrEnum):
    """Where an order stands: by itself until it is confirmed, then where its payment stands."""

    OPEN = "OPEN"
    """The customer may confirm it; a payment that was refused leaves it open."""
    CONFIRMING = "CONFIRMING"
    """Its payment is under way: it waits for the customer or somebody outside, or its outcome is not known yet."""
    AUTHORIZED = "AUTHORIZED"
    PARTIALLY_CAPTURED = "PARTIALLY_CAPTURED"
    CAPTURED = "CAPTURED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    """Nobody confirmed it in time, or nobody captured it in time."""


class OrderAction(StrEnum):
    """What was done to an order by itself; what is done to its payment is the payment's own history."""

    CREATE = "create"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    EXPIRE = "expire"


ORDER_TOPIC = "payment.order"
ORDER_PAST = {
    OrderAction.CREATE: "created",
    OrderAction.CONFIRM: "confirming",
    OrderAction.CANCEL: "canceled",
    OrderAction.EXPIRE: "expired",
}
"""The last word of an event's type: what was done."""


class OrderChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Published in `payment.order` with every step of an order by itself; what follows is told of its payment."""

    type: str
    """`payment.order.<what was done>`, such as `payment.order.expired`."""
    event_id: str
    order_id: str
    merchant_id: str
    customer_id: str | None
    payment_id: str | None
    """Of `confirming`: the charge whose events tell the rest."""
    amount_minor: int
    asset: str
    reference: str | None
    version: int
    occurred_at: datetime


class CreateOrder(Message):
    """A shop asks for a payment that a customer will confirm."""

    merchant_id: Participant
    amount_minor: AmountMinor
    success_url: ReturnAddress
    """Where the customer goes once the order is confirmed."""
    cancel_url: ReturnAddress
    """Where the customer goes when it is canceled or too late."""
    asset: Asset = "JPY"
    customer_id: Participant | None = None
    """Who alone may confirm it; None: whoever does first."""
    expires_at: Instant | None = None
    """Until when it may be confirmed; None: the platform's own time."""
    capture: bool = False
    """Capture as soon as it is confirmed, rather than later."""
    capture_days: CaptureDays | None = None
    """How long after the confirmation it may be captured; None: the kind's own time."""
    accepted_sources: SourceNames = []
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class NetOrder(Message):
    """An order and how far it has come."""

    order_id: str
    state: OrderState
    merchant_id: str
    customer_id: str | None
    """Who was asked for, or who confirmed it last."""
    amount_minor: int
    asset: str
    success_url: str
    cancel_url: str
    expires_at: datetime
    """Until when it may be confirmed."""
    capture: bool
    capture_days: int | None
    accepted_sources: list[str]
    reference: str | None
    description: str | None
    metadata: Metadata
    payment_id: str | None
    """The charge by which it was (last) to be paid; refunds are made on it."""
    captured_minor: int
    refunded_minor: int
    capture_before: datetime | None
    """When the authorization lapses."""
    next_action: NextAction | None
    """What the customer has to do before the payment goes on; then complete the payment."""
    redirect_url: str | None
    """Where to send the customer now, signed; None while there is nothing to tell the shop."""
    created_at: datetime
    updated_at: datetime
    return_key: str | None = None
    """In the answer to its creation: the key, in hexadecimal, under which its return addresses are signed."""


class ConfirmOrder(Message):
    """The customer pays."""

    order_id: Id
    customer_id: Participant
    sources: Sources = []
    points: PointsUse = PointsUse.FIRST
    return_url: Url | None = None
    """Where the customer comes back to from 3-D Secure; without it a card that asks for it is refused."""


class CancelOrder(Message):
    """The customer or the shop gives it up; what is held is released."""

    order_id: Id


class CaptureOrder(Message):
    """The shop takes what is left of the authorization, or an amount."""

    order_id: Id
    amount_minor: AmountMinor | None = None
    final: bool = True
    """Release what is left uncaptured; False keeps it for a further capture."""


class GetOrder(Message):
    """Which order."""

    order_id: Id


class ListOrders(Message):
    """A page of a shop's orders, newest first."""

    merchant_id: Participant
    reference: Reference | None = None
    limit: PageLimit = 50
    cursor: str | None = None


class OrderPage(Message):
    """A page; `next_cursor` is None on the last one. Redirects are told of single orders only."""

    orders: list[NetOrder]
    next_cursor: str | None


class OrderStep(Message):
    """One entry of an order's history."""

    recorded_at: datetime
    action: str
    """create, confirm, cancel, expire of the order itself; others are steps of the payment named."""
    payment_id: str | None
    amount_minor: int
    state: str
    """The order's own state after it, or the payment's."""
    code: str | None
    caller: str


class OrderHistory(Message):
    """Every step of an order and of its payments, oldest first; nothing is ever removed."""

    order_id: str
    steps: list[OrderStep]


_ADDRESS = ("return_url_not_https", "return_url_malformed", "return_url_reserved")
_UNDECIDED = ("order_not_found", "order_canceled", "order_expired", "order_confirming", "order_confirmed")


class NetPayments(Protocol):
    """ネット決済: orders of shops on the net."""

    @verb("POST /v1/orders", scope="payment:write", moves_value=True, status=201,
          errors=("wrong_asset", "amount_above_limit", *_ADDRESS, "expires_in_past", "expires_too_late",
                  "capture_days_without_authorization", "capture_days_too_many", "unknown_source",
                  "vault_not_configured"))  # fmt: skip
    async def create_order(self, request: CreateOrder, /) -> NetOrder:
        """Create an order; the answer shows the key of its return addresses."""
        ...

    @verb("POST /v1/orders/{order_id}/confirm", scope="payment:write", moves_value=True,
          errors=(*_UNDECIDED, "order_of_another", *CHARGE_ERRORS))  # fmt: skip
    async def confirm_order(self, request: ConfirmOrder, /) -> NetOrder:
        """Pay an order: its amount is held, or it waits for the customer to act."""
        ...

    @verb("POST /v1/orders/{order_id}/cancel", scope="payment:write", moves_value=True,
          errors=("order_not_found", "order_canceled", "order_expired", *CANCEL_ERRORS))  # fmt: skip
    async def cancel_order(self, request: CancelOrder, /) -> NetOrder:
        """Give an order up, confirmed or not."""
        ...

    @verb("POST /v1/orders/{order_id}/capture", scope="payment:write", moves_value=True,
          errors=("order_not_found", "order_not_confirmed", *CAPTURE_ERRORS))  # fmt: skip
    async def capture_order(self, request: CaptureOrder, /) -> NetOrder:
        """Capture a confirmed order, whole or in part, within its capture window."""
        ...

    @verb("GET /v1/orders/{order_id}", scope="payment:read", errors=("order_not_found",))
    async def get_order(self, request: GetOrder, /) -> NetOrder:
        """An order, and where to send its customer."""
        ...

    @verb("GET /v1/orders", scope="payment:read", errors=("bad_cursor",))
    async def list_orders(self, request: ListOrders, /) -> OrderPage:
        """A shop's orders, newest first."""
        ...

    @verb("GET /v1/orders/{order_id}/history", scope="payment:read", errors=("order_not_found",))
    async def get_order_history(self, request: GetOrder, /) -> OrderHistory:
        """Every step of an order and of its payments."""
        ...
