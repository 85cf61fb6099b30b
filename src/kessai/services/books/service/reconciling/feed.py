"""What the payment service publishes, kept step by step: the other side of what is booked of payments."""

from __future__ import annotations

from collections.abc import Sequence

from kessai.foundation.db import Connection
from kessai.foundation.events import Event
from kessai.services.books.store.reconciling import StoredStep, insert_payment_steps
from kessai.services.payment.api import PaymentStateChanged


async def keep_payment_steps(connection: Connection, events: Sequence[Event]) -> None:
    """Keep the steps that some events tell, within the transaction they are delivered in."""
    if events:
        await insert_payment_steps(connection, [step_of(each) for each in events])


def step_of(event: Event) -> StoredStep:
    """The row of an event."""
    told = event.decode(PaymentStateChanged)
    return StoredStep(
        payment_id=told.payment_id,
        version=told.version,
        kind=told.kind,
        action=told.action.value,
        state=told.state.value,
        asset=told.asset,
        amount_minor=told.amount_minor,
        fee_minor=told.fee_total_minor,
        captured_minor=told.captured_minor,
        refunded_minor=told.refunded_minor,
        payer_id=told.payer_id,
        payee_id=told.payee_id,
        beneficiary_id=told.beneficiary_id,
        exchange_id=told.exchange_id,
        refund_id=told.refund_id,
        processing_id=told.processing_id,
        occurred_at=told.occurred_at,
        recorded_at=event.recorded_at,
    )
