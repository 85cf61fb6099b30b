"""Several tables read side by side in order of flush, a window at a time, over one connection.

The next window is on its way while one is being worked on, so that memory holds two windows and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import asyncpg
from asyncpg.cursor import Cursor

from kessai.foundation.db import Connection

EFFECTS_AT_ONCE = 16_384
"""About how many effects a window has."""
FLUSHES_AT_ONCE = 1_000
ROWS_AT_ONCE = 64
"""Of one stream; each may be as large as a flush."""
END = 2**63
"""Where rows stand that belong to no flush."""


def by_flush(row: asyncpg.Record) -> int:
    """The flush that a row belongs to."""
    flush_id: int | None = row["flush_id"]
    return END if flush_id is None else flush_id


class Stream:
    """Rows of one query in order of flush."""

    def __init__(self, query: str, key: Callable[[asyncpg.Record], int] = by_flush) -> None:
        self.query = query
        self._key = key
        self._rows: deque[tuple[int, asyncpg.Record]] = deque()
        self._cursor: Cursor[asyncpg.Record] | None = None
        self._ended = False

    async def fill(self, connection: Connection, through: int, rows_max: int) -> None:
        """Read on until everything up to a flush is here."""
        if self._cursor is None:
            self._cursor = await connection.cursor(self.query)
        while not self._ended and (not self._rows or self._rows[-1][0] <= through):
            rows = await self._cursor.fetch(rows_max)
            self._ended = len(rows) < rows_max
            self._rows.extend((self._key(row), row) for row in rows)

    def before(self, flush_id: int) -> list[asyncpg.Record]:
        """Take the rows of earlier flushes."""
        taken: list[asyncpg.Record] = []
        while self._rows and self._rows[0][0] < flush_id:
            taken.append(self._rows.popleft()[1])
        return taken

    def at(self, flush_id: int) -> asyncpg.Record | None:
        """Take a flush's row, if there is one."""
        if self._rows and self._rows[0][0] == flush_id:
            return self._rows.popleft()[1]
        return None


class Windows:
    """Windows of flushes, with everything that the other streams have of them."""

    def __init__(self, connection: Connection, flushes: str, streams: Sequence[Stream]) -> None:
        self._connection = connection
        self._query = flushes
        self._streams = streams
        self._headers: deque[asyncpg.Record] = deque()
        self._cursor: Cursor[asyncpg.Record] | None = None

    async def each(self, between: Callable[[], Awaitable[None]]) -> AsyncIterator[list[asyncpg.Record]]:
        """The flushes of one window after another; `between` them the connection is free for other reads."""
        coming = await self._next()
        while coming:
            task = asyncio.ensure_future(self._next())
            try:
                yield coming
            finally:
                following = await task
            await between()
            coming = following

    async def _next(self) -> list[asyncpg.Record]:
        if self._cursor is None:
            self._cursor = await self._connection.cursor(self._query)
        window: list[asyncpg.Record] = []
        effects = 0
        while effects < EFFECTS_AT_ONCE and len(window) < FLUSHES_AT_ONCE:
            if not self._headers:
                self._headers.extend(await self._cursor.fetch(FLUSHES_AT_ONCE))
                if not self._headers:
                    break
            window.append(self._headers.popleft())
            effects += max(0, window[-1]["effects"])
        through = window[-1]["flush_id"] if window else END
        for stream in self._streams:
            await stream.fill(self._connection, through, min(ROWS_AT_ONCE, len(window) + 1))
        return window
