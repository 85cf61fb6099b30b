"""Transfer fees (振込手数料) of payouts that came to nothing go back, whole, before another takes the payout over.

A refund is a movement of its own, written down before it is asked for, in the processing of the fee that it gives back:
there the payment service has it too. One that was refused is asked for anew by the
next run, as another movement; a run says how many payouts wait for theirs.
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
from kessai.services.settlement.workflows.asking import announce, ask
from kessai.services.settlement.workflows.charging import FEE_OWNER, charge_again
from kessai.services.settlement.workflows.moving import refund_named, says_no, within

_UNDER_WAY = (RefundState.PENDING, RefundState.UNKNOWN)


class PageOfFees(Message, frozen=True):
    """The payouts after one."""

    after: tuple[str, str]


class FeesReturned(Message, frozen=True):
    """What a page came to."""

    last: tuple[str, str] | None
    returned: int
    left: int
    """Refused, or without an answer: the payouts wait for them."""


class Returned(Message, frozen=True):
    """What a run came to."""

    returned: int = 0
    left: int = 0

    @property
    def note(self) -> str:
        """What the operator should know of it."""
        return f"; {self.left} transfer fees could not be given back, their payouts wait" if self.left else ""


async def return_all_fees(wf: Workflow[Deps]) -> Returned:
    """Give back every transfer fee of a payout that came to nothing."""
    found, after = Returned(), FIRST
    while True:
        page = await wf.activity(return_fees, PageOfFees(after=after))
        found = Returned(returned=found.returned + page.returned, left=found.left + page.left)
        if page.last is None:
            return found
        after = page.last


async def return_fees(activity: Activity[Deps], page: PageOfFees) -> FeesReturned:
    """Give back a page of transfer fees; one that cannot be given back now is asked for anew by the next run.

    Before the first page those are charged again whose payout was paid after all.
    """
    deps, limit = activity.deps, cycle_rules().pages.payees
    if tuple(page.after) == FIRST:
        await charge_again(activity)
        await _ask_what_came_to_nothing(activity, limit)
    found = await _with_fees(deps, page.after, limit)
    now = deps.clock.now()
    refunds, known = await deps.database.transaction(store.ROLE, lambda connection: _begin(connection, found, now))
    room = asyncio.Semaphore(cycle_rules().pages.transfers)
    asked = [known[each.payment_id] for each in refunds if known[each.payment_id].state == ASKED]
    fees = {each.payment_id: str(each.refund_of) for each in refunds}
    endings = await asyncio.gather(*(_give_back(deps, each, fees[each.payment_id], room) for each in asked))
    done = [each for each in endings if each is not None]
    await _write(deps, done, {each.payment_id: each.processing_id for each in asked}, now)
    returned = sum(each.state == RefundState.SUCCEEDED for each in done)
    last = found[-1].key if len(found) == limit else None
    return FeesReturned(last=last, returned=returned, left=len(asked) - returned)


async def _ask_what_came_to_nothing(activity: Activity[Deps], limit: int) -> None:
    """A payout came back before the answer about its fee was there: with that answer, the fee can go back."""
    asked = await activity.deps.database.transaction(
        store.ROLE, lambda connection: payouts.fees_still_asked(connection, limit)
    )
    if asked:
        await ask(activity, asked)


async def _begin(
    connection: Connection, found: Sequence[Payout], now: datetime
) -> tuple[list[Movement], dict[str, Known]]:
    """Write the refunds down, each that was refused before under the id of the next attempt."""
    refused = await payouts.refunds_refused(connection, [str(each.fee_payment_id) for each in found])
    refunds = [_refund(each, refused.get(str(each.fee_payment_id), 0)) for each in found]
    await _write_down(connection, refunds, now)
    return refunds, await payouts.movements_found(connection, [each.payment_id for each in refunds])


async def _write_down(connection: Connection, refunds: Sequence[Movement], now: datetime) -> None:
    """Write down what is going to be given back, each in its fee's processing; what is written already stays."""
    if not refunds:
        return
    fees = await payouts.movements_found(connection, [str(each.refund_of) for each in refunds])
    within_of = {each.payment_id: fees[str(each.refund_of)].processing_id for each in refunds}
    if new := await movements.ask_within(connection, refunds, within_of, now):
        await announce(connection, sorted({within_of[each] for each in new}), now, entry=False)


async def _with_fees(deps: Deps, after: tuple[str, str], limit: int) -> list[Payout]:
    return await deps.database.transaction(
        store.ROLE, lambda connection: payouts.with_fees_to_return(connection, after, limit)
    )


def _refund(payout: Payout, attempt: int) -> Movement:
    """The refund of a payout's fee; of a refund, too, the owner is the payer of what it gives back."""
    fee_id = str(payout.fee_payment_id)
    subject = (fee_id, str(attempt)) if attempt else (fee_id,)
    return Movement(
        payment_id=payment_id_of(REFUND, *subject),
        kind=REFUND,
        owner_id=payout.payee_id,
        counterpart_id=FEE_OWNER,
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
                if not says_no(error):
                    return None
                return Ending(known.payment_id, RefundState.REFUSED.value, error.code, None, refund_named(error))
    if refund.state in _UNDER_WAY:
        return None
    return Ending(known.payment_id, refund.state.value, refund.refusal_code, None, refund.refund_id)


async def _write(deps: Deps, endings: Sequence[Ending], processings: dict[str, str], now: datetime) -> None:
    async def write(connection: Connection) -> None:
        changed = await movements.end(connection, endings, now)
        new = [each for each in endings if each.payment_id in changed]
        if not new:
            return  # another run has written them
        succeeded = [each.payment_id for each in new if each.state == RefundState.SUCCEEDED]
        await movements.add_returned(connection, succeeded)
        await announce(connection, sorted({processings[each.payment_id] for each in new}), now, entry=False)

    if endings:
        await deps.database.transaction(store.ROLE, write)
