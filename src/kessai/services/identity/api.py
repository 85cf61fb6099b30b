"""Identity's door: API keys and their scopes, and approvals by a second person.

An approval (承認) binds two people to one content: who asks names the subject, the action and the SHA-256 of what is to
be done (`content_digest`); another key approves the same digest; the service that acts consumes it, once, under its
own id, for exactly that subject, action and digest. Every step stays in its history.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Protocol

import msgspec

from kessai.foundation.contract import Label, Message, PageLimit, Reference, verb
from kessai.sdk.processing.api import ServiceName

KeyId = Annotated[str, msgspec.Meta(pattern=r"^key_[0-9a-f]{32}$")]
KeyName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Scope(StrEnum):
    """What an API key may do."""

    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    LEDGER_EXPORT = "ledger:export"
    PAYMENT_READ = "payment:read"
    PAYMENT_WRITE = "payment:write"
    IDENTITY_ADMIN = "identity:admin"
    SANDBOX_WRITE = "sandbox:write"
    OPERATIONS_READ = "operations:read"
    CARD_READ = "card:read"
    CARD_WRITE = "card:write"
    BANK_READ = "bank:read"
    BANK_WRITE = "bank:write"
    TRACER_READ = "tracer:read"
    TRACER_WRITE = "tracer:write"
    TRACER_PARTICIPATE = "tracer:participate"
    BOOKS_READ = "books:read"
    BOOKS_WRITE = "books:write"
    BOOKS_CLOSE = "books:close"
    BANK_APPROVE = "bank:approve"
    MERCHANT_READ = "merchant:read"
    MERCHANT_WRITE = "merchant:write"
    SETTLEMENT_READ = "settlement:read"
    SETTLEMENT_WRITE = "settlement:write"
    NFC_READ = "nfc:read"
    NFC_WRITE = "nfc:write"
    SETTLEMENT_MOVE = "settlement:move"
    """Move merchants' money inside and pay it out by hand; settlement does so by itself, and no shop's key needs it."""
    APPROVAL_READ = "approval:read"
    APPROVAL_REQUEST = "approval:request"
    APPROVAL_APPROVE = "approval:approve"
    INTERNAL = "internal"
    """For the platform's own services: the processing id that a call names is believed."""


SERVICE_SCOPES = frozenset({Scope.INTERNAL, Scope.TRACER_PARTICIPATE})
"""What a key needs that acts in a service's name."""
Scopes = Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=len(Scope))]


class CreateKey(Message):
    """Make an API key; grant no more scopes than its holder needs."""

    name: KeyName
    """For people: who holds it, what for."""
    scopes: Scopes
    service: ServiceName | None = None
    """A service that takes part in the Processing Tracer: what is done with this key, it did. Needs the scopes
    `internal` and `tracer:participate`. Approvals and keys are asked for under the key all the same."""


class ApiKey(Message):
    """An API key without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    last_four: str
    """The end of the secret, to tell keys apart."""
    created_at: datetime
    created_by: str
    """The key that made it, or `internal`."""
    revoked_at: datetime | None
    service: str | None = None
    """In whose name it acts."""


class CreatedKey(Message):
    """The new key. This is the only time that its secret is shown."""

    key: ApiKey
    secret: str


class ListKeys(Message):
    """A page of keys, newest first; `cursor` comes from the page before."""

    include_revoked: bool = False
    limit: PageLimit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class ApiKeyPage(Message):
    """A page; `next_cursor` is None on the last one."""

    keys: list[ApiKey]
    next_cursor: str | None


class RevokeKey(Message):
    """Which key; revoking it again changes nothing."""

    key_id: KeyId


class ShareHands(Message):
    """Whether some keys may be in the hands of whoever holds this one."""

    key_id: KeyId
    others: Annotated[list[KeyId], msgspec.Meta(max_length=64)]


class SharedHands(Message):
    """Those of the others that may be."""

    key_ids: list[str]


# -- approvals --------------------------------------------------------------------------------------------------

APPROVAL_LIFETIME_S_MAX = 30 * 24 * 3600
APPROVAL_LIFETIME_S = 24 * 3600

ApprovalId = Annotated[str, msgspec.Meta(pattern=r"^apv_[0-9a-f]{32}$")]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Cause = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
ConsumerId = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class ApprovalState(StrEnum):
    """Where an approval stands. EXPIRED: nobody approved or consumed it in time."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    CONSUMED = "CONSUMED"
    EXPIRED = "EXPIRED"


class RequestApproval(Message):
    """Ask a second person to approve one content."""

    subject: Reference
    """What it is about, e.g. `customer:123`."""
    action: Label
    """What is to be done, e.g. `payment.adjustment`."""
    content_sha256: Sha256
    """Of what exactly is to be done: `content_digest` of the request that will consume it."""
    reason: Cause
    """For the approver to read."""
    lifetime_s: Annotated[int, msgspec.Meta(ge=60, le=APPROVAL_LIFETIME_S_MAX)] = APPROVAL_LIFETIME_S
    """Business time within which it must be approved and consumed."""
    approval_id: ApprovalId | None = None
    """Chosen by the caller, who may then repeat the request; None makes one."""


class ApproveApproval(Message):
    """Approve; the digest shows that the approver has seen the same content."""

    approval_id: ApprovalId
    content_sha256: Sha256
    reason: Cause | None = None


class RejectApproval(Message):
    """Reject, or withdraw one's own request."""

    approval_id: ApprovalId
    reason: Cause


class ConsumeApproval(Message):
    """Use it up for one act; again under the same `consumer_id` gives the same answer."""

    approval_id: ApprovalId
    consumer_id: ConsumerId
    """The id of the act, e.g. the payment's: it alone may use this approval."""
    subject: Reference
    action: Label
    content_sha256: Sha256


class GetApproval(Message):
    """Which approval."""

    approval_id: ApprovalId


class ListApprovals(Message):
    """A page of approvals, newest first; `cursor` comes from the page before."""

    state: ApprovalState | None = None
    limit: PageLimit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=128)] | None = None


class ApprovalStep(Message):
    """Who did what, when and why."""

    sequence: int
    state: ApprovalState
    by: str
    """The API key, or the service that consumed it."""
    reason: str | None
    recorded_at: datetime


class Approval(Message):
    """One request for a second person's consent, and its history."""

    approval_id: str
    state: ApprovalState
    subject: str
    action: str
    content_sha256: str
    requested_by: str
    approved_by: str | None
    consumer_id: str | None
    """The act that used it."""
    requested_at: datetime
    expires_at: datetime
    steps: list[ApprovalStep]
    """Oldest first; nothing is ever removed."""


class ApprovalPage(Message):
    """A page; `next_cursor` is None on the last one."""

    approvals: list[Approval]
    next_cursor: str | None


def content_digest(content: Message) -> str:
    """The SHA-256, in hexadecimal, of a request that needs approval: of its JSON with sorted keys."""
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


class Identity(Protocol):
    """認証・権限: who may call, and what for; what needs a second person's approval."""

    @verb("POST /v1/identity/keys", scope=Scope.IDENTITY_ADMIN.value, status=201, errors=("service_name_reserved",))
    async def create_key(self, request: CreateKey, /) -> CreatedKey:
        """Make an API key; the answer shows its secret, once."""
        ...

    @verb("GET /v1/identity/keys", scope=Scope.IDENTITY_ADMIN.value, errors=("bad_cursor",))
    async def list_keys(self, request: ListKeys, /) -> ApiKeyPage:
        """API keys, newest first."""
        ...

    @verb("POST /v1/identity/keys/{key_id}/revoke", scope=Scope.IDENTITY_ADMIN.value,
          errors=("api_key_not_found", "last_admin_key"))  # fmt: skip
    async def revoke_key(self, request: RevokeKey, /) -> ApiKey:
        """Revoke an API key for good; the last one that may administer keys stays."""
        ...

    @verb("POST /v1/identity/keys/{key_id}/shared-hands", scope=Scope.INTERNAL.value, public=False)
    async def share_hands(self, request: ShareHands, /) -> SharedHands:
        """Which of some keys may be in the same hands as this one: one made the other, or both have a maker."""
        ...

    @verb("POST /v1/identity/approvals", scope=Scope.APPROVAL_REQUEST.value, status=201,
          errors=("approval_id_reused",))  # fmt: skip
    async def request_approval(self, request: RequestApproval, /) -> Approval:
        """Ask a second person to approve one content."""
        ...

    @verb("POST /v1/identity/approvals/{approval_id}/approve", scope=Scope.APPROVAL_APPROVE.value,
          errors=("approval_not_found", "approval_not_open", "approval_expired", "approval_content_differs",
                  "approver_is_requester", "approver_not_independent"))  # fmt: skip
    async def approve(self, request: ApproveApproval, /) -> Approval:
        """Approve what another key asked for; approving again by the same key changes nothing."""
        ...

    @verb("POST /v1/identity/approvals/{approval_id}/reject", scope=Scope.APPROVAL_APPROVE.value,
          errors=("approval_not_found", "approval_not_open"))  # fmt: skip
    async def reject(self, request: RejectApproval, /) -> Approval:
        """Reject a request that nobody has used yet, approved or not; rejecting again changes nothing."""
        ...

    @verb("GET /v1/identity/approvals/{approval_id}", scope=Scope.APPROVAL_READ.value, errors=("approval_not_found",))
    async def get_approval(self, request: GetApproval, /) -> Approval:
        """An approval with its history."""
        ...

    @verb("GET /v1/identity/approvals", scope=Scope.APPROVAL_READ.value, errors=("bad_cursor",))
    async def list_approvals(self, request: ListApprovals, /) -> ApprovalPage:
        """Approvals, newest first."""
        ...

    @verb("POST /v1/identity/approvals/{approval_id}/consume", scope=Scope.INTERNAL.value, public=False,
          errors=("approval_not_found", "approval_content_differs", "approval_consumed", "approval_not_approved",
                  "approval_expired"))  # fmt: skip
    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by `consumer_id`."""
        ...
