"""Card payments (iD), for /metrics and for alarms: the lines and late answers of this process; open work and the pool,
looked up every so often."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kessai.foundation.errors import PaymentError
from kessai.services.nfc.api import GetPool, PoolStanding

if TYPE_CHECKING:
    from kessai.apps.wiring import Platform

log = structlog.get_logger(__name__)

LOOK_S = 60.0
"""Between two looks. Each process looks for itself; what they see is the same, for it is in the database."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen last."""

    open_work: int
    oldest_s: float
    pool: PoolStanding


class NfcGauges(Collector):
    """Figures of one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.latest: Look | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> None:
        """Look now; where that cannot be, what was seen last stays."""
        nfc = self._platform.nfc
        try:
            open_work, oldest_s = await nfc.doubt()
            self.latest = Look(open_work, oldest_s, await nfc.get_pool(GetPool()))
        except PaymentError as error:
            log.warning("nfc_not_looked_at", error=error.code)

    async def _work(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not collect to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment, and of the last look."""
        late = self._platform.nfc.authorizations.late
        yield CounterMetricFamily("kessai_nfc_late", "Requests answered 91 for want of time.", value=late)
        yield from self._lines()
        if self.latest is not None:
            yield from _of(self.latest)

    def _lines(self) -> Iterator[Metric]:
        server = self._platform.nfc_server
        if server is None:
            return
        signed_on = sum(each.signed_on for each in server.lines)
        lines = GaugeMetricFamily("kessai_nfc_connections", "Connections of the card network.", labels=["signed_on"])
        lines.add_metric(["yes"], signed_on)
        lines.add_metric(["no"], len(server.lines) - signed_on)
        yield lines
        yield GaugeMetricFamily("kessai_nfc_listening", "1: connections are taken.", value=server.listening)
        peers = GaugeMetricFamily(
            "kessai_nfc_peers_signed_on", "Known peers that have signed on.", value=len(server.signed_on)
        )
        yield peers
        flying = sum(len(each.in_flight) for each in server.lines)
        yield GaugeMetricFamily("kessai_nfc_in_flight", "Requests that are being worked on.", value=flying)
        counts = CounterMetricFamily("kessai_nfc_line", "What happened on the line.", labels=["what"])
        for what, count in sorted(server.counts.items()):
            counts.add_metric([what], count)
        yield counts


def _of(look: Look) -> Iterator[Metric]:
    text = "Authorizations of which something is still to be done; a thousand are counted."
    yield GaugeMetricFamily("kessai_nfc_open_work", text, value=look.open_work)
    text = "How long the oldest of them has waited."
    yield GaugeMetricFamily("kessai_nfc_open_work_oldest_seconds", text, value=look.oldest_s)
    pool = GaugeMetricFamily("kessai_nfc_pool", "Cards in the pool.", labels=["state"])
    for state in ("free", "assigned", "stale", "on_order", "overdue"):
        pool.add_metric([state], getattr(look.pool, state))
    yield pool
    yield GaugeMetricFamily("kessai_nfc_pool_low", "1: fewer free cards than `low_water`.", value=look.pool.low)
