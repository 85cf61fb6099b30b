"""What settlement hears: payments, in two flows that do not wait for each other, and the loop that issues fees."""

from __future__ import annotations

import asyncio

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import Subscription
from kessai.foundation.events.outbox import Pauses, bell, rung
from kessai.foundation.lease import LEASE_S, Lease, hold
from kessai.services.payment.api import TOPIC
from kessai.services.settlement.service import SettlementService
from kessai.services.settlement.service.hearing import FEE_FEED, PAYMENT_FEED
from kessai.services.settlement.service.results import payout_results
from kessai.services.settlement.store import SCHEMA

__all__ = ["FeeLoop", "payout_results", "sales_for_fees", "transactions_of_payments"]

log = structlog.get_logger(__name__)

SUBSCRIPTION_LEASE_S = 30.0
"""Settlement may wait longer than payments for another process to go on with it."""
GATHER_S = 0.25
"""Between two deliveries: many events at once cost a fraction of each alone."""
POLL_S = 0.5
"""Pause before sales that another process heard of are looked for; it grows while there are none."""
POLL_S_MAX = 24.0
SALES = "sales"


def transactions_of_payments(database: Database, clock: Clock, settlement: SettlementService) -> Subscription:
    """The subscription that records transaction data."""
    return Subscription(
        database,
        source="payment",
        topics=[TOPIC],
        subscriber=SCHEMA.service,
        name=PAYMENT_FEED,
        handler=settlement.hearing.hear_transactions,
        clock=clock,
        lease_s=SUBSCRIPTION_LEASE_S,
        pause_s=GATHER_S,
    )


def sales_for_fees(database: Database, clock: Clock, settlement: SettlementService) -> Subscription:
    """The subscription of the fee flow."""
    settlement.hearing.sales_heard = bell(database, SCHEMA.service, SALES).ring
    return Subscription(
        database,
        source="payment",
        topics=[TOPIC],
        subscriber=SCHEMA.service,
        name=FEE_FEED,
        handler=settlement.hearing.hear_sales,
        clock=clock,
        lease_s=SUBSCRIPTION_LEASE_S,
        pause_s=GATHER_S,
    )


class FeeLoop:
    """Works out and issues fees, every so often; several processes may open it, one works at a time."""

    def __init__(self, database: Database, settlement: SettlementService, *, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._settlement = settlement
        self._lease = Lease(database, SCHEMA.service, "issue-fees", lease_s=lease_s)
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(hold(self._lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on; pages that have begun are carried on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        waiter = bell(self._database, SCHEMA.service, SALES).listen()
        pauses = Pauses(POLL_S, POLL_S_MAX)
        try:
            while True:
                issued = 0
                try:
                    issued = await self._settlement.issue_fees()
                except PaymentError as error:
                    log.warning("fees_wait", error=error.code)
                except Exception:
                    log.exception("fees_failed")
                await asyncio.sleep(GATHER_S)  # what was heard is there once its delivery is committed
                await rung(waiter, pauses.after(found=issued > 0))
        finally:
            bell(self._database, SCHEMA.service, SALES).forget(waiter)
