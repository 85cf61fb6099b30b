"""What nfc tells the Processing Tracer of itself: its authorizations, and that the payment service bore them.

An authorization begins a processing once the payment service is to be asked. Of what was declined by rule there is
nothing to compare.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, Database, plan_by_index
from kessai.sdk.processing.api import EffectRecord, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.services.nfc.domain.authorization import ASSET, Authorization, Plan
from kessai.services.nfc.store import ROLE
from kessai.services.nfc.store import authorizations as store
from kessai.services.payment.api import PaymentState, RefundState

SERVICE = "nfc"
PAYMENT = "payment"
DEPENDENCIES = (PAYMENT,)
NETWORK = "internal:id_network"


@dataclass(slots=True)
class _Found:
    """Everything of one processing."""

    rows: list[Authorization] = field(default_factory=list[Authorization])
    refunds: list[asyncpg.Record] = field(default_factory=list[asyncpg.Record])
    refused: list[asyncpg.Record] = field(default_factory=list[asyncpg.Record])

    @property
    def in_flight(self) -> bool:
        """Something of it is still to be done."""
        return any(each.work is not None for each in self.rows)

    @property
    def effects(self) -> list[EffectRecord]:
        """The authorizations."""
        return [_own(each) for each in self.rows]

    @property
    def claims(self) -> list[EffectRecord]:
        """What the payment service is to have done."""
        return [claim for each in self.rows for claim in self._claims(each)]

    def _claims(self, row: Authorization) -> list[EffectRecord]:
        claims = _borne(row)
        for each in self.refused:
            if each["authorization_id"].hex == row.authorization_id:
                claims += _payment(row, each["payment_id"], Plan(each["plan"]), PaymentState.REFUSED)
        claims += [_refund(row, each) for each in self.refunds if each["authorization_id"].hex == row.authorization_id]
        return claims


class AuthorizationEffects:
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
        """The authorizations of these processings; nobody calls the service for effects."""
        if request.caller is not None:
            return EffectsPage(processings=[])
        return EffectsPage(
            processings=[
                ProcessingEffects(processing_id=one, effects=found.effects, in_flight=found.in_flight)
                for one, found in (await self._read(request.processing_ids)).items()
            ]
        )

    async def _read(self, processing_ids: Sequence[str]) -> dict[str, _Found]:
        async def read(
            connection: Connection,
        ) -> tuple[list[Authorization], list[asyncpg.Record], list[asyncpg.Record]]:
            await plan_by_index(connection)
            rows = await store.of_processings(connection, processing_ids)
            ids = [each.authorization_id for each in rows]
            return rows, await store.refunds_of(connection, ids), await store.refused_payments_of(connection, ids)

        found: dict[str, _Found] = defaultdict(_Found)
        rows, refunds, refused = await self._database.transaction(ROLE, read, isolation="repeatable_read")
        of = {UUID(each.authorization_id): each.processing_id for each in rows}
        for row in rows:
            if row.plan is not None:
                found[row.processing_id].rows.append(row)
        for each in refunds:
            found[of[each["authorization_id"]]].refunds.append(each)
        for each in refused:
            found[of[each["authorization_id"]]].refused.append(each)
        return dict(found)


def _own(row: Authorization) -> EffectRecord:
    return EffectRecord(
        effect_id=f"ath_{row.authorization_id}",
        kind="id_authorization",
        party=row.customer_id or "",
        asset=ASSET,
        amount_minor=row.amount_minor,
        captured_minor=row.captured_minor,
        returned_minor=row.refunded_minor,
        state=row.state.value,
        at=row.updated_at,
    )


def _borne(row: Authorization) -> list[EffectRecord]:
    """The payment that bears it, or was to."""
    if row.payment_id is None or row.payment_state is None or row.plan is None:
        return []
    return _payment(row, row.payment_id, row.plan, row.payment_state, row.captured_minor, row.refunded_minor)


def _payment(
    row: Authorization, payment_id: str, plan: Plan, state: str, captured_minor: int = 0, returned_minor: int = 0
) -> list[EffectRecord]:
    return [
        EffectRecord(
            effect_id=payment_id,
            part=part,
            kind=plan.payment_kind,
            party=party,
            asset=ASSET,
            amount_minor=sign * row.amount_minor,
            captured_minor=captured_minor,
            returned_minor=returned_minor,
            state=state,
        )
        for part, party, sign in (("payer", row.customer_id or "", -1), ("payee", NETWORK, 1))
    ]


def _refund(row: Authorization, refund: asyncpg.Record) -> EffectRecord:
    return EffectRecord(
        effect_id=refund["refund_id"],
        kind="refund",
        party=row.customer_id or "",
        asset=ASSET,
        amount_minor=refund["amount_minor"],
        captured_minor=refund["amount_minor"] if refund["state"] == RefundState.SUCCEEDED else 0,
        state=refund["state"],
    )
