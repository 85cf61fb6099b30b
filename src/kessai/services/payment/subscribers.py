"""What the payment service hears: holds that lapsed in the ledger lapse here too; what a bank did goes on at once."""

from __future__ import annotations

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import Event, Subscription
from kessai.services.bank.api import FINAL_STATES, TOPIC_DEBIT, TOPIC_TRANSFER, InstructionChanged
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
    that an event heard twice or late does nothing more. What cannot go on now (another action is under way) is found
    by the job that looks after waiting payments.
    """

    async def handle(_: Connection, events: list[Event]) -> None:
        for event in events:
            told = event.decode(InstructionChanged)
            if told.state in FINAL_STATES and told.reference is not None:
                await _hear(payments, told.reference)

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
    except PaymentError as error:
        log.warning("bank_result_waits", payment_id=payment_id, error=str(error))
