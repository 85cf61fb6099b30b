"""What the payment service tells of itself: its effects in a processing, and what it believes others did for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, load_queries, plan_by_index
from kessai.sdk.processing.api import Difference, EffectRecord, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.sdk.processing.within import contradiction
from kessai.services.payment import store
from kessai.services.payment.api import Action, PaymentState
from kessai.services.payment.domain import GivenBack, PaymentKinds
from kessai.services.payment.domain.claims import bank_claims, card_claims, in_flight, ledger_claims, own_effects
from kessai.services.payment.domain.history import Traced, TracedRefund, TracedStep, contradictions

SERVICE = "payment"
DEPENDENCIES = ("ledger", "cardgateway", "bank")
"""Whom payments call for effects, as participants name them."""

SLICE = 200
"""Payments read at a stretch."""

_SQL = load_queries("kessai.services.payment", file="sql/effects.sql")
_decode_given_back = msgspec.json.Decoder(GivenBack).decode


@dataclass(slots=True)
class _Found:
    """Everything of one processing."""

    payments: list[Traced] = field(default_factory=list[Traced])
    within: list[Difference] = field(default_factory=list[Difference])

    def add(self, payment_id: str, text: str) -> None:
        self.within.append(contradiction(SERVICE, payment_id, text))


class PaymentEffects:
    """Reads the service's own rows of whole processings, as they are at one instant."""

    def __init__(self, database: Database, clock: Clock, kinds: PaymentKinds) -> None:
        self._database = database
        self._clock = clock
        self._kinds = kinds

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """Effects, claims on the ledger, the card gateway and the bank, and where rows contradict each other."""
        views: dict[str, Own] = {}
        for processing_id, found in (await self._read(processing_ids)).items():
            views[processing_id] = self._own(found)
            if len(found.payments) > SLICE:
                await asyncio.sleep(0)
        return views

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """The service's own record of these processings, of one caller or of all."""
        found = await self._read(request.processing_ids)
        told = [self._told(processing_id, each, request.caller) for processing_id, each in found.items()]
        return EffectsPage(processings=[each for each in told if each is not None])

    def _told(self, processing_id: str, found: _Found, caller: str | None) -> ProcessingEffects | None:
        payments = [each for each in found.payments if caller in (None, each.caller)]
        if not payments:
            return None
        now = self._clock.now()
        return ProcessingEffects(
            processing_id=processing_id,
            effects=[record for each in payments for record in own_effects(each)],
            in_flight=any(in_flight(each, now) for each in payments),
            callers=sorted({each.caller for each in payments}),
        )

    def _own(self, found: _Found) -> Own:
        now = self._clock.now()
        claims: dict[str, list[EffectRecord]] = {name: [] for name in DEPENDENCIES}
        for each in found.payments:
            kind = self._kinds.require(each.payment.kind)
            claims["ledger"] += ledger_claims(each, kind)
            claims["cardgateway"] += card_claims(each, kind)
            claims["bank"] += bank_claims(each, kind)
            for text in contradictions(each, kind):
                found.add(each.payment.payment_id, text)
        return Own(
            effects=[record for each in found.payments for record in own_effects(each)],
            claims={name: told for name, told in claims.items() if told},
            in_flight=not found.within and any(in_flight(each, now) for each in found.payments),
            callers=sorted({each.caller for each in found.payments}),
            within=found.within,
        )

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self, processing_ids: Sequence[str]) -> dict[str, _Found]:
        ids = list(processing_ids)

        async def read(connection: Connection) -> list[list[asyncpg.Record]]:
            await plan_by_index(connection)
            names = ("payments_of_processings", "steps_of_processings", "refunds_of_processings")
            return [await connection.fetch(_SQL[name], ids) for name in names]

        payments, steps, refunds = await self._database.transaction(store.ROLE, read, isolation="repeatable_read")
        return await self._sorted(payments, _by_payment(steps), _by_payment(refunds))

    async def _sorted(
        self,
        payments: Sequence[asyncpg.Record],
        steps: dict[Any, list[asyncpg.Record]],
        refunds: dict[Any, list[asyncpg.Record]],
    ) -> dict[str, _Found]:
        found: dict[str, _Found] = defaultdict(_Found)
        for number, row in enumerate(payments, 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)  # movements in bulk share a processing: let others have a turn
            payment_id, into = row["payment_id"], found[row["processing_id"]]
            mine, back = steps.pop(payment_id, []), refunds.pop(payment_id, [])
            try:
                into.payments.append(self._traced(row, mine, back))
            except (msgspec.MsgspecError, ValueError, KeyError) as error:
                into.add(f"pay_{payment_id.hex}", f"its rows cannot be read: {error}")
        for orphans, what in ((steps, "steps"), (refunds, "refunds")):
            for payment_id, rows in orphans.items():
                for processing_id in sorted({row["processing_id"] for row in rows}):
                    found[processing_id].add(f"pay_{payment_id.hex}", f"it is missing, though there are {what} of it")
        return dict(found)

    def _traced(
        self, row: asyncpg.Record, steps: Sequence[asyncpg.Record], refunds: Sequence[asyncpg.Record]
    ) -> Traced:
        stored, facts = store.traced(row, self._kinds.prefixes)
        payment_id = stored.payment.payment_id
        return Traced(
            payment=stored.payment,
            busy=stored.busy,
            caller=stored.caller,
            birth=facts.birth,
            payee_account_type=facts.payee_account_type,
            steps=[_step(each) for each in steps],
            refunds=[TracedRefund(store.refund_of(each, payment_id), each["caller"]) for each in refunds],
        )


def _by_payment(rows: Sequence[asyncpg.Record]) -> dict[Any, list[asyncpg.Record]]:
    found: dict[Any, list[asyncpg.Record]] = {}
    for row in rows:
        found.setdefault(row["payment_id"], []).append(row)
    return found


def _step(row: asyncpg.Record) -> TracedStep:
    return TracedStep(
        row["sequence"],
        Action(row["action"]),
        PaymentState(row["state"]),
        row["amount_minor"],
        row["code"],
        row["refund_id"] and f"rfn_{row['refund_id'].hex}",
        row["caller"],
        row["recorded_at"],
        row["exchange_id"] and f"exc_{row['exchange_id'].hex}",
        row["fee_minor"],
        row["given_back"] and _decode_given_back(row["given_back"]),
        row["processing_id"],
    )
