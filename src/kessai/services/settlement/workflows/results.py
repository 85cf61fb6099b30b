"""What the payment service tells of payouts and of repayments of claims, written down once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection
from kessai.services.payment.api import Action, PaymentStateChanged
from kessai.services.settlement.domain.payouts import (
    FEE_BACK,
    PAID_AFTER_ALL,
    Payout,
    PayoutState,
    after_event,
    paid_twice,
)
from kessai.services.settlement.store import movements, payouts
from kessai.services.settlement.store.movements import Ending
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows.asking import announce
from kessai.services.settlement.workflows.offsetting import contended, end_parts
from kessai.services.settlement.workflows.repaying import note_repayments

log = structlog.get_logger(__name__)

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
            after = await _with_fee(connection, was, after)
            await _write_payout(connection, after, now)
            await _stop_next(connection, after, now)
            found[event.payment_id] = replace(after, version=after.version + 1)
        await movements.end(connection, [_ending(event)], now)
    if ours:
        await announce(connection, [each.processing_id for each in ours], now, entry=False)


async def _with_fee(connection: Connection, was: Payout, after: Payout) -> Payout:
    """One that was paid after all says, too, whether its transfer fee has gone back meanwhile."""
    if after.reason != PAID_AFTER_ALL or was.fee_payment_id is None:
        return after
    back = await payouts.is_given_back(connection, was.fee_payment_id)
    return replace(after, reason=f"{PAID_AFTER_ALL}:{FEE_BACK}") if back and after.state is PayoutState.PAID else after


async def _stop_next(connection: Connection, after: Payout, now: datetime) -> None:
    """Hold the payout that took over what was paid after all: the same money would go out again."""
    if after.state is not PayoutState.FAILED or after.reason != PAID_AFTER_ALL or after.taken_by is None:
        return
    log.error("payout_paid_after_all", payout_id=f"spo_{after.payout_id}", taken_by=f"spo_{after.taken_by}")
    for following in await payouts.by_ids(connection, [after.taken_by]):
        if (held := paid_twice(following, after.payout_id)) is not None:
            await _write_payout(connection, held, now)


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
