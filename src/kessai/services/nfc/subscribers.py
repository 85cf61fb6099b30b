"""What nfc hears: payments behind authorizations that lapsed, for no clearing claimed them in time."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, Subscription
from kessai.foundation.lease import LEASE_S
from kessai.services.nfc.domain.authorization import Plan
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.nfc.store import SCHEMA
from kessai.services.payment.api import TOPIC, PaymentState, PaymentStateChanged

KINDS = frozenset(each.payment_kind for each in Plan)


def lapsed_payments(
    database: Database, clock: Clock, desk: AuthorizationDesk, *, lease_s: float = LEASE_S
) -> Subscription:
    """The subscription by which authorizations expire with their payments.

    The event only says where to look: how the payment stands is asked for anew, so that an event heard twice or late
    does nothing more.
    """

    async def handle(_: Connection, events: list[Event]) -> None:
        told = [event.decode(PaymentStateChanged) for event in events]
        ended = [each.payment_id for each in told if each.kind in KINDS and each.state is PaymentState.EXPIRED]
        if ended:
            await desk.hear_lapsed(ended)

    return Subscription(
        database,
        source="payment",
        topics=[TOPIC],
        subscriber=SCHEMA.service,
        name="nfc.lapsed_payments",
        handler=handle,
        clock=clock,
        lease_s=lease_s,
    )
