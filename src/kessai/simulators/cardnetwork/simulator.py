"""The card network as a server (and a client of ours) in the running event loop."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from kessai.simulators.cardnetwork.app import Asked, Counter
from kessai.simulators.cardnetwork.books import Books
from kessai.simulators.cardnetwork.controls import Controls
from kessai.simulators.cardnetwork.records import Authorization, Reversal, Tap
from kessai.simulators.cardnetwork.terminal import ANSWER_WITHIN_S, Terminals
from kessai.simulators.cardnetwork.wire_faults import WireFaults
from kessai.simulators.faults import Faults
from kessai.simulators.listening import Listener

KEY = "simulated-card-network"
"""The client's credential; a simulator keeps no secrets."""


class CardNetworkSimulator:
    """Books, faults, a listener, and connections towards the issuer's authorization server."""

    def __init__(
        self,
        *,
        path: Path | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        answer_within_s: float = ANSWER_WITHIN_S,
        seed: int = 0,
    ) -> None:
        self.books = Books(now, path, seed=seed)
        self.faults = Faults()
        """Of the HTTP side."""
        self.wire_faults = WireFaults()
        self.terminals = Terminals(self.books, self.wire_faults, answer_within_s=answer_within_s)
        controls = Controls(self.books, self.terminals, self.faults, self.wire_faults)
        self._counter = Counter(self.books, self.faults, controls, key=KEY)
        self._listener = Listener(self._counter.app(), host=host, port=port)

    @property
    def url(self) -> str:
        """Where it listens, once it was started."""
        return self._listener.url

    @property
    def requests(self) -> list[Asked]:
        """What clients asked, oldest first."""
        return list(self._counter.requests)

    @property
    def counts(self) -> dict[str, int]:
        """What went over the wire."""
        return self.terminals.wire.counts

    async def start(self) -> None:
        """Be there, or be there again, at the same address and with the same books."""
        await self._listener.start()

    async def connect(self, host: str, port: int, *, connections: int = 2, tls: ssl.SSLContext | None = None) -> None:
        """Sign on to an authorization server; TimeoutError when it does not let us in (it is tried on)."""
        await self.terminals.connect(host, port, connections=connections, tls=tls)

    async def disconnect(self, *, sign_off: bool = True) -> None:
        """Leave the authorization server, politely or not."""
        await self.terminals.wire.disconnect(sign_off=sign_off)

    async def tap(self, tap: Tap) -> Authorization:
        """A 0100 and its outcome."""
        return await self.terminals.tap(tap)

    async def advise(self, tap: Tap) -> Authorization:
        """A 0120 and its outcome."""
        return await self.terminals.advise(tap)

    async def reverse(self, authorization_id: str, amount: int | None = None, *, advice: bool = False) -> Reversal:
        """A reversal of all or of a part, until it is answered."""
        return await self.terminals.reverse(authorization_id, amount, advice=advice)

    async def settled(self) -> None:
        """Wait until nothing is under way, repeated reversals included."""
        await self.terminals.settled()

    async def go_away(self) -> None:
        """Cut every line, until `start` (and `connect`)."""
        await self.terminals.wire.disconnect(sign_off=False)
        await self._listener.stop()

    async def stop(self) -> None:
        """Go away for good."""
        await self.terminals.stop()
        await self.go_away()
        self.books.close()
