"""What travels with a call: who calls, for which processing, until when, and under which idempotency key.

Set at the edge (REST, gRPC, a job, a subscriber) and read with `current_call()`; it crosses gRPC as metadata.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from kessai.foundation.errors import missing_scope
from kessai.foundation.ids import new_hex


@dataclass(slots=True)
class Call:
    """One request's context. `deadline` is event-loop time; a verb that answers from store sets `replayed`."""

    caller: str = "internal"
    """The service or the API key (`key_…`) on whose behalf work is done; written on every effect row."""
    processing_id: str | None = None
    request_id: str = field(default_factory=new_hex)
    request_key: str | None = None
    """32 digits derived from API key, route and Idempotency-Key; None when the request had no key."""
    deadline: float | None = None
    replayed: bool = False
    scopes: frozenset[str] | None = None
    """What the API key may do; None: the platform itself acts, and may do everything."""

    def require(self, scope: str) -> None:
        """Raises Forbidden `missing_scope` naming what the caller lacks."""
        if self.scopes is not None and scope not in self.scopes:
            raise missing_scope(scope)


_INTERNAL_ID = new_hex()
_current: ContextVar[Call | None] = ContextVar("kessai_call", default=None)


def current_call() -> Call:
    """The call being served, or an anonymous internal one, which nobody else sees: what is noted on it ends with it."""
    return _current.get() or Call(request_id=_INTERNAL_ID)


enter_call = _current.set
"""Make a Call current; returns the token for `leave_call`."""
leave_call = _current.reset
