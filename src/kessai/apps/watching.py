"""How the platform watches its workflows: figures, spans, alerts, and what of them is encrypted.

An alert is told three times: as a line in the log at the moment it happens, as a figure on /metrics, and as a row that
`kessai workflow list --parked` shows until an operator has mended it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from kessai.foundation import telemetry
from kessai.foundation.config import Settings
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Alert, Engine
from kessai.sdk.workflow.executor import Options

log = structlog.get_logger(__name__)


class VaultCodec:
    """Payloads of one service's workflows, sealed under the vault's newest key; raises VaultSealBroken on opening."""

    def __init__(self, vault: Vault, service: str) -> None:
        self._vault = vault
        self._context = f"workflow/{service}"

    def seal(self, data: bytes) -> bytes:
        """The ciphertext of a payload's JSON."""
        return self._vault.seal(data.decode(), context=self._context)

    def open(self, data: bytes) -> bytes:
        """The JSON that was sealed."""
        return self._vault.open(data, context=self._context).encode()


class Alerts(Collector):
    """Told of every workflow of this process that parks. One that leaves effects standing is the urgent kind."""

    def __init__(self) -> None:
        self._stuck: Counter[tuple[str, str]] = Counter()

    def of(self, service: str) -> Callable[[Alert], None]:
        """What an engine of a service tells."""

        def tell(alert: Alert) -> None:
            about = {"service": service, "workflow": alert.name, "workflow_id": alert.workflow_id}
            if alert.compensating:
                self._stuck[service, alert.name] += 1
                log.critical("workflow_compensation_stuck", **about, reason=alert.reason)
            else:
                log.error("workflow_waits_for_operator", **about, reason=alert.reason)

        return tell

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not collect to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Stuck compensations so far."""
        text = "Workflows parked whose effects were to be undone, and still stand."
        family = CounterMetricFamily("kessai_workflow_stuck_compensations", text, labels=["service", "name"])
        for labels, count in self._stuck.items():
            family.add_metric(labels, count)
        yield family


def engine_options(settings: Settings, vault: Vault, service: str, alerts: Alerts) -> Options:
    """How the platform's engine of a service is set: its alerts, what it encrypts, what it keeps in memory."""
    options = Options(
        alert=alerts.of(service), seals=settings.seal_workflows, rest_after_s=settings.workflow_rest_after_s
    )
    if vault.configured:
        options["codec"] = VaultCodec(vault, service)
    return options


def trace(engines: list[Engine[Any]]) -> None:
    """From now on the engines make spans, where this process does; those of a request are of its trace."""
    for engine in engines:
        engine.tracer = telemetry.tracer()
