"""What an engine tells of itself in Prometheus' terms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from kessai.sdk.workflow.engine import Engine

_COUNTERS = {
    "started": "Workflows begun here.",
    "finished": "Workflows that came to an end here.",
    "failed": "Workflows that ended with a refusal.",
    "adopted": "Workflows taken over from an executor that was gone.",
    "parked": "Workflows that were given to an operator.",
    "retries": "Attempts of activities after their first.",
    "compensations": "Activities that were undone.",
    "compensation_failures": "Attempts of a compensation that failed.",
    "rested": "Runs that left memory, because they wait for long.",
    "woken": "Runs taken up again when their time, or a message, had come.",
    "replaced": "Times that this executor found its lease taken.",
}


class WorkflowMetrics(Collector):
    """Figures of the engines of one process, labelled with their service."""

    def __init__(self, *engines: Engine[Any]) -> None:
        self._engines = engines

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not collect to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        for name, text in _COUNTERS.items():
            family = CounterMetricFamily(f"kessai_workflow_{name}", text, labels=["service"])
            for engine in self._engines:
                family.add_metric([engine.service], getattr(engine.counts, name))
            yield family
        yield self._gauge("open", "Workflows carried here now.", _open_runs)
        yield self._gauge("recovery_seconds", "How long the last adoption took.", _recovery_s)
        yield self._gauge("batch_size", "Entries a journal flush carries, on average.", _batch_size)
        yield self._waiting()
        yield self._parked_by_name()

    def _gauge(self, name: str, text: str, figure: Callable[[Engine[Any]], float]) -> Metric:
        family = GaugeMetricFamily(f"kessai_workflow_{name}", text, labels=["service"])
        for engine in self._engines:
            family.add_metric([engine.service], figure(engine))
        return family

    def _waiting(self) -> Metric:
        text = "Workflows of the service that wait for an operator; `undoing`: their effects were to be undone."
        family = GaugeMetricFamily("kessai_workflow_waiting_for_operator", text, labels=["service", "undoing"])
        for engine in self._engines:
            family.add_metric([engine.service, "no"], engine.counts.parked_now)
            family.add_metric([engine.service, "yes"], engine.counts.stuck_now)
        return family

    def _parked_by_name(self) -> Metric:
        family = CounterMetricFamily("kessai_workflow_alerts", "Workflows parked, by name.", labels=["service", "name"])
        for engine in self._engines:
            for name, parked in engine.counts.alerts.items():
                family.add_metric([engine.service, name], parked)
        return family


def _batch_size(engine: Engine[Any]) -> float:
    return engine.counts.entries / max(1, engine.journal.flushes)


def _open_runs(engine: Engine[Any]) -> float:
    return engine.open_runs


def _recovery_s(engine: Engine[Any]) -> float:
    return engine.counts.recovery_s
