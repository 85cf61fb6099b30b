"""Identifiers: UUIDv7 inside, a three-letter prefix and 32 hexadecimal digits at the doors.

`acc_018f…` is the text that callers see and that services pass to each other; the database stores the 16 bytes.
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

import uuid_utils

from kessai.foundation.errors import Invalid

AccountId = NewType("AccountId", str)
ExchangeId = NewType("ExchangeId", str)
PaymentId = NewType("PaymentId", str)
RefundId = NewType("RefundId", str)
ProcessingId = NewType("ProcessingId", str)
ApiKeyId = NewType("ApiKeyId", str)

ID_PATTERN = r"^[a-z]{3}_[0-9a-f]{32}$"
_ID = re.compile(ID_PATTERN)


def new_hex() -> str:
    """A fresh UUIDv7 as 32 hexadecimal digits, ordered by time (RFC 9562)."""
    return uuid_utils.uuid7().hex


def new_id(prefix: str) -> str:
    """A fresh identifier such as `chg_018f…`."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def derived_hex(*parts: str) -> str:
    """The 32 digits that always stand for the same parts: UUIDv8 (RFC 9562) over their SHA-256."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return f"{digest[:12]}8{digest[13:16]}8{digest[17:32]}"


def bare(identifier: str) -> str:
    """The 32 digits of a prefixed identifier, as the database wants them."""
    return identifier[4:]


def require_id(identifier: str, prefix: str, field: str) -> str:
    """The identifier itself when it has the prefix and form, else Invalid `malformed_id` naming the field."""
    if not _ID.match(identifier) or not identifier.startswith(prefix + "_"):
        raise Invalid("malformed_id", f"{field} must look like {prefix}_ and 32 hexadecimal digits.", field=field)
    return identifier
