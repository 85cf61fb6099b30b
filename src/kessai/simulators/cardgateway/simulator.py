"""The card gateway as a server in the running event loop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kessai.simulators.cardgateway.app import Asked, Counter
from kessai.simulators.cardgateway.books import Books
from kessai.simulators.faults import Faults
from kessai.simulators.listening import Listener

KEY = "simulated-card-gateway"
"""The merchant's credential; a simulator keeps no secrets."""


class CardGatewaySimulator:
    """Books, faults and a listener."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.books = Books(now, path)
        self.faults = Faults()
        self._counter = Counter(self.books, self.faults, key=KEY, url=lambda: self._listener.url)
        self._listener = Listener(self._counter.app(), host=host, port=port)

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        return self._listener.url

    @property
    def requests(self) -> list[Asked]:
        """What merchants asked, oldest first."""
        return list(self._counter.requests)

    async def start(self) -> None:
        """Be there, or be there again, at the same address and with the same books."""
        await self._listener.start()

    async def go_away(self) -> None:
        """Cut every line and refuse new ones, until `start`."""
        await self._listener.stop()

    async def stop(self) -> None:
        """Go away for good."""
        await self._listener.stop()
        self.books.close()
