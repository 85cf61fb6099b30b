"""Secrets of API keys, and who may approve and use what. Pure, but for drawing random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from kessai.foundation.errors import Conflict, Invalid, Refused
from kessai.foundation.ids import ApiKeyId, derived_hex
from kessai.services.identity.api import (
    SERVICE_SCOPES,
    Approval,
    ApprovalState,
    ApprovalStep,
    ApproveApproval,
    ConsumeApproval,
    RejectApproval,
    RequestApproval,
)

SECRET_BYTES = 32
_PREFIX_BYTES = 8
_SECRET = re.compile(r"kes_(?P<prefix>[0-9a-f]{16})_[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A stored key: everything but its secret."""

    key_id: ApiKeyId
    secret_sha256: bytes
    last_four: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    service: str | None = None


def new_secret() -> str:
    """`kes_`, 16 digits to look it up by, `_`, and 256 random bits in base64url."""
    return f"kes_{secrets.token_hex(_PREFIX_BYTES)}_{secrets.token_urlsafe(SECRET_BYTES)}"


def key_id_of(secret: str) -> ApiKeyId | None:
    """The id of the key that a secret claims to be, derived from its prefix; None when it is no secret of ours."""
    found = _SECRET.match(secret)
    return None if found is None else ApiKeyId("key_" + derived_hex("api_key", found["prefix"]))


def digest_of(secret: str) -> bytes:
    """SHA-256; enough for 256 random bits, which no dictionary holds."""
    return hashlib.sha256(secret.encode()).digest()


def require_free_name(service: str | None, platform: Collection[str]) -> None:
    """Raises Refused `service_name_reserved` where a key would act as the platform itself, or look like another key.

    What is done in process under these names is believed: reports to the tracer, and who called.
    """
    if service is not None and (service == "internal" or service in platform or service.startswith("key_")):
        raise Refused("service_name_reserved", f"No API key acts in the name {service}.", service=service)


def record_of(
    secret: str, *, name: str, scopes: list[str], created_at: datetime, created_by: str, service: str | None = None
) -> KeyRecord:
    """What is stored of a new key; its scopes each once, in order. Raises Invalid where it lacks a service's."""
    if service is not None and not set(scopes) >= SERVICE_SCOPES:
        text = "A key that acts in a service's name needs the scopes internal and tracer:participate."
        raise Invalid("invalid_request", text, field="$.scopes")
    key_id = key_id_of(secret)
    assert key_id is not None
    return KeyRecord(
        key_id=key_id,
        secret_sha256=digest_of(secret),
        last_four=secret[-4:],
        name=name,
        scopes=tuple(sorted(set(scopes))),
        created_at=created_at,
        created_by=created_by,
        service=service,
    )


def opens(record: KeyRecord, digest: bytes) -> bool:
    """Whether a secret's digest opens this key: not revoked, compared in constant time."""
    return hmac.compare_digest(record.secret_sha256, digest) and record.revoked_at is None


# -- approvals --------------------------------------------------------------------------------------------------


def new_approval(request: RequestApproval, approval_id: str, *, by: str, now: datetime) -> Approval:
    """A request that waits for a second person."""
    asked = Approval(
        approval_id=approval_id,
        state=ApprovalState.REQUESTED,
        subject=request.subject,
        action=request.action,
        content_sha256=request.content_sha256,
        requested_by=by,
        approved_by=None,
        consumer_id=None,
        requested_at=now,
        expires_at=now + timedelta(seconds=request.lifetime_s),
        steps=[],
    )
    return _stepped(asked, by, request.reason, now)


def same_request(approval: Approval, request: RequestApproval, *, by: str) -> bool:
    """Whether a repeated request asks for what is there already."""
    lifetime = approval.expires_at - approval.requested_at
    return (
        (approval.subject, approval.action, approval.content_sha256, approval.requested_by, approval.steps[0].reason)
        == (request.subject, request.action, request.content_sha256, by, request.reason)
    ) and lifetime == timedelta(seconds=request.lifetime_s)


def approved(approval: Approval, request: ApproveApproval, *, by: str, shared: set[str], now: datetime) -> Approval:
    """With a second person's consent. `shared`: keys that stand behind both the approver's key and the requester's.

    Whoever makes a key sees its secret, so that keys with a common maker, or one of which made the other, may be in one
    person's hands. Raises `approval_not_open`,
    `approval_expired`, `approval_content_differs`, `approver_is_requester`, `approver_not_independent`.
    """
    if approval.state in (ApprovalState.APPROVED, ApprovalState.CONSUMED) and approval.approved_by == by:
        return approval
    _require_in_time(approval, now)
    if approval.state is not ApprovalState.REQUESTED:
        raise Conflict("approval_not_open", f"The approval is {approval.state}.", state=approval.state)
    if request.content_sha256 != approval.content_sha256:
        raise _differs()
    if by == approval.requested_by:
        raise Refused("approver_is_requester", "Another person than the requester must approve.")
    if shared:
        raise Refused("approver_not_independent", "The approver's key and the requester's are of one maker.")
    after = replace(approval, state=ApprovalState.APPROVED, approved_by=by)
    return _stepped(after, by, request.reason, now)


def rejected(approval: Approval, request: RejectApproval, *, by: str, now: datetime) -> Approval:
    """Turned down; raises `approval_not_open` once it was used."""
    if approval.state is ApprovalState.REJECTED:
        return approval
    if approval.state is ApprovalState.CONSUMED:
        raise Conflict("approval_not_open", "The approval was used already.", state=approval.state)
    return _stepped(replace(approval, state=ApprovalState.REJECTED), by, request.reason, now)


def consumed(approval: Approval, request: ConsumeApproval, *, by: str, now: datetime) -> Approval:
    """Used up by one act.

    Raises `approval_content_differs`, `approval_consumed`, `approval_not_approved`, `approval_expired`.
    """
    asked = (request.subject, request.action, request.content_sha256)
    if asked != (approval.subject, approval.action, approval.content_sha256):
        raise _differs()
    if approval.state is ApprovalState.CONSUMED:
        if approval.consumer_id != request.consumer_id:
            raise Refused("approval_consumed", "This approval was used for something else.")
        return approval
    if approval.state is not ApprovalState.APPROVED:
        raise Refused("approval_not_approved", f"The approval is {approval.state}.", state=approval.state)
    _require_in_time(approval, now)
    after = replace(approval, state=ApprovalState.CONSUMED, consumer_id=request.consumer_id)
    return _stepped(after, by, None, now)


def as_of(approval: Approval, now: datetime) -> Approval:
    """As it is shown: one that is still open past its time has EXPIRED."""
    is_open = approval.state in (ApprovalState.REQUESTED, ApprovalState.APPROVED)
    return replace(approval, state=ApprovalState.EXPIRED) if is_open and approval.expires_at <= now else approval


def _require_in_time(approval: Approval, now: datetime) -> None:
    if approval.expires_at <= now:
        raise Refused("approval_expired", "The approval's time is over; ask for a new one.")


def _differs() -> Refused:
    return Refused("approval_content_differs", "The approval is for another subject, action or content.")


def _stepped(approval: Approval, by: str, reason: str | None, now: datetime) -> Approval:
    step = ApprovalStep(sequence=len(approval.steps), state=approval.state, by=by, reason=reason, recorded_at=now)
    return replace(approval, steps=[*approval.steps, step])
