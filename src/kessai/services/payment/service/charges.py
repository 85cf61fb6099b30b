"""Charges and escrows, and the actions that payments of every kind share."""

from __future__ import annotations

from typing import Any

from kessai.foundation.contract import Message
from kessai.foundation.errors import Invalid, Refused
from kessai.foundation.ids import new_id
from kessai.sdk.workflow import Write
from kessai.services.payment import domain, store, workflows
from kessai.services.payment.api import (
    Action,
    CancelCharge,
    CancelEscrow,
    CancelPayment,
    CaptureCharge,
    CaptureEscrow,
    CapturePayment,
    CreateCharge,
    CreateEscrow,
    GetRefund,
    NextActionType,
    PaymentMethod,
    PaymentRecord,
    Refund,
    RefundCharge,
    RefundEscrow,
    RefundPayment,
)
from kessai.services.payment.domain import Asked, PaymentKind
from kessai.services.payment.service.lookups import Lookups
from kessai.services.payment.service.opening import New
from kessai.services.payment.service.tasks import refund_task, task_of
from kessai.services.payment.workflows import Task


class Charges(Lookups):
    """加盟店決済 and エスクロ決済."""

    # -- charges ------------------------------------------------------------------------------------------------

    async def create_charge(self, request: CreateCharge, /) -> PaymentRecord:
        """Authorize a customer's payment to a merchant, or sell at once."""

        def ask() -> New:
            return New(
                kind=self._kinds.require("charge"),
                payer_id=request.customer_id,
                payee_id=request.merchant_id,
                amount_minor=request.amount_minor,
                asset=request.asset,
                reference=request.reference,
                description=request.description,
                metadata=request.metadata,
                asked=asked_of(request),
                at_once=request.capture,
                expires_at=request.expires_at,
                method=PaymentMethod.DIRECT.value,
            )

        return await self._create(request, ask)

    async def capture_charge(self, request: CaptureCharge, /) -> PaymentRecord:
        """Capture an authorization, whole or in part."""
        return await self._capture(request, request.charge_id, "charge", request.amount_minor, final=request.final)

    async def cancel_charge(self, request: CancelCharge, /) -> PaymentRecord:
        """Release an authorization, or what is left of it."""
        return await self._cancel(request, request.charge_id, "charge")

    async def refund_charge(self, request: RefundCharge, /) -> Refund:
        """Refund a charge, whole or in part."""
        return await self._refund(request, request.charge_id, "charge", request.amount_minor, request.reason)

    # -- escrows ------------------------------------------------------------------------------------------------

    async def create_escrow(self, request: CreateEscrow, /) -> PaymentRecord:
        """Take a buyer's money into a marketplace's account."""

        def ask() -> New:
            if request.customer_id == request.seller_id:
                raise Invalid("same_participant", "An escrow needs a buyer and a seller.")
            return New(
                kind=self._kinds.require("escrow"),
                payer_id=request.customer_id,
                payee_id=request.marketplace_id,
                beneficiary_id=request.seller_id,
                amount_minor=request.amount_minor,
                asset=request.asset,
                reference=request.reference,
                description=request.description,
                metadata=request.metadata,
                asked=asked_of(request),
                at_once=False,
                expires_at=request.expires_at,
                method=PaymentMethod.DIRECT.value,
            )

        return await self._create(request, ask)

    async def capture_escrow(self, request: CaptureEscrow, /) -> PaymentRecord:
        """Pay the seller, less the marketplace's fee."""
        return await self._capture(
            request,
            request.escrow_id,
            "escrow",
            request.amount_minor,
            final=request.final,
            fee_minor=request.fee_minor,
        )

    async def cancel_escrow(self, request: CancelEscrow, /) -> PaymentRecord:
        """Give what was not captured back to the buyer."""
        return await self._cancel(request, request.escrow_id, "escrow")

    async def refund_escrow(self, request: RefundEscrow, /) -> Refund:
        """Give captured value back to the buyer."""
        return await self._refund(request, request.escrow_id, "escrow", request.amount_minor, request.reason)

    # -- payments of every kind ---------------------------------------------------------------------------------

    async def capture_payment(self, request: CapturePayment, /) -> PaymentRecord:
        """Capture a provisional payment, whole or in part."""
        return await self._capture(request, request.payment_id, None, request.amount_minor, final=request.final)

    async def cancel_payment(self, request: CancelPayment, /) -> PaymentRecord:
        """Release what a payment holds, or give up one that waits for an action."""
        return await self._cancel(request, request.payment_id, None)

    async def refund_payment(self, request: RefundPayment, /) -> Refund:
        """Refund a payment, whole or in part."""
        return await self._refund(request, request.payment_id, None, request.amount_minor, request.reason)

    async def _capture(
        self,
        request: Message,
        payment_id: str,
        only: str | None,
        amount_minor: int | None,
        *,
        final: bool,
        fee_minor: int = 0,
    ) -> PaymentRecord:
        def plan(payment: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            domain.check_allowed(kind, "capture")
            amount = domain.capture_amount(payment, amount_minor, kind, self._clock.now())
            domain.check_fee(amount, fee_minor)
            return task_of(payment, kind, Action.CAPTURE, amount, final=final, fee_minor=fee_minor), []

        return await self._act(workflows.capture, request, payment_id, plan, self._read, only=only)

    async def _cancel(self, request: Message, payment_id: str, only: str | None) -> PaymentRecord:
        def plan(payment: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            domain.check_allowed(kind, "cancel")
            domain.check_cancel(payment, self._clock.now())
            _check_recallable(payment)
            return task_of(payment, kind, Action.CANCEL, domain.still_held(payment)), []

        canceled: PaymentRecord = await self._act(workflows.release, request, payment_id, plan, self._read, only=only)
        self._uncount(canceled)
        return canceled

    async def _refund(
        self, request: Message, payment_id: str, only: str | None, amount_minor: int | None, reason: str | None
    ) -> Refund:
        refund_id = new_id("rfn")

        def plan(payment: PaymentRecord, kind: PaymentKind) -> tuple[Task, list[Write]]:
            domain.check_allowed(kind, "refund")
            amount = domain.refund_amount(payment, amount_minor, kind)
            task = refund_task(payment, kind, amount, refund_id, reason, self._clock.now())
            assert task.refund is not None
            return task, [store.refund_insertion(task.refund, task.caller)]

        async def read(_: str) -> Any:
            return await self.get_refund(GetRefund(refund_id=refund_id))

        return await self._act(workflows.refund, request, payment_id, plan, read, only=only)


def asked_of(request: CreateCharge | CreateEscrow) -> Asked:
    """What a request says of its sources."""
    return Asked(request.sources, request.points, request.accepted_sources, request.return_url)


def _check_recallable(payment: PaymentRecord) -> None:
    """Raises `waiting_for_bank`: what a bank has been told cannot be recalled."""
    action = payment.next_action
    if action is not None and action.type is NextActionType.WAIT_FOR_BANK:
        raise Refused("waiting_for_bank", "The bank has it; what comes of it follows.", payment_id=payment.payment_id)
