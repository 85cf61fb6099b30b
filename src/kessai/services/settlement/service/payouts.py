"""The desk of payouts: what there is, and an operator's hand on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kessai.foundation.call import current_call
from kessai.foundation.db import Connection
from kessai.foundation.errors import NotFound, Refused, Unavailable
from kessai.foundation.ids import bare
from kessai.services.settlement import store
from kessai.services.settlement.api.payouts import (
    GetPayout,
    HoldPayout,
    ListPayouts,
    PayoutHistory,
    PayoutPage,
    PayoutRecord,
    PayoutStanding,
    PayoutStep,
    ReleasePayout,
)
from kessai.services.settlement.domain.payouts import OPERATOR, Payout, PayoutState, released, unpaid_for
from kessai.services.settlement.service.paging import cursor_of, place_of
from kessai.services.settlement.store import payouts
from kessai.services.settlement.workflows import Deps

HOLDABLE = (PayoutState.CLEARED, PayoutState.HELD)


class PayoutDesk:
    """入金."""

    _deps: Deps

    async def list_payouts(self, request: ListPayouts, /) -> PayoutPage:
        """Payouts by payee, state or day."""
        before, limit = place_of(request.cursor), request.limit
        state = None if request.state is None else request.state.value
        found = await self._deps.database.transaction(
            store.ROLE,
            lambda connection: payouts.listed(connection, request.payee_id, state, request.pay_on, before, limit + 1),
        )
        page, more = found[:limit], len(found) > limit
        cursor = cursor_of(page[-1].made_at, page[-1].payout_id) if more else None
        return PayoutPage(payouts=[record_of(each) for each in page], next_cursor=cursor)

    async def get_payout(self, request: GetPayout, /) -> PayoutHistory:
        """A payout with its steps and their reasons."""

        async def read(connection: Connection) -> PayoutHistory:
            payout = await _payout(connection, request.payout_id)
            steps = [
                PayoutStep(
                    sequence=row["sequence"],
                    state=PayoutStanding(row["state"]),
                    reason=row["reason"],
                    recorded_at=row["recorded_at"],
                )
                for row in await payouts.steps_of(connection, payout)
            ]
            return PayoutHistory(payout=record_of(payout), steps=steps)

        return await self._deps.database.transaction(store.ROLE, read)

    async def hold_payout(self, request: HoldPayout, /) -> PayoutRecord:
        """Hold a payout back until it is released."""
        reason = f"{OPERATOR}:{current_call().caller}: {request.reason}"

        def held(payout: Payout) -> Payout:
            if payout.state not in HOLDABLE:
                raise Refused("payout_not_holdable", f"The payout is {payout.state}.", payout_id=request.payout_id)
            return unpaid_for(payout, reason)

        return await self._change(request.payout_id, held)

    async def release_payout(self, request: ReleasePayout, /) -> PayoutRecord:
        """Let a payout go that an operator held."""

        def let_go(payout: Payout) -> Payout:
            if not payout.held_by_operator:
                raise Refused("payout_not_held", "No operator holds the payout.", payout_id=request.payout_id)
            return released(payout, f"released:{current_call().caller}: {request.reason}")

        return await self._change(request.payout_id, let_go)

    async def _change(self, payout_id: str, change: Callable[[Payout], Payout]) -> PayoutRecord:
        now = self._deps.clock.now()

        async def work(connection: Connection) -> PayoutRecord:
            after = change(await _payout(connection, payout_id))
            if not await payouts.change(connection, [after], now):
                raise Unavailable("contention", "The payout was changed at this moment; look at it again.")
            return record_of(replace(after, version=after.version + 1, updated_at=now))

        return await self._deps.database.transaction(store.ROLE, work)


async def _payout(connection: Connection, payout_id: str) -> Payout:
    found = await payouts.by_ids(connection, [bare(payout_id)])
    if not found:
        raise NotFound("payout_not_found", "There is no such payout.", payout_id=payout_id)
    return found[0]


def record_of(payout: Payout) -> PayoutRecord:
    """A payout as it is told."""
    return PayoutRecord(
        payout_id=f"spo_{payout.payout_id}",
        payee_id=payout.payee_id,
        cycle_id=f"cyc_{payout.cycle_id}",
        state=PayoutStanding(payout.state.value),
        reason=payout.reason,
        cleared_minor=payout.cleared_minor,
        carried_minor=payout.carried_minor,
        failed_minor=payout.failed_minor,
        offset_minor=payout.offset_minor,
        payable_minor=payout.payable_minor,
        transfer_fee_minor=payout.transfer_fee_minor,
        amount_minor=payout.amount_minor,
        claim_minor=payout.claim_minor,
        last_day=payout.last_day,
        instruct_on=payout.instruct_on,
        pay_on=payout.pay_on,
        bank_account_id=payout.bank_account_id,
        payment_id=payout.payment_id,
        taken_by=payout.taken_by and f"spo_{payout.taken_by}",
        paid_on=payout.paid_on,
        version=payout.version,
        made_at=payout.made_at,
        updated_at=payout.updated_at,
    )
