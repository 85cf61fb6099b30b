"""What settlement tells the Processing Tracer of itself: what it had moved, and that the payment service moved it.

A processing of settlement begins with a page of movements that was written down (`store/movements.py`), and holds the
refunds of what is in it. Settlement claims each of them on the payment service, word for word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries, plan_by_index
from kessai.sdk.processing.api import EffectRecord, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.services.payment.api import PaymentState, RefundState
from kessai.services.settlement import store

SERVICE = "settlement"
PAYMENT = "payment"
DEPENDENCIES = (PAYMENT,)
ASSET = "JPY"
_REFUND = "refund"
_REPAYMENT = "claim_repayment"
_IN_FLIGHT = frozenset({"ASKED", PaymentState.PENDING, PaymentState.UNKNOWN, PaymentState.IN_FLIGHT})
_TAKEN = frozenset({PaymentState.CAPTURED, PaymentState.RETURNED, RefundState.SUCCEEDED})
_SQL = load_queries("kessai.services.settlement", file="sql/effects.sql")


@dataclass(slots=True)
class Found:
    """Everything of one processing."""

    movements: list[asyncpg.Record] = field(default_factory=list[asyncpg.Record])

    @property
    def in_flight(self) -> bool:
        """Something of it is under way."""
        return any(row["state"] in _IN_FLIGHT for row in self.movements)

    @property
    def effects(self) -> list[EffectRecord]:
        """What settlement had done, by what it is for."""
        return [_own(row) for row in self.movements]

    @property
    def claims(self) -> list[EffectRecord]:
        """What the payment service is to have done."""
        return [claim for row in self.movements for claim in _claims(row)]


class SettlementEffects:
    """Reads the service's own rows of whole processings, as they are at one instant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """Effects, and claims on the payment service."""
        return {
            processing_id: Own(effects=found.effects, claims={PAYMENT: found.claims}, in_flight=found.in_flight)
            for processing_id, found in (await self._read(processing_ids)).items()
        }

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """What settlement had moved in these processings; nobody calls it for effects."""
        if request.caller is not None:
            return EffectsPage(processings=[])
        return EffectsPage(
            processings=[
                ProcessingEffects(processing_id=one, effects=found.effects, in_flight=found.in_flight)
                for one, found in (await self._read(request.processing_ids)).items()
            ]
        )

    async def _read(self, processing_ids: Sequence[str]) -> dict[str, Found]:
        async def read(connection: Connection) -> list[asyncpg.Record]:
            await plan_by_index(connection)
            return await connection.fetch(_SQL["movements_of_processings"], list(processing_ids))

        found: dict[str, Found] = defaultdict(Found)
        for row in await self._database.transaction(store.ROLE, read, isolation="repeatable_read"):
            found[row["processing_id"]].movements.append(row)
        return dict(found)


def _own(row: asyncpg.Record) -> EffectRecord:
    return EffectRecord(
        effect_id=row["about"],
        part=row["payment_id"],
        kind=row["kind"],
        party=row["owner_id"],
        asset=ASSET,
        amount_minor=row["amount_minor"],
        captured_minor=row["amount_minor"] if row["state"] in _TAKEN else 0,
        returned_minor=row["returned_minor"],
        state=row["state"],
        at=row["updated_at"],
    )


def _claims(row: asyncpg.Record) -> list[EffectRecord]:
    taken = row["amount_minor"] if row["state"] in _TAKEN else 0
    if row["kind"] == _REFUND:
        if row["refund_id"] is None:
            return []  # it was refused before anything was done
        return [
            EffectRecord(
                effect_id=row["refund_id"],
                kind=_REFUND,
                party=row["owner_id"],
                asset=ASSET,
                amount_minor=row["amount_minor"],
                captured_minor=taken,
                state=row["state"],
            )
        ]
    if row["state"] == PaymentState.REFUSED and row["code"] in _NEVER_MADE:
        return []
    # The payment service names a repayment's payment itself; without its name none was made, or it is under way.
    payment_id = row["refund_id"] if row["kind"] == _REPAYMENT else row["payment_id"]
    if payment_id is None:
        return []
    return [
        EffectRecord(
            effect_id=payment_id,
            part=part,
            kind=row["kind"],
            party=party,
            asset=ASSET,
            amount_minor=sign * row["amount_minor"],
            captured_minor=taken,
            returned_minor=row["returned_minor"],
            state=row["state"],
        )
        for part, party, sign in (("payer", row["owner_id"], -1), ("payee", row["counterpart_id"], 1))
    ]


_NEVER_MADE = frozenset(
    {
        "unknown_kind",
        "kind_not_in_bulk",
        "malformed_id",
        "counterpart_not_allowed",
        "amount_above_limit",
        "idempotency_key_reused",
    }
)
"""Refusals of the payment service before there is a payment."""
