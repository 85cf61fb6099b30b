"""What the service hears from the bank: its feed of results, read by one process at a time."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.lease import Lease, hold
from kessai.services.bank.domain import Patience
from kessai.services.bank.service import BankService
from kessai.services.bank.store import SCHEMA

log = structlog.get_logger(__name__)


class BankResults:
    """Reads the feed: often while the bank has something to answer, seldom while it has not.

    Several processes may open it, one reads. What another process gives the bank to do is noticed at the next look.
    """

    def __init__(self, database: Database, bank: BankService, patience: Patience | None = None) -> None:
        self._lease = Lease(database, SCHEMA.service, "bank/results")
        self._bank = bank
        self._patience = patience or Patience()
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
            self._bank.instructed.clear()
            idle = False
            try:
                idle = not await self._bank.collect() and not (await self._bank.doubt()).instructions
                away = False
            except PaymentError as error:
                if not away:
                    log.warning("bank_results_wait", error=error.code)
                away = True
            except Exception:
                log.exception("bank_results_failed")
                away = True
            await asyncio.sleep(self._patience.away_s if away else self._patience.poll_s)
            if idle:
                await self._sleep_on()

    async def _sleep_on(self) -> None:
        """Wait on, but no longer than until this process gives the bank something to do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.idle_poll_s - self._patience.poll_s):
                await self._bank.instructed.wait()
