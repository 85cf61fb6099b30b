"""Holds in bulk: each is decided by itself, then all that are new go through one workflow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kessai.foundation.call import Call, current_call
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.foundation.ids import bare, new_hex, new_id
from kessai.sdk.workflow import Conflicted, Handle
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import HeldPayments, Hold, HoldOutcome, HoldPayments, PaymentState
from kessai.services.payment.domain import PaymentKind
from kessai.services.payment.service.desk import CLAIM_ATTEMPTS_MAX, UNDECIDED
from kessai.services.payment.service.in_bulk import REUSED, InBulk, key_of_call
from kessai.services.payment.store import KnownMovement
from kessai.services.payment.workflows import Held, HeldAll, HeldPath, Holds

LOOK_S = 0.25
"""How long what is decided may wait for the others of its page."""


@dataclass(slots=True)
class _Plan:
    """What a call asks for."""

    kind: PaymentKind
    holds: dict[str, Held] = field(default_factory=dict[str, Held])
    """By the digits of their payment ids, each once."""
    asked: list[Held | HoldOutcome] = field(default_factory=list["Held | HoldOutcome"])
    """In the order of the request; what is refused by its content alone is so already."""

    @property
    def path(self) -> HeldPath:
        """Where the value is held, and for whom."""
        kind = self.kind
        payee_id = str(kind.payee_owner)
        return HeldPath(kind.name, kind.asset, kind.payer_account_types, payee_id, kind.payee_account_type)


class Holding(InBulk):
    """Authorizations, by hundreds."""

    async def hold_payments(self, request: HoldPayments, /) -> HeldPayments:
        """Authorize payments of many customers at once; each is refused by itself."""
        plan = self._planned_holds(request)
        fresh, known, refused = plan.holds, dict[str, KnownMovement](), None
        if not fresh:
            await self._check_key(request, workflows.hold)
        workflow_id = key_of_call() or new_hex()
        for _ in range(CLAIM_ATTEMPTS_MAX):
            if not fresh:
                break
            try:
                refused = await self._hold(request, plan, fresh, workflow_id)
                break
            except Conflicted:  # some of them have been asked for before, or are at this moment
                known = await store.movements(self._database, list(plan.holds))
                fresh = {digits: each for digits, each in plan.holds.items() if digits not in known}
        else:
            raise domain.Busy("payment_busy", "Other calls make the same payments; try again.")
        try:
            if await self._waited_for_others(known, workflows.hold) or refused is None:
                known = await store.movements(self._database, list(plan.holds))
        except Unavailable as error:  # of the look, not of the work: that was started
            raise Unknown("outcome_unknown", "Whether they are held is not known; ask again.") from error
        return HeldPayments(outcomes=[_outcome(each, plan, known, refused or {}) for each in plan.asked])

    def _planned_holds(self, request: HoldPayments) -> _Plan:
        call, kind = current_call(), domain.held_kind(request.kind, self._kinds)
        domain.check_may_move(kind, call)
        plan = _Plan(kind)
        for each in request.holds:
            try:
                domain.check_hold(each, kind)
            except PaymentError as refusal:
                plan.asked.append(_refused(each.payment_id, refusal.code))
                continue
            digits = bare(each.payment_id)
            first = plan.holds.get(digits)
            if first is None:
                first = plan.holds[digits] = _held(each, call)
            same = _content(first) == (each.customer_id, each.amount_minor, each.reference)
            plan.asked.append(first if same else _refused(each.payment_id, REUSED))
        return plan

    async def _hold(
        self, request: HoldPayments, plan: _Plan, fresh: Mapping[str, Held], workflow_id: str
    ) -> dict[str, str] | None:
        """Which of the new ones were refused, and why; None when what became of them is to be read."""
        handle = await self._start_holds(request, plan, fresh, workflow_id)
        held = await self._told(handle, list(fresh))
        current_call().replayed |= handle.replayed
        return None if held is None or handle.replayed else held.refused

    async def _told(self, handle: Handle[HeldAll], digits: Sequence[str]) -> HeldAll | None:
        """What came of all of them; None when the rows are to be read: it is not there in time, or some of them are
        decided, and others keep the workflow."""
        outcome = asyncio.ensure_future(self._in_time(handle))
        try:
            while not (await asyncio.wait((outcome,), timeout=LOOK_S))[0]:
                with contextlib.suppress(Unavailable):
                    found = await store.movements(self._database, digits)
                    if any(each.state not in UNDECIDED for each in found.values()):
                        return None
            return outcome.result()
        finally:
            outcome.cancel()

    async def _start_holds(
        self, request: HoldPayments, plan: _Plan, fresh: Mapping[str, Held], workflow_id: str
    ) -> Handle[HeldAll]:
        call, now = current_call(), self._clock.now()
        expires_at = domain.authorization_expiry(None, plan.kind, now, at_once=False)
        assert expires_at is not None
        holds = Holds(
            holds=list(fresh.values()), path=plan.path, caller=call.caller, created_at=now, expires_at=expires_at
        )
        given = {bare(each.payment_id): each.processing_id for each in request.holds} if call.scopes is None else {}
        rows = [
            store.movement_insertion(
                payment,
                workflow_id,
                call.caller,
                begins=call.processing_id is None and given.get(bare(payment.payment_id)) is None,
            )
            for payment in workflows.held_payments_of(holds)
        ]
        return await self._engine.start(
            workflows.hold, holds, workflow_id=workflow_id, writes=rows, content=request, conflict="refuse"
        )


def _held(hold: Hold, call: Call) -> Held:
    """Whose processing it is part of is the platform's own to say."""
    own = hold.processing_id if call.scopes is None else None
    processing_id = own or call.processing_id or new_id("prc")
    return Held(
        hold.payment_id, hold.customer_id, hold.amount_minor, hold.reference, dict(hold.metadata), processing_id
    )


def _content(held: Held) -> tuple[str, int, str | None]:
    return held.payer_id, held.amount_minor, held.reference


def _outcome(
    asked: Held | HoldOutcome, plan: _Plan, known: Mapping[str, KnownMovement], refused: Mapping[str, str]
) -> HoldOutcome:
    if isinstance(asked, HoldOutcome):
        return asked
    found = known.get(bare(asked.payment_id))
    if found is not None:
        content = (plan.kind.name, asked.payer_id, plan.path.payee_id, asked.amount_minor, asked.reference)
        if found[:5] != content:
            return _refused(asked.payment_id, REUSED)
        return HoldOutcome(payment_id=asked.payment_id, state=found.state, code=found.code)
    code = refused.get(asked.payment_id)
    if code is not None:
        return _refused(asked.payment_id, code)
    return HoldOutcome(payment_id=asked.payment_id, state=PaymentState.AUTHORIZED)


def _refused(payment_id: str, code: str) -> HoldOutcome:
    return HoldOutcome(payment_id=payment_id, state=PaymentState.REFUSED, code=code)
