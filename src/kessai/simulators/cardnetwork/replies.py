"""What the books say, as replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kessai.simulators.cardnetwork.records import Authorization, Declined

PAGE_MAX: Final = 500
REFUSALS: Final = (Declined, ValueError, KeyError, msgspec.MsgspecError)
"""What acts raise that is the caller's doing."""


def as_record(authorization: Authorization) -> dict[str, Any]:
    """An authorization as the books have it, and the key that a repeat of it is known by."""
    told = msgspec.to_builtins(authorization)
    return {**told, "approved": authorization.approved, "key": authorization.key}


def page_of(request: Request) -> tuple[int, int]:
    """Where a page begins, and how many there are on it."""
    words = request.query_params
    return int(words.get("after", 0)), min(PAGE_MAX, int(words.get("limit", PAGE_MAX)))


def answered(about: str, act: Callable[[], Any]) -> Response:
    """What the books say, as a reply."""
    try:
        said = act()
    except REFUSALS as error:
        return refused(about, error)
    return as_reply(said)


def refused(about: str, error: Exception) -> Response:
    """Why not."""
    if isinstance(error, Declined):
        return as_json({"id": about, "code": error.code}, error.status)
    return as_json({"id": about, "code": "bad_request", "message": str(error)}, 400)


def as_reply(said: Any) -> Response:
    """Bytes as they are, anything else as JSON."""
    if isinstance(said, bytes):
        return Response(said, media_type="application/octet-stream")
    return as_json(said)


def as_json(value: Any, status: int = 200) -> Response:
    """A reply."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")
