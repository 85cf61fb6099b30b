"""What is not known just now of whom outside, looked up every so often for /metrics and for alarms."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kessai.foundation.errors import PaymentError
from kessai.services.bank.service import BankService
from kessai.services.cardgateway.service import CardGatewayService

log = structlog.get_logger(__name__)

LOOK_S = 30.0
"""Between two looks. Each process looks for itself; what they see is the same, for it is in the database."""


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Whose answer is missing, to how many instructions, and for how long to the oldest."""

    party: str
    instructions: int
    oldest_s: float


class Doubts(Collector):
    """The last look at each party."""

    def __init__(self, cards: CardGatewayService, bank: BankService) -> None:
        self._looks: dict[str, Callable[[], Awaitable[InDoubt]]] = {
            "cardgateway": lambda: _of_cards(cards),
            "bank": lambda: _of_bank(bank),
            "bank_files": lambda: _of_files(bank),
        }
        self.latest: dict[str, InDoubt] = {}
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._work())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Look now; what cannot be looked at stays as it was last seen."""
        for party, look in self._looks.items():
            try:
                self.latest[party] = await look()
            except PaymentError as error:
                log.warning("doubts_not_looked_at", party=party, error=error.code)

    async def _work(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    def describe(self) -> list[Metric]:
        """Nothing in advance: the registry need not collect to register this."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The figures of the last look."""
        count = GaugeMetricFamily(
            "kessai_outside_in_doubt", "Instructions whose outcome is not known yet.", labels=["party"]
        )
        oldest = GaugeMetricFamily(
            "kessai_outside_in_doubt_oldest_seconds", "How long the oldest of them has waited.", labels=["party"]
        )
        for each in self.latest.values():
            count.add_metric([each.party], each.instructions)
            oldest.add_metric([each.party], each.oldest_s)
        yield count
        yield oldest


async def _of_cards(cards: CardGatewayService) -> InDoubt:
    found = await cards.doubt()
    return InDoubt("cardgateway", found.operations, found.oldest_s)


async def _of_files(bank: BankService) -> InDoubt:
    found = await bank.files_doubt()
    return InDoubt("bank_files", found.instructions, found.oldest_s)


async def _of_bank(bank: BankService) -> InDoubt:
    found = await bank.doubt()
    return InDoubt("bank", found.instructions + found.mandates, found.oldest_s)
