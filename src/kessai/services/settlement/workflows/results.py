"""What the payment service tells of payouts and of repayments of claims, written down once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.services.payment.api import Action, PaymentStateChanged
from kessai.services.settlement.domain.payouts import Payout, PayoutState, after_event
from kessai.services.settlement.store import movements, payouts
from kessai.services.settlement.store.movements import Ending
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows.asking import announce
from kessai.services.settlement.workflows.offsetting import contended, end_parts
from kessai.services.settlement.workflows.repaying import note_repayments

PAYOUT, REPAYMENT = "payout", "claim_repayment"
AFTER = {
    Action.CAPTURE: PayoutState.PAID,
    Action.REFUSE: PayoutState.FAILED,
    Action.RETURN: PayoutState.RETURNED,
}
"""What a step of a payout's payment makes of the payout."""
_ENDS = (Action.CAPTURE, Action.REFUSE, Action.CANCEL, Action.EXPIRE)


async def hear(connection: Connection, told: Sequence[PaymentStateChanged], now: datetime) -> None:
    """Write down what steps of payments mean for payouts and claims; those of other kinds are passed over."""
    await _hear_of_payouts(connection, [each for each in told if each.kind == PAYOUT and each.action in AFTER], now)
    await _hear_of_repayments(connection, [each for each in told if each.kind == REPAYMENT], now)


async def _hear_of_payouts(connection: Connection, told: Sequence[PaymentStateChanged], now: datetime) -> None:
    found = {
        each.payment_id: each for each in await payouts.of_payments(connection, [each.payment_id for each in told])
    }
    ours = [each for each in told if each.payment_id in found]
    for event in ours:  # one after the other: what was paid and came back is two steps
        was = found[event.payment_id]
        after = after_event(was, AFTER[event.action], event.code, business_date(event.occurred_at))
        if after is not None:
            await _write_payout(connection, after, now)
            found[event.payment_id] = replace(after, version=after.version + 1)
        await movements.end(connection, [_ending(event)], now)
    if ours:
        await announce(connection, [each.processing_id for each in ours], now, entry=False)


async def _write_payout(connection: Connection, payout: Payout, now: datetime) -> None:
    if not await payouts.change(connection, [payout], now):
        raise contended()


def _ending(event: PaymentStateChanged) -> Ending:
    came_back = event.amount_minor if event.action is Action.RETURN else None
    return Ending(event.payment_id, event.state.value, event.code, came_back)


async def _hear_of_repayments(connection: Connection, told: Sequence[PaymentStateChanged], now: datetime) -> None:
    """A repayment is known by its payment's reference."""
    ended = [each for each in told if each.action in _ENDS and each.reference is not None]
    known = [Known(str(e.reference), e.state.value, e.code, e.processing_id, e.amount_minor, 0) for e in ended]
    await end_parts(connection, known, now)
    endings = [Ending(str(e.reference), e.state.value, e.code, None, e.payment_id) for e in ended]
    await note_repayments(connection, endings, now)
