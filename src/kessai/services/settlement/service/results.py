"""What settlement hears of payouts and of repayments of claims, in subscriptions of their own."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, Subscription
from kessai.services.bank.api import TOPIC_TRANSFER, InstructionChanged, InstructionState
from kessai.services.payment.api import TOPIC, PaymentStateChanged
from kessai.services.settlement import store
from kessai.services.settlement.store import payouts
from kessai.services.settlement.workflows import results

NAME, VALUE_DATES = "settlement.payouts", "settlement.value_dates"
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


def value_dates(database: Database, clock: Clock) -> Subscription:
    """The subscription by which payouts have the bank's own day, whether it is heard before their payment or after."""

    async def handle(connection: Connection, events: list[Event]) -> None:
        told = [event.decode(InstructionChanged) for event in events]
        done = [each for each in told if each.state is InstructionState.DONE]
        booked = {each.reference: each.booked_on for each in done if each.reference and each.booked_on}
        if booked:
            await payouts.note_value_dates(connection, booked)

    return Subscription(
        database,
        source="bank",
        topics=[TOPIC_TRANSFER],
        subscriber=store.SCHEMA.service,
        name=VALUE_DATES,
        handler=handle,
        clock=clock,
        lease_s=LEASE_S,
    )


def _concerns(event: Event) -> bool:
    """Whether it may be of a payout or repayment, without reading the whole of it: most events are of sales."""
    return b'"payment.payout.' in event.payload or b'"payment.claim_repayment.' in event.payload
