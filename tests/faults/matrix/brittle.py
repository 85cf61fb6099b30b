"""A database that can be away for one service: between two awaits of a verb, where no line and no journal is broken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeVar

import asyncpg

from kessai.foundation.db import Connection, Database, commit_unknown, role_of, writes
from kessai.foundation.errors import Unavailable

R = TypeVar("R")
Trouble = Literal["away", "commit lost"]

AWAY_S = 0.3
"""Longer than three quick attempts, shorter than a lease."""


class Brittle(Database):
    """Counts what services ask of it; one of them meets trouble at one of its calls. Journals have their own lines."""

    def __init__(self, dsn: str, *, isolation: str | None = None) -> None:
        super().__init__(dsn, isolation=isolation)
        self.struck = False
        self._calls = Counter[str | None]()
        self._at: tuple[str, int, Trouble] | None = None
        self._away: str | None = None

    def calls(self, service: str) -> int:
        """How often a service has asked since it was reset."""
        return self._calls[role_of(service)]

    def reset(self) -> None:
        """Count from here on, and be there."""
        self._calls.clear()
        self.struck, self._at, self._away = False, None, None

    def break_at(self, service: str, call: int, trouble: Trouble) -> None:
        """At this call of a service it is away for `AWAY_S`; or does it, and the answer to the commit is lost."""
        self._at = (role_of(service), call, trouble)

    async def transaction(self, role: str | None, work: Callable[[Connection], Awaitable[R]], **more: Any) -> R:
        """As the database's, unless there is trouble."""
        lost = self._meets(role)
        result = await super().transaction(role, work, **more)
        if lost:
            raise commit_unknown()
        return result

    async def fetch(self, role: str | None, query: str, *arguments: object) -> list[asyncpg.Record]:
        """As the database's, unless there is trouble."""
        lost = self._meets(role)
        rows = await super().fetch(role, query, *arguments)
        if lost and writes(query):
            raise commit_unknown()
        return rows

    def _meets(self, role: str | None) -> bool:
        """Whether the answer to this call is to be lost; raises Unavailable while it is away."""
        self._calls[role] += 1
        if self._at is not None and self._at[0] == role and self._calls[role] >= self._at[1]:
            trouble, self._at, self.struck = self._at[2], None, True
            if trouble == "commit lost":
                return True
            self._away = role
            asyncio.get_running_loop().call_later(AWAY_S, self._come_back)
        if role is not None and role == self._away:
            raise Unavailable("database_unavailable", "The database cannot be reached just now.")
        return False

    def _come_back(self) -> None:
        self._away = None
