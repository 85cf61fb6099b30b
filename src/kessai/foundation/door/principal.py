"""Who stands at the door: an API key and what it may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from kessai.foundation.deadlines import Deadlines
from kessai.foundation.errors import missing_scope

PERSONAL = ("identity:", "approval:")
"""Scopes of verbs that ask which key it is, whatever it acts for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller."""

    key_id: str
    """`key_…`: written as the caller on everything done for it; never the secret."""
    scopes: frozenset[str]
    service: str | None = None
    """In whose name it acts; None: in its own."""

    def caller(self, scope: str) -> str:
        """Who does what is done with it: the service, but for keys and approvals, which are about persons."""
        personal = scope.startswith(PERSONAL)
        return self.key_id if self.service is None or personal else self.service

    def require(self, scope: str) -> None:
        """Raises Forbidden `missing_scope` naming what the key lacks."""
        if scope not in self.scopes:
            raise missing_scope(scope)


Authenticate: TypeAlias = Callable[[str], Awaitable[Principal]]
"""From the secret of an API key to its Principal; raises Unauthenticated `invalid_api_key`."""

Observe: TypeAlias = Callable[[str, int, float], None]
"""Told of each answer: verb, HTTP status (its equivalent on gRPC), seconds."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What every verb of one transport shares."""

    authenticate: Authenticate
    observe: Observe
    timeout_ms: int
    """The deadline of a request that names none."""
    deadlines: Deadlines = field(default_factory=Deadlines)
