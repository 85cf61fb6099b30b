"""Cursors of lists that are told newest first."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

from kessai.foundation.errors import Invalid
from kessai.services.settlement.store.payouts import NEWEST

_ID_DIGITS = 32


def cursor_of(made_at: datetime, digits: str) -> str:
    """Where the next page begins: after the one that was made then under that id."""
    return base64.urlsafe_b64encode(f"{made_at.isoformat()} {digits}".encode()).decode()


def place_of(cursor: str | None) -> tuple[datetime, str]:
    """The place that a cursor names; raises Invalid `bad_cursor`."""
    if cursor is None:
        return NEWEST
    try:
        at, digits = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        found = datetime.fromisoformat(at)
        int(digits, 16)
    except (ValueError, binascii.Error) as error:
        raise Invalid("bad_cursor", "This is no cursor of this list.", field="cursor") from error
    if found.tzinfo is None or len(digits) != _ID_DIGITS:
        raise Invalid("bad_cursor", "This is no cursor of this list.", field="cursor")
    return found, digits
