"""Where participants of one process wait for notices: rung from within, and looked after by one query for them all."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import structlog

from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable
from kessai.foundation.events.outbox import Pauses, bell
from kessai.services.tracer.store import touches

log = structlog.get_logger(__name__)

POLL_S = 0.5
"""Pause before notices that another process made are looked for; it grows with each look that finds none."""
POLL_S_MAX = 8.0


class NoticeBoard:
    """Wakes whoever listens when notices were made, here or by another process."""

    def __init__(self, database: Database) -> None:
        self.closed = False
        self._database = database
        self._bell = bell(database, "tracer", "notices")
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None
        self._heads: dict[str, int] = {}

    @contextmanager
    def listening(self) -> Generator[asyncio.Event]:
        """A flag that is set whenever there may be notices."""
        waiter = self._bell.listen()
        self._listeners += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            yield waiter
        finally:
            self._listeners -= 1
            self._bell.forget(waiter)

    async def close(self) -> None:
        """Let everybody go."""
        self.closed = True
        self._bell.ring()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        """Look while anybody listens; ends by itself when nobody did for the whole of a pause."""
        pauses = Pauses(POLL_S, POLL_S_MAX)
        found = True
        while True:
            await asyncio.sleep(pauses.after(found=found))
            if not self._listeners:
                return
            try:
                heads = {name: head for name, head, *_ in await touches.list_participants(self._database)}
            except Unavailable as error:
                log.warning("notices_wait", error=str(error))
                continue
            found, self._heads = heads != self._heads, heads
            if found:
                self._bell.ring()
