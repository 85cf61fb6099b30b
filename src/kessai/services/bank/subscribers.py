"""What the service hears from the bank: its feed of results, read by one process at a time."""

from __future__ import annotations

import asyncio

import structlog

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.lease import Lease, hold
from kessai.services.bank.service import BankService
from kessai.services.bank.store import SCHEMA

log = structlog.get_logger(__name__)

POLL_S = 1.0
AWAY_S = 5.0
"""Pause while the bank cannot be asked."""


class BankResults:
    """Reads the feed every so often; several processes may open it, one reads."""

    def __init__(self, database: Database, bank: BankService, *, poll_s: float = POLL_S) -> None:
        self._lease = Lease(database, SCHEMA.service, "bank/results")
        self._bank = bank
        self._poll_s = poll_s
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        away = False
        while True:
            try:
                await self._bank.collect()
                away = False
            except PaymentError as error:
                if not away:
                    log.warning("bank_results_wait", error=error.code)
                away = True
            except Exception:
                log.exception("bank_results_failed")
                away = True
            await asyncio.sleep(AWAY_S if away else self._poll_s)
