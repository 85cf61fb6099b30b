"""Authorizations: what the card network's processor asked for by ISO 8583, and what became of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Message, PageLimit, verb
from kessai.sdk.processing.api import EffectsPage, ListEffects

TOPIC_AUTHORIZATION = "nfc.authorization"
AuthorizationId = Annotated[str, msgspec.Meta(pattern=r"^ath_[0-9a-f]{32}$")]
"""Derived from fields 32, 7, 11 and 37 of the message: every repeat has the same."""


class AuthorizationKind(StrEnum):
    """What was asked for."""

    PURCHASE = "purchase"
    REFUND = "refund"
    """Value is to come back with the clearing; nothing moves before."""
    ADVICE = "advice"
    """The network decided by itself and tells us (0120): never declined."""
    TOMBSTONE = "tombstone"
    """Its reversal came first; whatever comes under this key is declined."""
    CLEARING = "clearing"
    """A clearing file claims what nothing held bears: charged by force."""


class AuthorizationState(StrEnum):
    """Where an authorization stands."""

    INSTRUCTED = "INSTRUCTED"
    """Journalled before the payment service is asked; the outcome is not known yet."""
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    LATE = "LATE"
    """Answered 91 because nothing was known in time; what may have been held is being let go."""
    REVERSING = "REVERSING"
    """The network took it back; what is held is being let go."""
    REVERSED = "REVERSED"
    """Nothing of it is held or taken any more."""
    CLEARED = "CLEARED"
    """A clearing file claimed it; it was captured."""
    EXPIRED = "EXPIRED"
    """No clearing claimed it in time; the hold lapsed."""


class Category(StrEnum):
    """How the card was used; later services leave some of it out."""

    CONTACTLESS = "contactless"
    IN_APP = "in_app"
    E_MONEY = "e_money"
    """A top-up of another electronic money, such as Suica, in whichever way."""
    OTHER = "other"


class Authorization(Message):
    """An authorization. Of the card it tells the last four digits alone."""

    authorization_id: str
    message_key: str
    """Acquirer (eleven digits), transmission time, STAN and RRN, with hyphens between."""
    kind: AuthorizationKind
    state: AuthorizationState
    customer_id: str | None
    card_id: str | None
    device_id: str | None
    """Which phone; None: the card's own number."""
    last_four: str
    amount_minor: int
    stands_minor: int
    """What of it the clearing may claim: less after a partial reversal, 0 after a whole one."""
    asset: str
    category: Category
    mcc: str
    merchant: str
    merchant_name: str
    response: str | None
    """Field 39 of the answer."""
    approval_code: str | None
    refusal_code: str | None
    """Why it was declined: a rule's name, or the payment service's code."""
    stood_in: bool
    """Approved while the payment service could not be asked."""
    open_work: str | None
    """What is still to be done for it: `ask`, `charge`, `capture`, `undo`."""
    payment_id: str | None
    processing_id: str
    received_at: datetime
    updated_at: datetime
    version: int
    """Grows with every change."""


class GetAuthorization(Message):
    """Which authorization."""

    authorization_id: AuthorizationId


class ListAuthorizations(Message):
    """A customer's authorizations, newest first."""

    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    limit: PageLimit = 50
    cursor: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class AuthorizationPage(Message):
    """A page; `next_cursor` is None on the last one."""

    authorizations: list[Authorization]
    next_cursor: str | None = None


class AuthorizationReversal(Message):
    """A message that took an authorization back."""

    mti: str
    stands_minor: int
    """What it leaves; 0: nothing."""
    response: str
    recorded_at: datetime


class AuthorizationReversals(Message):
    """In the order in which they came."""

    reversals: list[AuthorizationReversal]


class ListOpenAuthorizations(Message):
    """Authorizations of which something is still to be done, oldest first."""

    limit: PageLimit = 100


class AuthorizationChanged(
    msgspec.Struct, frozen=True, kw_only=True, tag="nfc.authorization", tag_field="type"
):  # fmt: skip
    """Published in `nfc.authorization` with every change. A later event of the same one has a higher version."""

    authorization_id: str
    kind: AuthorizationKind
    state: AuthorizationState
    customer_id: str | None
    card_id: str | None
    amount_minor: int
    stands_minor: int
    asset: str
    category: Category
    mcc: str
    merchant: str
    response: str | None
    refusal_code: str | None
    payment_id: str | None
    processing_id: str
    version: int
    occurred_at: datetime


class NfcAuthorizations(Protocol):
    """iD決済, 承認: what was authorized over ISO 8583. The authorizing itself has no door but that wire."""

    @verb("GET /v1/nfc/authorizations/{authorization_id}", scope="nfc:read",
          errors=("id_authorization_not_found",))  # fmt: skip
    async def get_id_authorization(self, request: GetAuthorization, /) -> Authorization:
        """An authorization."""
        ...

    @verb("GET /v1/nfc/authorizations", scope="nfc:read", errors=("bad_cursor",))
    async def list_id_authorizations(self, request: ListAuthorizations, /) -> AuthorizationPage:
        """A customer's authorizations, newest first."""
        ...

    @verb("GET /v1/nfc/authorizations/{authorization_id}/reversals", scope="nfc:read",
          errors=("id_authorization_not_found",))  # fmt: skip
    async def list_reversals(self, request: GetAuthorization, /) -> AuthorizationReversals:
        """The messages that took an authorization back."""
        ...

    @verb("GET /v1/nfc/open-authorizations", scope="nfc:read")
    async def list_open_authorizations(self, request: ListOpenAuthorizations, /) -> AuthorizationPage:
        """What the repairer still has to bring to an end."""
        ...

    @verb("POST /v1/nfc/effects", scope="nfc:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The authorizations of some processings."""
        ...
