"""The desk of claims: what payees owe, and how they pay it back."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.db import Connection
from kessai.foundation.errors import Invalid, NotFound, Refused
from kessai.foundation.ids import bare, derived_hex, new_hex
from kessai.services.identity.api import ConsumeApproval, content_digest
from kessai.services.settlement import store
from kessai.services.settlement.api.claims import (
    ClaimHistory,
    ClaimPage,
    ClaimRecord,
    ClaimStanding,
    ClaimStep,
    ClaimStepKind,
    GetClaim,
    ListClaims,
    RecordRepayment,
    Repayment,
    RepaymentState,
    RepaymentWay,
)
from kessai.services.settlement.domain.claims import Claim
from kessai.services.settlement.service.paging import cursor_of, place_of
from kessai.services.settlement.store import claims
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.repaying import RepayOrder, above_claim, repay

ANSWER_WAIT_S = 10.0
"""How long a caller waits for a repayment's payment; afterwards it is told that it is under way."""


class ClaimDesk:
    """請求."""

    _deps: Deps

    async def list_claims(self, request: ListClaims, /) -> ClaimPage:
        """Claims by payee or state."""
        before, limit = place_of(request.cursor), request.limit
        state = None if request.state is None else request.state.value
        found = await self._deps.database.transaction(
            store.ROLE, lambda connection: claims.listed(connection, request.payee_id, state, before, limit + 1)
        )
        page, more = found[:limit], len(found) > limit
        cursor = cursor_of(page[-1].made_at, page[-1].claim_id) if more else None
        return ClaimPage(claims=[claim_record(each) for each in page], next_cursor=cursor)

    async def get_claim(self, request: GetClaim, /) -> ClaimHistory:
        """A claim with everything that was done to it."""

        async def read(connection: Connection) -> ClaimHistory:
            claim = await claim_of(connection, request.claim_id)
            steps = [
                ClaimStep(
                    sequence=row["sequence"],
                    kind=ClaimStepKind(row["kind"]),
                    amount_minor=row["amount_minor"],
                    payment_id=row["payment_id"],
                    recorded_at=row["recorded_at"],
                )
                for row in await claims.steps_of(connection, claim)
            ]
            return ClaimHistory(claim=claim_record(claim), steps=steps)

        return await self._deps.database.transaction(store.ROLE, read)

    async def record_repayment(self, request: RecordRepayment, /) -> Repayment:
        """Record that a payee pays back, which a second person confirms, or have its bank account debited for it."""
        key = current_call().request_key
        name = f"rpy_{derived_hex('settlement', 'repayment', key) if key else new_hex()}"
        await self._check(request, name)
        await self._consent(request, name)
        order = RepayOrder(
            name=name,
            claim_id=request.claim_id,
            amount_minor=request.amount_minor,
            source=request.source.value,
            bank_account_id=request.bank_account_id,
            debit_on=request.debit_on,
        )
        handle = await self._deps.engine.start(repay, order, workflow_id=name)
        current_call().replayed = handle.replayed
        payment_id = None
        try:
            async with asyncio.timeout(ANSWER_WAIT_S):
                payment_id = (await handle.result()).payment_id
        except TimeoutError:
            pass  # it goes on by itself, and says ASKED until then
        return await self._repayment(name, payment_id)

    async def _check(self, request: RecordRepayment, name: str) -> None:
        """Raises what can be said before anything is written; nothing where it was asked for before."""

        async def check(connection: Connection) -> None:
            claim = await claim_of(connection, request.claim_id)
            if request.source is RepaymentWay.DEBIT and request.bank_account_id is None:
                raise Invalid("instrument_required", "Name the bank account to debit.", field="bank_account_id")
            if request.source is not RepaymentWay.DEBIT and request.debit_on is not None:
                raise Invalid("debit_day_misplaced", "Only a debit has a day.", field="debit_on")
            again = await claims.part_of_payment(connection, name) is not None
            if not again and request.amount_minor > claim.free_minor:
                raise above_claim(request.claim_id, claim.free_minor)

        await self._deps.database.transaction(store.ROLE, check)

    async def _consent(self, request: RecordRepayment, name: str) -> None:
        """Use up the approval of what is said to have arrived: nothing of the bank's own says so.

        The platform's own services answer for themselves. The same repayment again uses none.
        """
        if request.source is not RepaymentWay.DEPOSIT or current_call().scopes is None:
            return
        if request.approval_id is None:
            raise Refused("approval_required", "A second person has to confirm that the money has arrived.")
        if self._deps.approvals is None:
            raise Refused("approvals_not_available", "No approvals are kept here.")
        await self._deps.approvals.consume_approval(
            ConsumeApproval(
                approval_id=request.approval_id,
                consumer_id=name,
                subject=request.claim_id,
                action="settlement.repayment",
                content_sha256=content_digest(replace(request, approval_id=None)),
            )
        )

    async def _repayment(self, name: str, payment_id: str | None) -> Repayment:
        async def read(connection: Connection) -> Repayment:
            found = await claims.part_of_payment(connection, name)
            assert found is not None, "it was reserved"
            part, state, code = found
            (claim,) = await claims.by_ids(connection, [part.claim_id])
            return Repayment(
                claim_id=f"clm_{part.claim_id}",
                payment_id=payment_id,
                amount_minor=part.amount_minor,
                state=RepaymentState(state),
                code=code,
                claim=claim_record(claim),
            )

        return await self._deps.database.transaction(store.ROLE, read)


async def claim_of(connection: Connection, claim_id: str) -> Claim:
    """A claim, or NotFound `claim_not_found`."""
    found = await claims.by_ids(connection, [bare(claim_id)])
    if not found:
        raise NotFound("claim_not_found", "There is no such claim.", claim_id=claim_id)
    return found[0]


def claim_record(claim: Claim) -> ClaimRecord:
    """A claim as it is told."""
    return ClaimRecord(
        claim_id=f"clm_{claim.claim_id}",
        payee_id=claim.payee_id,
        cycle_id=f"cyc_{claim.cycle_id}",
        state=ClaimStanding(claim.state.value),
        amount_minor=claim.amount_minor,
        offset_minor=claim.offset_minor,
        collected_minor=claim.collected_minor,
        pending_minor=claim.pending_minor,
        owed_minor=claim.owed_minor,
        due_on=claim.due_on,
        version=claim.version,
        made_at=claim.made_at,
    )
