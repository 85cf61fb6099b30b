"""What `bench settlement` finds when it begins: events as payments told them, with their proofs, written by COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import asyncpg
import msgspec

from kessai.foundation.clock import TOKYO
from kessai.foundation.events import encode_events, encoded_row
from kessai.services.merchant.api import FeeTax
from kessai.services.payment.api import Action, PaymentState, PaymentStateChanged, event_type
from kessai.services.settlement.domain.feeing import fee_payment_id
from kessai.services.settlement.domain.intake import transaction_id_of
from kessai.services.settlement.domain.naming import derived_id

EVENTS_A_ROW = 200
"""As one busy flush carries them."""
FEES_A_PROCESSING = 500
COPIED_AT_ONCE = 50_000
FEE_PPM = 32_400
OUTBOX = ("outbox_id", "topic", "event_count", "payload", "recorded_at", "position")
PROCESSING = ("processing_id", "entry", "participants", "revision", "verdict", "found", "opened_at", "touched_at",
              "due_at")  # fmt: skip
VERDICT = ("processing_id", "revision", "verdict", "late", "reports", "undeclared", "batch", "leaf", "decided_at")
FEE = ("owner_id", "fee_id", "kind", "unit", "origin_id", "returns_id", "method", "base_minor", "amount_minor",
       "tax_minor", "tax_rate_bps", "schedule", "payment_id", "state", "business_date", "recorded_at")  # fmt: skip
BASE = ("owner_id", "transaction_id", "kind", "method", "amount_minor", "payment_id", "occurred_at", "business_date",
        "recorded_at", "state", "schedule", "fee_minor", "fee_id")  # fmt: skip
_encode = msgspec.json.Encoder().encode
_NOTHING = msgspec.msgpack.encode([])
_Rows = list[tuple[object, ...]]


class Sold(NamedTuple):
    """A sale of the past: who sold, for how much, and the fee on it."""

    number: int
    owner_id: str
    amount_minor: int
    fee_minor: int


@dataclass(frozen=True, slots=True)
class Past:
    """A day's sales of so many merchants, each with its fee; of a past without fees, those are still to be issued."""

    day: date
    sales: int
    merchants: int
    fees: bool

    def sold(self) -> Iterator[Sold]:
        """Every sale."""
        for number in range(self.sales):
            amount = 100 + number * 7 % 9_901
            yield Sold(number, merchant_id(number % self.merchants), amount, amount * FEE_PPM // 1_000_000)

    @property
    def net_minor(self) -> int:
        """What all of them come to, less the fees where there are any."""
        return sum(each.amount_minor - (each.fee_minor if self.fees else 0) for each in self.sold())

    @property
    def at(self) -> datetime:
        """Noon of the day."""
        return datetime.combine(self.day, time(12), TOKYO).astimezone(UTC)


def event_id_of(payment_id: str) -> str:
    """The one event of a payment that is captured at once."""
    return f"{payment_id}:1"


def merchant_id(number: int) -> str:
    """A merchant of the bench."""
    return f"mer:bench{number:06d}"


async def store_past(dsn: str, past: Past, told: Callable[[int, int], None]) -> None:
    """Write events with positions, the fees that are issued already, and CONSISTENT verdicts given just now."""
    connection = await asyncpg.connect(dsn)
    try:
        writer = _Writer(connection, past)
        for each in past.sold():
            writer.add(each)
            if len(writer.bases) >= COPIED_AT_ONCE:
                await writer.copy()
                told(each.number + 1, past.sales)
        writer.close_row()
        await writer.copy()
        await connection.execute("UPDATE payment.outbox_head SET position = $1", writer.position)
        await connection.execute(
            "INSERT INTO settlement.subscription_cursor (subscription, source, position, handled)"
            " VALUES ('settlement.fees', 'payment', $1, 0)",
            writer.position + 1 if past.fees else 0,
        )
        await connection.execute("VACUUM (ANALYZE)", timeout=None)
    finally:
        await connection.close()


class _Writer:
    """Rows in the making."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], past: Past) -> None:
        self._connection, self._past = connection, past
        self._events: list[bytes] = []
        self.position = 0
        self._outbox: list[tuple[object, ...]] = []
        self._processings: list[str] = []
        self._fees: list[tuple[object, ...]] = []
        self.bases: list[tuple[object, ...]] = []

    def add(self, sold: Sold) -> None:
        """A sale, and its fee where the past has them."""
        sale_id, processing_id = f"chg_{sold.number:032x}", f"prc_{sold.number:032x}"
        self._processings.append(processing_id)
        self._tell(sale_id, "charge", "cus:bench", sold.owner_id, sold.amount_minor, processing_id, "direct")
        at = self._past.at
        if self._past.fees and sold.fee_minor:
            origin = transaction_id_of(event_id_of(sale_id))
            fee_id = derived_id("fee", str(origin))
            payment_id = fee_payment_id(fee_id, FeeTax.INCLUDED, 0)
            processing_id = f"prc_ffff{sold.number // FEES_A_PROCESSING:028x}"
            if not sold.number % FEES_A_PROCESSING:
                self._processings.append(processing_id)
            self._tell(
                payment_id, "merchant_fee", sold.owner_id, "internal:merchant_fee", sold.fee_minor, processing_id, None
            )
            self._fees.append(
                (
                    *(sold.owner_id, fee_id, "fee", "transaction", origin, None, "direct", sold.amount_minor),
                    *(sold.fee_minor, 0, 0, "{}", payment_id, "ISSUED", self._past.day, at),
                )
            )
            self.bases.append(
                (
                    *(sold.owner_id, origin, "sale", "direct", sold.amount_minor, sale_id, at, self._past.day, at),
                    *("DECIDED", "{}", sold.fee_minor, fee_id),
                )
            )
        elif not self._past.fees:
            self.bases.append(())

    def _tell(
        self, payment_id: str, kind: str, payer: str, payee: str, amount: int, processing_id: str, method: str | None
    ) -> None:
        event = PaymentStateChanged(
            type=event_type(kind, Action.CAPTURE),
            event_id=event_id_of(payment_id),
            payment_id=payment_id,
            kind=kind,
            action=Action.CAPTURE,
            state=PaymentState.CAPTURED,
            amount_minor=amount,
            asset="JPY",
            payer_id=payer,
            payee_id=payee,
            captured_minor=amount,
            refunded_minor=0,
            exchange_id=f"exc_{payment_id[4:]}",
            refund_id=None,
            code=None,
            processing_id=processing_id,
            version=1,
            occurred_at=self._past.at,
            method=method,
        )
        self._events.append(_encode(event))
        if len(self._events) >= EVENTS_A_ROW:
            self.close_row()

    def close_row(self) -> None:
        """An outbox row of what was told since the last one."""
        if self._events:
            self.position += 1
            row = encoded_row("payment.payment", len(self._events), encode_events(self._events), self._past.at)
            self._outbox.append((*row, self.position))
            self._events = []

    async def copy(self) -> None:
        """Write what has gathered."""
        now = datetime.now(UTC) + timedelta(seconds=1)
        names = ["payment", "settlement"]
        processings: _Rows = [
            (one, "payment", names, 1, "CONSISTENT", False, now, now, now) for one in self._processings
        ]
        none: list[str] = []
        verdicts: _Rows = [
            (one, 1, "CONSISTENT", none, _NOTHING, _NOTHING, 1, leaf, now) for leaf, one in enumerate(self._processings)
        ]
        tables: tuple[tuple[str, str, Sequence[str], _Rows], ...] = (
            ("payment", "outbox", OUTBOX, self._outbox),
            ("tracer", "processing", PROCESSING, processings),
            ("tracer", "verdict", VERDICT, verdicts),
            ("settlement", "fee", FEE, self._fees),
            ("settlement", "fee_base", BASE, self.bases if self._past.fees else []),
        )
        for schema, table, columns, rows in tables:
            await self._connection.copy_records_to_table(table, schema_name=schema, records=rows, columns=columns)
        for gathered in (self._outbox, self._processings, self._fees, self.bases):
            gathered.clear()
