"""What settlement hears of payouts and of repayments of claims, in a subscription of its own."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, Subscription
from kessai.services.payment.api import TOPIC, PaymentStateChanged
from kessai.services.settlement import store
from kessai.services.settlement.workflows import results

NAME = "settlement.payouts"
LEASE_S = 30.0
"""Settlement may wait longer than payments for another process to go on with it."""


def payout_results(database: Database, clock: Clock) -> Subscription:
    """The subscription by which payouts become PAID, FAILED or RETURNED, and claims are collected."""

    async def handle(connection: Connection, events: list[Event]) -> None:
        told = [event.decode(PaymentStateChanged) for event in events if _concerns(event)]
        await results.hear(connection, told, clock.now())

    return Subscription(
        database,
        source="payment",
        topics=[TOPIC],
        subscriber=store.SCHEMA.service,
        name=NAME,
        handler=handle,
        clock=clock,
        lease_s=LEASE_S,
    )


def _concerns(event: Event) -> bool:
    """Whether it may be of a payout or repayment, without reading the whole of it: most events are of sales."""
    return b'"payment.payout.' in event.payload or b'"payment.claim_repayment.' in event.payload
