"""Cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
from typing import TypeVar

import msgspec

from kessai.foundation.errors import Invalid

T = TypeVar("T")


def cursor_of(*position: object) -> str:
    """The cursor after a row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode()


def position_of(cursor: str | None, kind: type[T], first: T) -> T:
    """Where a page begins; Invalid `bad_cursor`."""
    if cursor is None:
        return first
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.", field="$.cursor") from error
