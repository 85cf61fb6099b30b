"""What products read of payments: by id, reference, participant, merchant and time, by pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from kessai.foundation.errors import Invalid, NotFound
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.payment import store
from kessai.services.payment.api import (
    Action,
    GetHistory,
    GetRefund,
    ListPayments,
    ListRefunds,
    PaymentHistory,
    PaymentPage,
    PaymentRecord,
    PaymentState,
    PaymentStep,
    Refund,
    Refunds,
)
from kessai.services.payment.service.desk import Desk

HEX = set("0123456789abcdef")
INSTANT_MAX = datetime(9000, 1, 1, tzinfo=UTC)


class Lookups(Desk):
    """Reads; nothing here changes anything."""

    async def list_payments(self, request: ListPayments, /) -> PaymentPage:
        """Payments by participant, merchant, reference or time, newest first."""
        only = store.Filter(
            kind=request.kind,
            state=request.state and request.state.value,
            created_from=request.created_from and min(request.created_from, INSTANT_MAX),
            created_before=request.created_before and min(request.created_before, INSTANT_MAX),
        )
        by: store.ListedBy | None = next((by for by in _BY if getattr(request, _BY[by]) is not None), None)
        if by is None:
            return await self._by_time(request, only)
        found = await self._listed(request, by, only)
        page = found[: request.limit]
        more = len(found) > request.limit
        return PaymentPage(payments=page, next_cursor=page[-1].payment_id[4:] if more else None)

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The payments and refunds of some processings."""
        return await self.effects.list_effects(request)

    async def _listed(self, request: ListPayments, by: store.ListedBy, only: store.Filter) -> list[PaymentRecord]:
        """One more than a page, by what narrows it most; the other conditions are looked at here."""
        before = store.NEWEST if request.cursor is None else _id_of(request.cursor)
        found: list[PaymentRecord] = []
        value = getattr(request, _BY[by])
        while len(found) <= request.limit:
            page = await store.listed(self._database, by, value, before, request.limit + 1, only, self._kinds.prefixes)
            found += [payment for payment in page if _matches(payment, request)]
            if len(page) <= request.limit:
                break
            before = page[-1].payment_id[4:]
        return found[: request.limit + 1]

    async def _by_time(self, request: ListPayments, only: store.Filter) -> PaymentPage:
        before = store.LAST if request.cursor is None else _instant_of(request.cursor)
        found = await store.by_time(self._database, before, request.limit + 1, only, self._kinds.prefixes)
        page = found[: request.limit]
        more = len(found) > request.limit
        cursor = f"{_micros(page[-1].created_at)}-{page[-1].payment_id[4:]}" if more else None
        return PaymentPage(payments=page, next_cursor=cursor)

    async def get_history(self, request: GetHistory, /) -> PaymentHistory:
        """Every step of a payment, with its time."""
        stored = await self._stored(request.payment_id)
        payment = stored.payment
        first = PaymentStep(
            sequence=0,
            action=Action.CREATE,
            state=PaymentState.PENDING,
            amount_minor=payment.amount_minor,
            code=None,
            processing_id=payment.processing_id,
            caller=stored.caller,
            recorded_at=payment.created_at,
        )
        steps = await store.steps(self._database, [request.payment_id])
        numbered = [replace(step, sequence=number) for number, step in enumerate([first, *steps])]
        return PaymentHistory(payment_id=request.payment_id, steps=numbered)

    async def list_refunds(self, request: ListRefunds, /) -> Refunds:
        """The refunds of a payment."""
        stored = await self._stored(request.payment_id)
        return Refunds(refunds=await store.refunds_of(self._database, [stored.payment]))

    async def get_refund(self, request: GetRefund, /) -> Refund:
        """A refund."""
        found = await store.refunds_by_id(self._database, [request.refund_id], self._kinds.prefixes)
        if not found or found[0].refund_id != request.refund_id:
            raise NotFound("refund_not_found", "There is no such refund.", refund_id=request.refund_id)
        return found[0]


_BY: Mapping[store.ListedBy, str] = {"reference": "reference", "participant": "customer_id", "payee": "merchant_id"}
"""The lists there are, the narrowest first, and the condition that each is by."""


def _matches(payment: PaymentRecord, request: ListPayments) -> bool:
    sides = (payment.payer_id, payment.payee_id, payment.beneficiary_id)
    return (
        request.reference in (None, payment.reference)
        and (request.customer_id is None or request.customer_id in sides)
        and request.merchant_id in (None, payment.payee_id)
    )


def _id_of(cursor: str) -> str:
    if len(cursor) != 32 or not set(cursor) <= HEX:
        raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
    return cursor


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def _instant_of(cursor: str) -> tuple[datetime, str]:
    micros, _, payment_id = cursor.partition("-")
    if not micros.isascii() or not micros.isdigit() or len(micros) > 17:
        raise Invalid("bad_cursor", "The cursor is not one that this list gave.")
    seconds, rest = divmod(int(micros), 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest), _id_of(payment_id)
