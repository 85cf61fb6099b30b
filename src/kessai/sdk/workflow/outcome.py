"""How requests, results and errors are written into the journal and read back. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from kessai.foundation import errors
from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.model import PAYLOAD_BYTES_MAX

_encoder = msgspec.json.Encoder(enc_hook=str)


class PayloadTooLarge(Exception):
    """A request, argument or result above PAYLOAD_BYTES_MAX."""


class StoredError(msgspec.Struct, frozen=True):
    """A PaymentError as it is journalled: its class, and the foundation class to fall back on."""

    kind: str
    family: str
    code: str
    message: str
    details: dict[str, Any] = {}


_error_decoder = msgspec.json.Decoder(StoredError)


def encode(value: object) -> bytes:
    """The JSON of a payload; raises PayloadTooLarge."""
    data = _encoder.encode(value)
    if len(data) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(f"a payload of {len(data)} bytes is above the limit of {PAYLOAD_BYTES_MAX}")
    return data


def decode(data: bytes, kind: Any) -> Any:
    """A payload as the type that the code names."""
    return msgspec.json.decode(data, type=kind)


def digest_of(*parts: bytes) -> bytes:
    """8 bytes that stand for a step's argument."""
    return hashlib.blake2b(b"".join(parts), digest_size=8).digest()


def content_digest(prefix: bytes, content: bytes) -> bytes:
    """16 bytes that stand for what a caller asked for under an idempotency key."""
    return hashlib.blake2b(prefix + content, digest_size=16).digest()


def encode_error(error: PaymentError) -> bytes:
    """The stored form of a refusal."""
    kind = type(error)
    family = next(base.__name__ for base in kind.__mro__ if base.__module__ == errors.__name__)
    return _encoder.encode(StoredError(kind.__name__, family, error.code, error.message, error.details))


def decode_error(data: bytes) -> PaymentError:
    """The refusal itself again: of its own class where this program has it, else of its family."""
    stored = _error_decoder.decode(data)
    kind = _class_named(stored.kind) or _class_named(stored.family) or PaymentError
    error = kind.__new__(kind)
    PaymentError.__init__(error, stored.code, stored.message, **stored.details)
    return error


def _class_named(name: str) -> type[PaymentError] | None:
    found = [PaymentError]
    for kind in found:
        if kind.__name__ == name:
            return kind
        found.extend(kind.__subclasses__())
    return None
