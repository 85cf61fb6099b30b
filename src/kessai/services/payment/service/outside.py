"""What became of payments outside: completed by a verb, by the bank's events, by time, or because somebody looked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import structlog
from msgspec import structs

from kessai.foundation.call import current_call, enter_call, leave_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import Conflict, NotFound, PaymentError, Refused
from kessai.foundation.ids import ID_PATTERN, bare, derived_hex
from kessai.sdk.workflow import Write
from kessai.services.bank.api import GetInstruction, Instruction, InstructionState
from kessai.services.cardgateway.api import AuthorizationState, CompleteAuthorization, InquireAuthorization
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import Action, CompletePayment, GetPayment, PaymentRecord, PaymentState
from kessai.services.payment.domain import PaymentKind, PlannedSource
from kessai.services.payment.service.desk import Desk
from kessai.services.payment.service.opening import New, late_of, order_of, owed_order, payment_of
from kessai.services.payment.service.tasks import outside_of, task_of
from kessai.services.payment.workflows import Task, orders

log = structlog.get_logger(__name__)

EXPIRED_AT_ONCE = 256
"""Payments let go at a time."""
FORGOTTEN_AT_ONCE = 5_000
"""Past dates of payments that have ended, removed at a time."""
LOOKED_AT_ONCE = 64
"""Waiting payments looked after at a time."""
PATIENCE = timedelta(seconds=30)
"""How long a payment waits before somebody looks after it without being told."""

S = PaymentState


class OutsideWorld(Desk):
    """Completions, results of the bank, and expiries."""

    # -- what somebody tells ------------------------------------------------------------------------------------

    async def complete_payment(self, request: CompletePayment, /) -> PaymentRecord:
        """Go on with a payment that waited for an action outside."""
        payment = await self._read(request.payment_id)
        if (late := await self._came_late(request, payment)) is not None:
            return late
        if payment.state is S.REQUIRES_ACTION:
            await self._check_acted(payment)
        try:
            return await self._complete(request, request.payment_id)
        except Refused:  # it may have lapsed just now
            late = await self._came_late(request, await self._read(request.payment_id))
            if late is None:
                raise
            return late

    async def hear_from_bank(self, payment_id: str) -> bool:
        """The bank has something to say about what may be a payment; False when there is nothing to do (now)."""
        if not self._is_of_a_payment(payment_id):
            return False
        try:
            return await self.look_after(await self._read(payment_id))
        except NotFound:
            return False

    async def note_came_back(self, payment_ids: Sequence[str]) -> None:
        """What may be payments came back from the bank: they are looked after until they are RETURNED."""
        ours = [each for each in payment_ids if self._is_of_a_payment(each)]
        if ours:
            await store.note_came_back(self._database, ours, self._clock.now())

    def _is_of_a_payment(self, reference: str) -> bool:
        return re.fullmatch(ID_PATTERN, reference) is not None and reference[:3] in self._kinds.prefixes.values()

    # -- cash that came late ------------------------------------------------------------------------------------

    async def _came_late(self, request: CompletePayment, payment: PaymentRecord) -> PaymentRecord | None:
        """The payment that credits cash which was taken though the payment had lapsed or was canceled; None: it is in
        time, or not paid in cash."""
        kind = self._kinds.require(payment.kind)
        outside = outside_of(payment, kind)
        if outside is None or outside.gateway != "cash":
            return None
        if domain.is_overdue(payment, self._clock.now()):
            await self.expire(payment)
            payment = await self._read(payment.payment_id)
        if payment.state not in (S.EXPIRED, S.CANCELED):
            return None
        payment_id = f"{kind.id_prefix}_{derived_hex('late', payment.payment_id)}"
        if found := await store.load(self._database, [payment_id], self._kinds.prefixes):
            return found[0].payment
        log.warning("cash_came_late", payment_id=payment.payment_id, state=payment.state, credited_by=payment_id)
        return await self._credit(request, late_of(payment, kind), payment_id, payment)

    async def _credit(
        self, request: CompletePayment, new: New, payment_id: str, before: PaymentRecord
    ) -> PaymentRecord:
        now, call = self._clock.now(), current_call()
        plan = [PlannedSource(part.source, part.amount_minor, balancing=False) for part in before.funding]
        payment = structs.replace(payment_of(new, plan, None, call.processing_id, now), payment_id=payment_id)
        order = owed_order(order_of(new, payment, plan, call.caller, now))
        handle = await self._start_counted(request, new, order, derived_hex("late", before.payment_id), [])
        self._uncount(payment)
        return await self._outcome(handle, lambda: self._read(payment_id))

    # -- time ---------------------------------------------------------------------------------------------------

    async def expire_due(self) -> int:
        """Release every payment past its time; gives how many lapsed. What is busy is left to the next time."""
        lapsed, after = 0, store.FIRST_DUE
        while page := await store.overdue(
            self._database, self._clock.now(), after, EXPIRED_AT_ONCE, self._kinds.prefixes
        ):
            lapsed += sum(await asyncio.gather(*(self.expire(payment) for payment in page)))
            last = page[-1]
            assert last.expires_at is not None
            after = (last.expires_at, bare(last.payment_id))
        while await store.forget_due(self._database, self._clock.now(), FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE:
            pass
        return lapsed

    async def expire(self, payment: PaymentRecord) -> bool:
        """Let a payment past its time lapse; False when something else came first."""

        def plan(found: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            if not domain.is_overdue(found, self._clock.now()):
                raise Refused("not_overdue", "The authorization is not past its time.")
            return task_of(found, kind, Action.EXPIRE, domain.still_held(found)), []

        workflow_id = derived_hex("expire", payment.payment_id, str(payment.version))
        content = GetPayment(payment_id=payment.payment_id)
        try:
            await self._act(workflows.release, content, payment.payment_id, plan, self._read, workflow_id=workflow_id)
        except PaymentError as error:
            return error.code == "authorization_expired"
        except Exception:
            log.exception("payment_not_expired", payment_id=payment.payment_id)
            return False
        self._uncount(payment)
        return True

    async def look_after_waiting(self) -> int:
        """Ask after every payment that has waited for a card's issuer or a bank, or that a bank has returned; gives how
        many went on."""
        moved, after = 0, store.OLDEST
        since = self._clock.now() - PATIENCE
        while page := await store.waiting(self._database, since, after, LOOKED_AT_ONCE, self._kinds.prefixes):
            moved += sum(await asyncio.gather(*(self._looked_after(payment) for payment in page)))
            after = bare(page[-1].payment_id)
        after = store.OLDEST
        while page := await store.came_back(self._database, after, LOOKED_AT_ONCE, self._kinds.prefixes):
            moved += sum(await asyncio.gather(*(self._looked_after(payment) for payment in page)))
            after = bare(page[-1].payment_id)
        while await store.forget_came_back(self._database, FORGOTTEN_AT_ONCE) == FORGOTTEN_AT_ONCE:
            pass
        return moved

    async def _looked_after(self, payment: PaymentRecord) -> bool:
        """Whether it went on; one that cannot be looked at stands in nobody's way."""
        try:
            return await self.look_after(payment)
        except PaymentError as error:
            return not error.retryable and error.code not in ("action_pending", "payment_not_waiting")
        except Exception:
            log.exception("payment_not_looked_after", payment_id=payment.payment_id)
            return False

    # -- looking ------------------------------------------------------------------------------------------------

    async def look_after(self, payment: PaymentRecord) -> bool:
        """Ask outside what became of a payment, and go on with it; False when there is nothing new."""
        kind = self._kinds.require(payment.kind)
        outside = outside_of(payment, kind)
        if outside is None or outside.gateway == "cash":
            return False
        if kind.pays_out:
            return await self._look_at_transfer(payment)
        if payment.state is not S.REQUIRES_ACTION or not await self._has_acted(payment, outside.gateway):
            return False
        try:
            await self._complete(CompletePayment(payment_id=payment.payment_id), payment.payment_id)
        except Conflict:
            return False  # somebody else is at it
        except Refused:
            return True  # it is decided: REFUSED
        return True

    async def _has_acted(self, payment: PaymentRecord, gateway: str) -> bool:
        if gateway == "bank":
            return (await self._instruction(orders.debit_id_of(payment.payment_id))).state in _ENDED
        assert self._deps.cards is not None
        inquiry = InquireAuthorization(authorization_id=orders.authorization_id_of(payment.payment_id))
        state = (await self._deps.cards.inquire(inquiry)).state
        return state not in (AuthorizationState.REQUIRES_ACTION, AuthorizationState.PENDING)

    async def _check_acted(self, payment: PaymentRecord) -> None:
        """Raises `action_pending` while a card's issuer or the bank has not come to an end."""
        outside = outside_of(payment, self._kinds.require(payment.kind))
        if outside is None or outside.gateway == "cash":
            return
        if outside.gateway == "card" and self._deps.cards is not None:
            authorization_id = orders.authorization_id_of(payment.payment_id)
            mine = replace(current_call(), caller=store.SCHEMA.service, processing_id=payment.processing_id)
            token = enter_call(mine)
            try:
                await self._deps.cards.complete_authorization(CompleteAuthorization(authorization_id=authorization_id))
            except PaymentError as error:
                if error.retryable or error.code == "action_pending":
                    raise
            finally:
                leave_call(token)
        elif not await self._has_acted(payment, outside.gateway):
            raise Refused("action_pending", "The bank has not answered yet.", payment_id=payment.payment_id)

    async def _complete(self, request: Message, payment_id: str) -> PaymentRecord:
        def plan(payment: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            domain.check_waiting(payment, self._clock.now())
            return task_of(payment, kind, Action.CREATE, payment.amount_minor), []

        key = current_call().request_key
        workflow_id = None if key else derived_hex("complete", payment_id, str((await self._read(payment_id)).version))
        return await self._act(workflows.complete, request, payment_id, plan, self._read, workflow_id=workflow_id)

    async def _look_at_transfer(self, payment: PaymentRecord) -> bool:
        """A payment out: it arrived, it did not leave, or it came back."""
        found = await self._instruction(orders.transfer_id_of(payment.payment_id))
        code = found.failure_code and found.failure_code.value
        moved = False
        if payment.state is S.IN_FLIGHT and found.state in (InstructionState.DONE, InstructionState.RETURNED):
            payment, moved = await self._settle(payment, Action.CAPTURE, None), True
        elif payment.state is S.IN_FLIGHT and found.state is InstructionState.FAILED:
            payment, moved = await self._settle(payment, Action.REFUSE, code or "other"), True
        if payment.state is S.CAPTURED and found.state is InstructionState.RETURNED:
            payment, moved = await self._settle(payment, Action.RETURN, code), True
        if moved:
            self._uncount(payment)
        return moved

    async def _instruction(self, instruction_id: str) -> Instruction:
        assert self._deps.bank is not None
        return await self._deps.bank.get_instruction(GetInstruction(instruction_id=instruction_id))

    async def _settle(self, payment: PaymentRecord, action: Action, code: str | None) -> PaymentRecord:
        before = payment.state

        def plan(found: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            if found.state is not before:
                raise Refused("already_settled", f"The payment is {found.state}.", payment_id=found.payment_id)
            return task_of(found, kind, action, found.amount_minor, code=code), []

        workflow_id = derived_hex("settle", payment.payment_id, action.value, str(payment.version))
        content = GetPayment(payment_id=payment.payment_id)
        return await self._act(workflows.settle, content, payment.payment_id, plan, self._read, workflow_id=workflow_id)


_ENDED = (InstructionState.DONE, InstructionState.FAILED, InstructionState.RETURNED)
