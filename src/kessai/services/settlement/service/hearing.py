"""What settlement hears of payments, in two flows that do not wait for each other: transaction data, and fees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from kessai.foundation.clock import Clock, SystemClock
from kessai.foundation.db import Connection
from kessai.foundation.events import Event
from kessai.services.payment.api import PaymentStateChanged
from kessai.services.settlement.api.words import TransactionKind
from kessai.services.settlement.domain.configuration import SettlementConfig
from kessai.services.settlement.domain.intake import NewTransaction, Reader
from kessai.services.settlement.store import days, fees, transactions

PAYMENT_FEED, FEE_FEED = days.FEEDS
_decode = msgspec.json.Decoder(PaymentStateChanged).decode
_CHARGED = (TransactionKind.SALE, TransactionKind.REFUND)
_OF_FEES = (TransactionKind.FEE, TransactionKind.FEE_REFUND)


class Hearing:
    """Takes in what the payment service tells."""

    def __init__(self, clock: Clock, config: SettlementConfig) -> None:
        self._clock = clock
        self._real = SystemClock()
        self._reader = Reader(config.intake)
        self.sales_heard: Callable[[], None] = _nobody
        """Told that there are sales to work out fees for; they are there once the delivery is committed."""

    async def hear_transactions(self, connection: Connection, events: list[Event]) -> None:
        """Record transaction data (取引データ), once by event; a fee's takes over the day of what it is for."""
        found = self._read(events)
        of_fees = [each.payment_id for each in found if each.kind in _OF_FEES]
        if of_fees:
            origins = await transactions.fee_origins(connection, of_fees)
            found = [_with_origin(each, origins.get(each.payment_id)) for each in found]
        await transactions.record(connection, found)
        await days.move_feed(connection, PAYMENT_FEED, _latest(events))

    async def hear_sales(self, connection: Connection, events: list[Event]) -> None:
        """Note sales and refunds whose fee is to be worked out. There is no fee on a fee."""
        found = [each for each in self._read(events) if each.kind in _CHARGED]
        await fees.note_sales(connection, found)
        await days.move_feed(connection, FEE_FEED, _latest(events))
        if found:
            self.sales_heard()

    def _read(self, events: Sequence[Event]) -> list[NewTransaction]:
        now, real_now = self._clock.now(), self._real.now()
        read = self._reader.read
        found = (read(_decode(each.payload), now=now, told_at=each.written_at or real_now) for each in events)
        return [each for each in found if each is not None]


def _nobody() -> None:
    """Until somebody wants to be told."""


def _with_origin(each: NewTransaction, origin: transactions.FeeOrigin | None) -> NewTransaction:
    if origin is None or each.kind not in _OF_FEES:
        return each
    if each.kind == TransactionKind.FEE:
        return each._replace(origin_id=origin.origin_id, method=origin.method, business_date=origin.business_date)
    return each._replace(origin_id=origin.origin_id, method=origin.method)


def _latest(events: Sequence[Event]) -> datetime:
    return max(each.recorded_at for each in events)
