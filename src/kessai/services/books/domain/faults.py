"""What is wrong with one event, as opposed to what is wrong with the place where events are written."""

from __future__ import annotations

import msgspec

DETAIL_MAX = 500
"""Letters."""

OF_AN_EVENT = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError, msgspec.MsgspecError,
)  # fmt: skip
"""Errors that come back however often the event is tried; whatever concerns the database itself is none of them."""


def writable(said: str | None) -> str | None:
    """What a caller said of an event, less what no text of a database may have."""
    return said if said is None else said.replace("\0", "")


def fault_of(error: BaseException) -> str:
    """What is wrong with an event, in a line."""
    return f"{type(error).__name__}: {error}"[:DETAIL_MAX].replace("\0", "")
