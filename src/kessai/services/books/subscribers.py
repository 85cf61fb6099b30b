"""What the books hear: movements of the ledger with the accounts they are on, what the bank did, steps of payments."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.events import Subscription
from kessai.services.bank.api import TOPIC_DEBIT, TOPIC_TRANSFER
from kessai.services.books.service.bookkeeping import TOPIC_ACCOUNT, TOPIC_EXCHANGE, Bookkeeper
from kessai.services.books.service.reconciling.feed import keep_payment_steps
from kessai.services.books.store import SCHEMA
from kessai.services.payment.api import TOPIC as TOPIC_PAYMENT

LEDGER_TOPICS = (TOPIC_ACCOUNT, TOPIC_EXCHANGE)
"""`ledger.expiry` tells again of what `ledger.exchange` has told."""
LEASE_S = 30.0
"""Books may wait longer than payments for another process to go on with them; fewer renewals while nothing happens."""
GATHER_S = 0.25
"""Between two deliveries: booking many events at once costs a fraction of booking each alone."""


def ledger_events(database: Database, clock: Clock, bookkeeper: Bookkeeper) -> Subscription:
    """The subscription that books the ledger."""
    return Subscription(
        database,
        source="ledger",
        topics=LEDGER_TOPICS,
        subscriber=SCHEMA.service,
        name="books.ledger",
        handler=bookkeeper.hear,
        clock=clock,
        lease_s=LEASE_S,
        pause_s=GATHER_S,
    )


def bank_events(database: Database, clock: Clock, bookkeeper: Bookkeeper) -> Subscription:
    """The subscription that books what the bank did."""
    return Subscription(
        database,
        source="bank",
        topics=[TOPIC_TRANSFER, TOPIC_DEBIT],
        subscriber=SCHEMA.service,
        name="books.bank",
        handler=bookkeeper.hear,
        clock=clock,
        lease_s=LEASE_S,
        pause_s=GATHER_S,
    )


def payment_steps(database: Database, clock: Clock) -> Subscription:
    """The subscription that keeps what payments publish, to be reconciled with what is booked."""
    return Subscription(
        database,
        source="payment",
        topics=[TOPIC_PAYMENT],
        subscriber=SCHEMA.service,
        name="books.payment",
        handler=keep_payment_steps,
        clock=clock,
        lease_s=LEASE_S,
        pause_s=GATHER_S,
    )
