"""Transfer fees (振込手数料) of payouts that came to nothing go back, whole, before another takes the payout over.

A refund is a movement of its own, written down before it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import derived_hex
from kessai.sdk.workflow import Activity, Workflow
from kessai.services.payment.api import RefundPayment, RefundState
from kessai.services.settlement import store
from kessai.services.settlement.domain.cycle_rules import cycle_rules
from kessai.services.settlement.domain.naming import REFUND, payment_id_of
from kessai.services.settlement.domain.payouts import Payout
from kessai.services.settlement.store import movements, payouts
from kessai.services.settlement.store.movements import ASKED, Ending, Movement
from kessai.services.settlement.store.payouts import FIRST, Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.asking import announce, write_down_apart
from kessai.services.settlement.workflows.moving import within

FEE_OWNER = "internal:transfer_fee"
_UNDER_WAY = (RefundState.PENDING, RefundState.UNKNOWN)


class PageOfFees(Message, frozen=True):
    """The payouts after one."""

    after: tuple[str, str]


class FeesReturned(Message, frozen=True):
    """What a page came to."""

    last: tuple[str, str] | None
    returned: int


async def return_all_fees(wf: Workflow[Deps]) -> int:
    """Give back every transfer fee of a payout that came to nothing; gives how many."""
    returned, after = 0, FIRST
    while True:
        page = await wf.activity(return_fees, PageOfFees(after=after))
        returned += page.returned
        if page.last is None:
            return returned
        after = page.last


async def return_fees(activity: Activity[Deps], page: PageOfFees) -> FeesReturned:
    """Give back a page of transfer fees; one that cannot be given back now is left to the next run."""
    deps, limit = activity.deps, cycle_rules().pages.payees
    found = await _with_fees(deps, page.after, limit)
    now = deps.clock.now()
    await deps.database.transaction(
        store.ROLE, lambda connection: write_down_apart(connection, [_refund(each) for each in found], now)
    )
    known = await payouts.movements_known(deps.database, [_refund(each).payment_id for each in found])
    room = asyncio.Semaphore(cycle_rules().pages.transfers)
    asked = [each for each in known.values() if each.state == ASKED]
    fees = {_refund(each).payment_id: str(each.fee_payment_id) for each in found}
    endings = await asyncio.gather(*(_give_back(deps, each, fees[each.payment_id], room) for each in asked))
    done = [each for each in endings if each is not None]
    await _write(deps, done, {each.payment_id: each.processing_id for each in asked}, now)
    last = found[-1].key if len(found) == limit else None
    return FeesReturned(last=last, returned=sum(each.state == RefundState.SUCCEEDED for each in done))


async def _with_fees(deps: Deps, after: tuple[str, str], limit: int) -> list[Payout]:
    return await deps.database.transaction(
        store.ROLE, lambda connection: payouts.with_fees_to_return(connection, after, limit)
    )


def _refund(payout: Payout) -> Movement:
    fee_id = str(payout.fee_payment_id)
    return Movement(
        payment_id=payment_id_of(REFUND, fee_id),
        kind=REFUND,
        owner_id=FEE_OWNER,
        counterpart_id=payout.payee_id,
        amount_minor=payout.transfer_fee_minor,
        about=f"payout:{payout.payout_id}",
        refund_of=fee_id,
    )


async def _give_back(deps: Deps, known: Known, fee_id: str, room: asyncio.Semaphore) -> Ending | None:
    """What became of one refund; None while that is not known."""
    key = derived_hex("settlement", "give_back", known.payment_id)
    async with room:
        with within(known.processing_id, key):
            try:
                refund = await deps.payment.refund_payment(RefundPayment(payment_id=fee_id))
            except PaymentError as error:
                if error.retryable:
                    return None
                return Ending(known.payment_id, RefundState.REFUSED.value, error.code)
    if refund.state in _UNDER_WAY:
        return None
    return Ending(known.payment_id, refund.state.value, refund.refusal_code, None, refund.refund_id)


async def _write(deps: Deps, endings: Sequence[Ending], processings: dict[str, str], now: datetime) -> None:
    async def write(connection: Connection) -> None:
        await movements.end(connection, endings, now)
        succeeded = [each.payment_id for each in endings if each.state == RefundState.SUCCEEDED]
        await movements.add_returned(connection, succeeded)
        await announce(connection, [processings[each.payment_id] for each in endings], now, entry=False)

    if endings:
        await deps.database.transaction(store.ROLE, write)
