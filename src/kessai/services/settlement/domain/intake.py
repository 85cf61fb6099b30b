"""What an event of a payment is to the merchant's unsettled sales (未精算売上). Pure.

A capture of a sale is a sale of its amount, a refund a refund; what was authorized and lapsed is nothing. Of an escrow
the marketplace's sales are its fee: what is parked with it is the buyer's and the seller's. Fees are payments of their
own, and so are their returns. Clearings and shortfalls move unsettled sales too, but follow from settlement itself.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from kessai.foundation.clock import business_date
from kessai.foundation.ids import derived_hex
from kessai.services.payment.api import Action, PaymentStateChanged
from kessai.services.settlement.api.words import TransactionKind
from kessai.services.settlement.domain.configuration import Intake

K = TransactionKind
DIRECT = "direct"


def transaction_id_of(event_id: str) -> UUID:
    """The transaction that an event of the payment service is, however often it is heard."""
    return UUID(hex=derived_hex("transaction", event_id))


class NewTransaction(NamedTuple):
    """A transaction as it is recorded; `origin_id` and what a fee takes over from its sale are filled in later."""

    owner_id: str
    transaction_id: UUID
    kind: str
    from_id: str
    to_id: str
    amount_minor: int
    method: str
    payment_id: str
    origin_id: UUID | None
    processing_id: str
    occurred_at: datetime
    business_date: date
    recorded_at: datetime
    told_at: datetime


class Reader:
    """Reads events by the configuration."""

    def __init__(self, intake: Intake) -> None:
        self._account_type = intake.account_type
        self._platform = intake.platform
        self._kinds = {
            **dict.fromkeys(intake.sales, _of_sale),
            **dict.fromkeys(intake.escrows, _of_escrow),
            **dict.fromkeys(intake.fees, _of_fee),
            **dict.fromkeys(intake.adjustments_in, _of_addition),
            **dict.fromkeys(intake.adjustments_out, _of_deduction),
        }
        self._adjustments = {*intake.adjustments_in, *intake.adjustments_out}
        self.sale_kinds = frozenset({*intake.sales, *intake.escrows})
        """Kinds of payment that a fee may be charged for."""

    def read(self, event: PaymentStateChanged, *, now: datetime, told_at: datetime) -> NewTransaction | None:
        """The transaction that an event is, or None."""
        reading = self._kinds.get(event.kind)
        if reading is None or event.action not in _MOVING:
            return None
        if event.kind in self._adjustments and event.account_type != self._account_type:
            return None
        told = reading(event)
        if told is None:
            return None
        kind, owner, other, amount, gets = told
        other = other or self._platform
        return NewTransaction(
            owner,
            transaction_id_of(event.event_id),
            kind.value,
            other if gets else owner,
            owner if gets else other,
            amount,
            event.method or DIRECT,
            event.payment_id,
            None,
            event.processing_id,
            event.occurred_at,
            business_date(event.occurred_at),
            now,
            told_at,
        )


_MOVING = frozenset({Action.CAPTURE, Action.REFUND, Action.CANCEL, Action.EXPIRE})
Told = tuple[TransactionKind, str, str | None, int, bool]
"""Kind, owner, the other side (None: the platform), amount, and whether the owner gets it."""


def _of_sale(event: PaymentStateChanged) -> Told | None:
    if event.action is Action.CAPTURE:
        return K.SALE, event.payee_id, event.payer_id, event.amount_minor, True
    if event.action is Action.REFUND:
        return K.REFUND, event.payee_id, event.payer_id, event.amount_minor, False
    return None


def _of_escrow(event: PaymentStateChanged) -> Told | None:
    """What the marketplace keeps with a release, and gives back of it with a refund."""
    if not event.fee_minor:
        return None
    if event.action is Action.CAPTURE:
        return K.SALE, event.payee_id, event.payer_id, event.fee_minor, True
    if event.action is Action.REFUND:
        return K.REFUND, event.payee_id, event.payer_id, abs(event.fee_minor), False
    return None


def _of_fee(event: PaymentStateChanged) -> Told | None:
    if event.action is Action.CAPTURE:
        return K.FEE, event.payer_id, None, event.amount_minor, False
    if event.action is Action.REFUND:
        return K.FEE_REFUND, event.payer_id, None, event.amount_minor, True
    return None


def _of_addition(event: PaymentStateChanged) -> Told | None:
    return (K.ADJUSTMENT, event.payee_id, None, event.amount_minor, True) if event.action is Action.CAPTURE else None


def _of_deduction(event: PaymentStateChanged) -> Told | None:
    return (K.ADJUSTMENT, event.payer_id, None, event.amount_minor, False) if event.action is Action.CAPTURE else None
