"""What the payment service hears from the ledger: holds that lapsed there lapse here too, at once."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, Subscription
from kessai.services.payment.service import PaymentService
from kessai.services.payment.store import SCHEMA

TOPIC = "ledger.expiry"


def lapsed_holds(database: Database, clock: Clock, payments: PaymentService) -> Subscription:
    """The subscription that lets payments lapse when the ledger tells of expiries.

    The work is the job's own, each payment under an id derived from it, so that an event heard twice does nothing more.
    """

    async def handle(_: Connection, events: list[Event]) -> None:
        if events:
            await payments.expire_due()

    return Subscription(
        database,
        source="ledger",
        topics=[TOPIC],
        subscriber=SCHEMA.service,
        name="payment.lapsed_holds",
        handler=handle,
        clock=clock,
    )
