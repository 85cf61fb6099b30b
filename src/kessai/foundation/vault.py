"""The vault (金庫): text that only the platform may read, sealed with AES-256-GCM under keys that can be rotated.

A sealed value is one byte of format, the four-byte id of its key, a random nonce of 12 bytes, and what AES-GCM makes
of the text. It is bound to its `context` (which row, which column), so that it cannot be moved elsewhere and opened
there. Keys are given newest first: the first one seals, all of them open. To rotate, put a new key in front, seal again
what `is_current` says no to, then drop the old one. Sealed values never appear in errors or logs, nor do texts or keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kessai.foundation.errors import OperatorError, PaymentError, Unavailable

KEY_BYTES = 32
KEYS_FILE = "vault.keys"
_FORMAT = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = len(_FORMAT) + _ID_BYTES
_INDEX_CONTEXT = b"kessai vault index"


class VaultSealBroken(PaymentError):
    """A sealed value cannot be opened: it was tampered with, moved, or its key is gone. An operator must look."""

    def __init__(self, context: str) -> None:
        super().__init__("vault_seal_broken", f"What is sealed for {context} cannot be opened.", context=context)


@dataclass(frozen=True, slots=True)
class VaultKey:
    """256 random bits; its id is public, and is all that is ever shown of it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        assert len(self.secret) == KEY_BYTES

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell keys apart."""
        return hashlib.sha256(b"kessai vault key id" + self.secret).digest()[:_ID_BYTES]


class Vault:
    """Seals and opens under its keys, newest first. Without keys every use is Unavailable `vault_not_configured`."""

    def __init__(self, keys: Sequence[VaultKey]) -> None:
        self._ciphers = {key.key_id: AESGCM(key.secret) for key in keys}
        self._index_keys = [hmac.digest(key.secret, _INDEX_CONTEXT, "sha256") for key in keys]
        self._head = _FORMAT + keys[0].key_id if keys else b""

    @property
    def configured(self) -> bool:
        """Whether it has a key."""
        return bool(self._ciphers)

    @property
    def head(self) -> bytes:
        """What every value begins with that is sealed under the newest key."""
        self._require_keys()
        return self._head

    def seal(self, text: str, *, context: str) -> bytes:
        """The sealed text; twice the same text gives two different values."""
        self._require_keys()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._head[len(_FORMAT) :]]
        return self._head + nonce + cipher.encrypt(nonce, text.encode(), self._head + context.encode())

    def open(self, sealed: bytes, *, context: str) -> str:
        """The text that was sealed for this context; raises VaultSealBroken."""
        self._require_keys()
        head, nonce = sealed[:_HEAD_BYTES], sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        cipher = self._ciphers.get(head[len(_FORMAT) :])
        if head[: len(_FORMAT)] != _FORMAT or cipher is None:
            raise VaultSealBroken(context)
        try:
            data = cipher.decrypt(nonce, sealed[_HEAD_BYTES + _NONCE_BYTES :], head + context.encode())
        except (InvalidTag, ValueError):
            raise VaultSealBroken(context) from None
        return data.decode()

    def is_current(self, sealed: bytes) -> bool:
        """Whether it is sealed under the newest key."""
        return sealed.startswith(self.head)

    def fingerprints(self, text: str, *, context: str) -> list[bytes]:
        """What may be stored beside a sealed text to find equal ones: a keyed digest (HMAC-SHA-256) for each key.

        The first is the one to store; look up by all of them while old keys are still there.
        """
        self._require_keys()
        message = f"{context}\x1f{text}".encode()
        return [hmac.digest(key, message, "sha256") for key in self._index_keys]

    def _require_keys(self) -> None:
        if not self._ciphers:
            raise Unavailable("vault_not_configured", "This platform has no vault key; its operator must set one.")


def read_vault_keys(text: str | None) -> list[VaultKey]:
    """Keys of a setting: base64 of 32 bytes each, newest first, with commas or spaces between; none without it.

    Raises OperatorError that shows nothing of what was given.
    """
    return [_key(part) for part in (text or "").replace(",", " ").split()]


def vault_keys_in(folder: Path) -> str:
    """The keys kept in a data folder, as the setting has them; made at first use, readable by the owner alone."""
    return keys_in(folder / KEYS_FILE, "The vault's keys")


def keys_in(file: Path, what: str) -> str:
    """The keys of a file, which is made with a fresh one at first use; OperatorError names `what` cannot be read."""
    try:
        if not file.exists():
            _make(file)
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{what} in {file} cannot be read: {type(error).__name__}.") from error


def new_vault_key() -> str:
    """A fresh key as the setting has it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _make(file: Path) -> None:
    """Whole or not at all, and by one of several who try at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(new_vault_key() + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _key(text: str) -> VaultKey:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise OperatorError("A vault key is wrong: it must be the base64 of 32 bytes.")
    return VaultKey(secret)
