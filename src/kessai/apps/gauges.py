"""How full this process is, for /metrics: queues, flushes, relays and events put aside.

Read when asked, so that they cost nothing between two scrapes. Each worker tells of itself; with several workers the
figures of the door are added up over them, these have a label `worker`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from kessai.apps.wiring import Platform


class PlatformGauges(Collector):
    """Figures of one platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not collect to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        recorder = self._platform.ledger.recorder
        yield GaugeMetricFamily("kessai_ledger_queue", "Commands waiting for a flush.", value=recorder.queued)
        yield GaugeMetricFamily("kessai_ledger_accounts_cached", "Accounts in memory.", value=recorder.cached)
        yield CounterMetricFamily("kessai_ledger_flushes", "Pages written.", value=recorder.flushes)
        yield CounterMetricFamily("kessai_ledger_conflicts", "Pages decided anew.", value=recorder.conflicts)
        yield from self._events()
        yield from self._books()

    def _events(self) -> Iterator[Metric]:
        relayed = CounterMetricFamily("kessai_outbox_rows_positioned", "Rows given a position.", labels=["source"])
        for relay in self._platform.relays:
            relayed.add_metric([relay.source], relay.positioned)
        yield relayed
        delivered = CounterMetricFamily("kessai_events_delivered", "Events that took effect.", labels=["subscription"])
        parked = CounterMetricFamily("kessai_events_parked", "Events put aside.", labels=["subscription"])
        for each in (*self._platform.subscriptions, *self._platform.proving.subscriptions):
            delivered.add_metric([each.name], each.delivered)
            parked.add_metric([each.name], each.parked_count)
        yield delivered
        yield parked

    def _books(self) -> Iterator[Metric]:
        bookkeeper = self._platform.books.bookkeeper
        yield CounterMetricFamily("kessai_books_booked", "Events booked.", value=bookkeeper.booked)
        text = "Events that stand unposted, as this process last counted them."
        standing = GaugeMetricFamily("kessai_books_unposted", text, labels=["reason"])
        for reason, count in bookkeeper.standing.items():
            standing.add_metric([reason], count)
        yield standing
