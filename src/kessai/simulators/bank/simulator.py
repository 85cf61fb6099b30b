"""The bank as a server in the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kessai.simulators.bank.app import Asked, Counter
from kessai.simulators.bank.books import Books
from kessai.simulators.bank.folder import DropFolder
from kessai.simulators.faults import Faults
from kessai.simulators.listening import Listener

KEY = "simulated-bank"
"""The client's credential; a simulator keeps no secrets."""
SWEEP_EVERY_S = 0.2
"""How often it looks into the drop folder."""


class BankSimulator:
    """Books, faults, a listener, and a drop folder if there is one."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        folder: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.books = Books(now, path)
        self.faults = Faults()
        self._counter = Counter(self.books, self.faults, key=KEY)
        self._listener = Listener(self._counter.app(), host=host, port=port)
        self._folder = None if folder is None else DropFolder(folder, self.books)
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        return self._listener.url

    @property
    def requests(self) -> list[Asked]:
        """What clients asked, oldest first."""
        return list(self._counter.requests)

    async def start(self) -> None:
        """Be there, or be there again, at the same address and with the same books."""
        await self._listener.start()
        if self._folder is not None:
            self._sweeping = asyncio.create_task(self._sweep_again_and_again())

    async def go_away(self) -> None:
        """Cut every line, refuse new ones and leave the drop folder alone, until `start`."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
            self._sweeping = None
        await self._listener.stop()

    async def stop(self) -> None:
        """Go away for good."""
        await self.go_away()
        self.books.close()

    def sweep(self) -> None:
        """Look into the drop folder now, unless it is down."""
        if self._folder is not None and not self.faults.down:
            self._folder.sweep()

    async def _sweep_again_and_again(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(SWEEP_EVERY_S)
