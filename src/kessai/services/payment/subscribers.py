"""What the payment service hears: holds that lapsed in the ledger lapse here too; what a bank did goes on at once."""

from __future__ import annotations

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.events import Event, Subscription
from kessai.services.bank.api import (
    FINAL_STATES,
    TOPIC_DEBIT,
    TOPIC_TRANSFER,
    InstructionChanged,
    InstructionState,
)
from kessai.services.payment.service import PaymentService
from kessai.services.payment.store import SCHEMA

log = structlog.get_logger(__name__)

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


def bank_results(database: Database, clock: Clock, payments: PaymentService) -> Subscription:
    """The subscription that goes on with a payment when the bank has come to an end with its debit or transfer.

    The event only says where to look: what the bank says is asked for anew, under an id derived from the payment, so
    that an event heard twice or late does nothing more. What came back is noted first, for a payment that is captured
    waits for nobody; so the job that looks after payments finds whatever cannot go on now. An answer that could not be
    had is asked for again with the event.
    """

    async def handle(_: Connection, events: list[Event]) -> None:
        told = [event.decode(InstructionChanged) for event in events]
        ended = {each.reference: each for each in told if each.state in FINAL_STATES and each.reference is not None}
        came_back = [payment_id for payment_id, each in ended.items() if each.state is InstructionState.RETURNED]
        if came_back:
            await payments.note_came_back(came_back)
        for payment_id in ended:
            await _hear(payments, payment_id)

    return Subscription(
        database,
        source="bank",
        topics=[TOPIC_TRANSFER, TOPIC_DEBIT],
        subscriber=SCHEMA.service,
        name="payment.bank_results",
        handler=handle,
        clock=clock,
    )


async def _hear(payments: PaymentService, payment_id: str) -> None:
    try:
        await payments.hear_from_bank(payment_id)
    except (Unavailable, Unknown):
        raise
    except PaymentError as error:  # another action is under way, or it is settled: the job looks again
        log.warning("bank_result_waits", payment_id=payment_id, error=str(error))
