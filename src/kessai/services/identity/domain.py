"""Secrets of API keys: their form, their digest, their comparison. Pure, but for drawing random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from kessai.foundation.ids import ApiKeyId, derived_hex

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


def record_of(secret: str, *, name: str, scopes: list[str], created_at: datetime, created_by: str) -> KeyRecord:
    """What is stored of a new key; its scopes each once, in order."""
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
    )


def opens(record: KeyRecord, digest: bytes) -> bool:
    """Whether a secret's digest opens this key: not revoked, compared in constant time."""
    return hmac.compare_digest(record.secret_sha256, digest) and record.revoked_at is None
