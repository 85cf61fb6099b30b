"""Counts and latencies of verbs for Prometheus; the labelled children are made once each."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from kessai.foundation.door.principal import Observe

LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)


class DoorMetrics:
    """The doors' metrics in one registry; `observer("rest")` and `observer("grpc")` feed them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("transport", "verb")
        self._answers = Counter("kessai_door_answers", "Answers given.", (*labels, "status"), registry=registry)
        self._seconds = Histogram(
            "kessai_door_seconds",
            "From a request's head to its answer.",
            labels,
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )

    def observer(self, transport: str) -> Observe:
        """The `observe` of one transport."""
        counters: dict[tuple[str, int], Counter] = {}
        histograms: dict[str, Histogram] = {}

        def observe(verb: str, status: int, seconds: float) -> None:
            counter = counters.get((verb, status))
            if counter is None:
                counter = counters[verb, status] = self._answers.labels(transport, verb, str(status))
            histogram = histograms.get(verb)
            if histogram is None:
                histogram = histograms[verb] = self._seconds.labels(transport, verb)
            counter.inc()
            histogram.observe(seconds)

        return observe
