"""The card gateway's door: messages, verbs and the errors of each in order of precedence.

Every effect has an id of the caller's (`cau_…` for an authorization, `cop_…` for an operation on one), which is its
idempotency key here and at the gateway; without one it is derived from the call's idempotency key. The same id with the
same content gives the same outcome, with other content `idempotency_key_reused`. An outcome is one of three: the
answer (done), Refused with the gateway's code, or Unknown `card_outcome_unknown`: then ask again under the same id, or
void the authorization, which undoes it whatever became of it. Unavailable `card_gateway_unavailable` did nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Message, PageLimit, Reference, verb
from kessai.sdk.processing.api import EffectsPage, ListEffects

Participant = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
CardId = Annotated[str, msgspec.Meta(pattern=r"^crd_[0-9a-f]{32}$")]
AuthorizationId = Annotated[str, msgspec.Meta(pattern=r"^cau_[0-9a-f]{32}$")]
OperationId = Annotated[str, msgspec.Meta(pattern=r"^cop_[0-9a-f]{32}$")]
FormToken = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
"""Begins with a letter, so that a card number can never stand in its place."""
ReturnUrl = Annotated[str, msgspec.Meta(min_length=1, max_length=2048, pattern=r"^https?://")]


class CardState(StrEnum):
    """Where a card stands."""

    ACTIVE = "ACTIVE"
    REMOVED = "REMOVED"


class AuthorizationState(StrEnum):
    """Where an authorization stands. PENDING: instructed, and the gateway's answer is not known (yet)."""

    PENDING = "PENDING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    """The customer has to prove who they are (3-D Secure) at `action_url`; then `complete_authorization`."""
    AUTHORIZED = "AUTHORIZED"
    """The amount, less what was captured, is held."""
    CAPTURED = "CAPTURED"
    """`captured_minor` is final and nothing is held any more."""
    VOIDING = "VOIDING"
    """Its end is journalled: whatever became of it will be released."""
    VOIDED = "VOIDED"
    REFUSED = "REFUSED"


class OperationKind(StrEnum):
    """What is done to an authorization."""

    AUTHORIZE = "authorize"
    COMPLETE = "complete"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class OperationState(StrEnum):
    """PENDING: instructed, outcome not known (yet)."""

    PENDING = "PENDING"
    DONE = "DONE"
    REFUSED = "REFUSED"


# -- requests ---------------------------------------------------------------------------------------------------


class RegisterCard(Message):
    """Keep a customer's card; the number was given to the gateway's own form and never comes here."""

    customer_id: Participant
    form_token: FormToken
    """What the gateway's form gave for the card; it can be used once."""
    card_id: CardId | None = None


class ListCards(Message):
    """A customer's cards, oldest first."""

    customer_id: Participant
    include_removed: bool = False


class GetCard(Message):
    """Which card."""

    card_id: CardId


class RemoveCard(Message):
    """Which card to forget; holds on it stay as they are. Removing it again changes nothing."""

    card_id: CardId


class AuthorizeCard(Message):
    """Hold an amount on a customer's card."""

    card_id: CardId
    customer_id: Participant
    """Whose card it must be."""
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    authorization_id: AuthorizationId | None = None
    return_url: ReturnUrl | None = None
    """Where the customer comes back to from 3-D Secure; without it an issuer that asks for it refuses."""
    reference: Reference | None = None
    """The caller's own name for it, such as a payment's id."""


class CompleteAuthorization(Message):
    """The customer came back from 3-D Secure: find out what became of it."""

    authorization_id: AuthorizationId
    operation_id: OperationId | None = None


class CaptureCard(Message):
    """Take what is held: what is left of it, or an amount."""

    authorization_id: AuthorizationId
    amount_minor: AmountMinor | None = None
    final: bool = True
    """Release what is left uncaptured; False keeps it for a further capture."""
    operation_id: OperationId | None = None


class VoidCard(Message):
    """Release what is held, or undo an authorization whatever became of it."""

    authorization_id: AuthorizationId
    operation_id: OperationId | None = None


class RefundCard(Message):
    """Give captured value back to the card: what is left of it, or an amount."""

    authorization_id: AuthorizationId
    amount_minor: AmountMinor | None = None
    operation_id: OperationId | None = None


class InquireAuthorization(Message):
    """Which authorization."""

    authorization_id: AuthorizationId


class ListAuthorizations(Message):
    """A page of a customer's authorizations, newest first."""

    customer_id: Participant
    limit: PageLimit = 50
    cursor: Annotated[str, msgspec.Meta(max_length=64)] | None = None


# -- answers ----------------------------------------------------------------------------------------------------


class Card(Message):
    """A registered card, as much of it as may be shown."""

    card_id: str
    customer_id: str
    state: CardState
    brand: str
    """`visa`, `mastercard`, `jcb` …"""
    last_four: str
    expiry_month: int
    expiry_year: int
    created_at: datetime
    removed_at: datetime | None = None


class Cards(Message):
    """A customer's cards, oldest first."""

    cards: list[Card]


class CardOperation(Message):
    """One instruction to the gateway, and what came of it."""

    operation_id: str
    """`cop_…`; of the authorization itself, its own id."""
    kind: OperationKind
    state: OperationState
    amount_minor: int
    final: bool
    """A capture that releases what it leaves."""
    refusal_code: str | None
    processing_id: str
    caller: str
    instructed_at: datetime
    settled_at: datetime | None
    """When the outcome became known here."""


class CardAuthorization(Message):
    """An authorization and how far it has come."""

    authorization_id: str
    customer_id: str
    card_id: str
    state: AuthorizationState
    amount_minor: int
    asset: str
    captured_minor: int
    refunded_minor: int
    refusal_code: str | None
    action_url: str | None
    """Where to send the customer while the state is REQUIRES_ACTION."""
    reference: str | None
    processing_id: str
    created_at: datetime
    updated_at: datetime
    version: int
    """Grows with every change."""
    operations: list[CardOperation] = []
    """In the order in which they were instructed; only `inquire` tells them."""


class AuthorizationPage(Message):
    """A page; `next_cursor` is None on the last one."""

    authorizations: list[CardAuthorization]
    next_cursor: str | None


# -- the door ---------------------------------------------------------------------------------------------------

_ACT = ("authorization_not_found", "authorization_unresolved", "authorization_busy")
_GATEWAY = ("card_gateway_unavailable", "card_outcome_unknown")
DECLINES = (
    "insufficient_funds", "card_declined", "card_expired", "card_lost_or_stolen", "limit_exceeded",
    "authentication_failed", "gateway_refused",
)  # fmt: skip
"""Why an issuer or the gateway says no; whatever else it says becomes `gateway_refused`, with its word in details."""


class CardGateway(Protocol):
    """外部接続: customers' credit cards and the gateway behind them."""

    @verb("POST /v1/cards", scope="card:write", moves_value=True, status=201,
          errors=("invalid_form_token", "card_declined", "card_expired", *_GATEWAY))  # fmt: skip
    async def register_card(self, request: RegisterCard, /) -> Card:
        """Keep a card for a customer, as a token."""
        ...

    @verb("GET /v1/cards", scope="card:read")
    async def list_cards(self, request: ListCards, /) -> Cards:
        """A customer's cards."""
        ...

    @verb("GET /v1/cards/{card_id}", scope="card:read", errors=("card_not_found",))
    async def get_card(self, request: GetCard, /) -> Card:
        """A card."""
        ...

    @verb("DELETE /v1/cards/{card_id}", scope="card:write", errors=("card_not_found",))
    async def remove_card(self, request: RemoveCard, /) -> Card:
        """Forget a card."""
        ...

    @verb("POST /v1/card-authorizations", scope="card:write", moves_value=True, status=201,
          errors=("card_not_found", "card_removed", "wrong_asset", "authorization_voided", *_GATEWAY,
                  *DECLINES))  # fmt: skip
    async def authorize(self, request: AuthorizeCard, /) -> CardAuthorization:
        """Hold an amount on a card: AUTHORIZED, or REQUIRES_ACTION with where to send the customer."""
        ...

    @verb("POST /v1/card-authorizations/{authorization_id}/complete", scope="card:write", moves_value=True,
          errors=(*_ACT, "authorization_not_waiting", "action_pending", *_GATEWAY, *DECLINES))  # fmt: skip
    async def complete_authorization(self, request: CompleteAuthorization, /) -> CardAuthorization:
        """Take up an authorization after the customer's 3-D Secure; AUTHORIZED, or refused."""
        ...

    @verb("POST /v1/card-authorizations/{authorization_id}/capture", scope="card:write", moves_value=True,
          errors=(*_ACT, "authorization_not_authorized", "capture_above_authorized", *_GATEWAY,
                  "authorization_expired", "gateway_refused"))  # fmt: skip
    async def capture(self, request: CaptureCard, /) -> CardAuthorization:
        """Take what is held, whole or in part."""
        ...

    @verb("POST /v1/card-authorizations/{authorization_id}/void", scope="card:write", moves_value=True,
          errors=("authorization_busy", "already_captured", "gateway_refused"))  # fmt: skip
    async def void(self, request: VoidCard, /) -> CardAuthorization:
        """Release what is held: VOIDED (CAPTURED when a part was captured), or VOIDING: journalled, to be done.

        An id that was never seen is VOIDED for good: an authorization that comes later under it is refused.
        """
        ...

    @verb("POST /v1/card-authorizations/{authorization_id}/refunds", scope="card:write", moves_value=True,
          errors=(*_ACT, "authorization_not_captured", "refund_above_captured", *_GATEWAY,
                  "gateway_refused"))  # fmt: skip
    async def refund(self, request: RefundCard, /) -> CardAuthorization:
        """Give captured value back, whole or in part."""
        ...

    @verb("GET /v1/card-authorizations/{authorization_id}", scope="card:read", errors=("authorization_not_found",))
    async def inquire(self, request: InquireAuthorization, /) -> CardAuthorization:
        """An authorization with its operations; what is in doubt is waited for a moment first."""
        ...

    @verb("POST /v1/card-authorizations/effects", scope="card:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The authorizations of some processings, as their callers should know them."""
        ...

    @verb("GET /v1/card-authorizations", scope="card:read", errors=("bad_cursor",))
    async def list_authorizations(self, request: ListAuthorizations, /) -> AuthorizationPage:
        """A customer's authorizations, newest first."""
        ...
