"""The whole database as the auditor sees it at one instant, read with the services' own code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from kessai.foundation.db import AUDITOR_ROLE, Connection, Database, IsolationLevel, load_queries, require_dsn
from kessai.foundation.errors import OperatorError, Unavailable

R = TypeVar("R")
PACKAGE = "kessai.apps.trace"
SETTINGS = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"

_sql = load_queries(PACKAGE, file="sql/prove.sql")


class View(Database):
    """One connection in one read-only transaction under the auditor's role, whichever service's rows are asked for.

    What reads through it reads what was committed when it was opened, and nothing later; it cannot write.
    """

    def __init__(self, dsn: str, connection: Connection) -> None:
        super().__init__(dsn)
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, connection: Connection) -> View:
        """Over a connection that is in such a transaction already."""
        return cls("", connection)

    async def transaction(
        self, role: str | None, work: Callable[[Connection], Awaitable[R]], *, isolation: IsolationLevel | None = None
    ) -> R:
        """`work` within the one transaction that there is."""
        del role, isolation
        async with self._turn:
            return await work(self._connection)

    async def fetch(self, role: str | None, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Rows of one read."""
        del role
        async with self._turn:
            return await self._connection.fetch(query, *arguments)


@asynccontextmanager
async def open_view(dsn: str) -> AsyncGenerator[View]:
    """The database as it is now; raises OperatorError when it cannot be read as the auditor."""
    source = Database(require_dsn(dsn))
    try:
        connection = await source.connect(AUDITOR_ROLE)
    except Unavailable as error:
        raise OperatorError(error.message) from error
    except asyncpg.PostgresError as error:
        raise OperatorError(f"The database login may not read as {AUDITOR_ROLE}: {error}.") from error
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(SETTINGS)
            yield View(dsn, connection)
    finally:
        connection.terminate()


class ViewClock:
    """Business time when the view was opened, as the sandbox had moved it."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Always the same instant."""
        return self._at


async def clock_of(view: View) -> ViewClock:
    """The clock of a view."""
    for row in await view.fetch(None, _sql["business_clock"]):
        moved: datetime = row["frozen_at"] or datetime.now(UTC) + timedelta(microseconds=row["offset_us"])
        return ViewClock(moved)
    return ViewClock(datetime.now(UTC))
