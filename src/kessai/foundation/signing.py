"""Signatures (Ed25519, RFC 8032) under keys that can be rotated: what the platform vouches for to strangers.

Keys are 32 bytes each, given newest first like the vault's: the first one signs, the public halves of all are shown,
so that what an older key signed can still be checked. A secret never appears in errors or logs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kessai.foundation.errors import OperatorError, Unavailable
from kessai.foundation.vault import KEY_BYTES, keys_in

KEYS_FILE = "evidence.keys"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and what it is checked with."""

    key_id: str
    public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key; its id is the first 16 digits of its public half's SHA-256."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == KEY_BYTES

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that anybody may know."""
        return self._private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> str:
        """What tells keys apart."""
        return hashlib.sha256(self.public_key).hexdigest()[:16]

    def sign(self, content: bytes) -> Signature:
        """The signature of some bytes."""
        return Signature(self.key_id, self.public_key, self._private.sign(content))

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)


class Signer:
    """Signs under the newest of its keys. Without keys that is Unavailable `evidence_key_not_configured`."""

    def __init__(self, keys: Sequence[SigningKey] = ()) -> None:
        self.keys = tuple(keys)
        """Newest first."""

    def sign(self, content: bytes) -> Signature:
        """The signature of some bytes under the newest key."""
        if not self.keys:
            text = "This platform has no key to sign evidence with; its operator must set one."
            raise Unavailable("evidence_key_not_configured", text)
        return self.keys[0].sign(content)


def read_signing_keys(text: str | None) -> list[SigningKey]:
    """Keys of a setting: base64 of 32 bytes each, newest first, with commas or spaces between; none without it.

    Raises OperatorError that shows nothing of what was given.
    """
    return [_key(part) for part in (text or "").replace(",", " ").split()]


def signing_keys_in(folder: Path) -> str:
    """The keys kept in a data folder, as the setting has them; made at first use, readable by the owner alone."""
    return keys_in(folder / KEYS_FILE, "The keys of evidence")


def _key(text: str) -> SigningKey:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise OperatorError("A key of evidence is wrong: it must be the base64 of 32 bytes.")
    return SigningKey(secret)
