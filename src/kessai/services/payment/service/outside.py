"""What became of payments outside: completed by a verb, by the bank's events, by time, or because somebody looked."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta

from kessai.foundation.call import current_call, enter_call, leave_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import Conflict, NotFound, PaymentError, Refused
from kessai.foundation.ids import ID_PATTERN, bare, derived_hex
from kessai.sdk.workflow import Write
from kessai.services.bank.api import GetInstruction, Instruction, InstructionState
from kessai.services.cardgateway.api import AuthorizationState, CompleteAuthorization, InquireAuthorization
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import Action, CompletePayment, GetPayment, PaymentRecord, PaymentState
from kessai.services.payment.domain import PaymentKind
from kessai.services.payment.service.desk import Desk
from kessai.services.payment.service.tasks import outside_of, task_of
from kessai.services.payment.workflows import Task, orders

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
        if payment.state is S.REQUIRES_ACTION:
            await self._check_acted(payment)
        return await self._complete(request, request.payment_id)

    async def hear_from_bank(self, payment_id: str) -> bool:
        """The bank has something to say about what may be a payment; False when there is nothing to do (now)."""
        if not re.fullmatch(ID_PATTERN, payment_id) or payment_id[:3] not in self._kinds.prefixes.values():
            return False
        try:
            return await self.look_after(await self._read(payment_id))
        except NotFound:
            return False

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
        self._uncount(payment)
        return True

    async def look_after_waiting(self) -> int:
        """Ask after every payment that has waited for a card's issuer or a bank; gives how many went on."""
        moved, after = 0, store.OLDEST
        since = self._clock.now() - PATIENCE
        while page := await store.waiting(self._database, since, after, LOOKED_AT_ONCE, self._kinds.prefixes):
            moved += sum(await asyncio.gather(*(self._looked_after(payment) for payment in page)))
            after = bare(page[-1].payment_id)
        return moved

    async def _looked_after(self, payment: PaymentRecord) -> bool:
        try:
            return await self.look_after(payment)
        except PaymentError as error:
            return not error.retryable and error.code not in ("action_pending", "payment_not_waiting")

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
