"""Cursors: where the next page of a list begins; and the pages of histories."""

from __future__ import annotations

import base64
from typing import TypeVar

import msgspec

from kessai.foundation.db import Connection
from kessai.foundation.errors import Invalid
from kessai.services.merchant.api import Aspect, MerchantHistory
from kessai.services.merchant.store import changes

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


async def history_page(
    connection: Connection, subject_id: str, below: int, aspect: Aspect | None, limit: int
) -> MerchantHistory:
    """A page of what was changed of a merchant or company."""
    found = await changes.history_page(connection, subject_id, below, aspect, limit + 1)
    page = found[:limit]
    return MerchantHistory(changes=page, next_cursor=cursor_of(page[-1].version) if len(found) > limit else None)
