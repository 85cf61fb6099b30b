"""Merchants' movements in bulk: their rows, and what is known of some of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from kessai.foundation.db import Database, load_queries
from kessai.sdk.workflow import Write
from kessai.services.payment.api import PaymentRecord, PaymentState
from kessai.services.payment.store.payments import ROLE, insertion

_SQL = load_queries("kessai.services.payment", file="sql/movements.sql")


class KnownMovement(NamedTuple):
    """A payment as far as a movement of its id is concerned."""

    kind: str
    payer_id: str
    payee_id: str
    amount_minor: int
    reference: str | None
    state: PaymentState
    code: str | None
    busy_with: str | None
    """The workflow that has claimed it."""


def movement_insertion(payment: PaymentRecord, workflow_id: str, caller: str, *, begins: bool) -> Write:
    """A new PENDING payment, claimed by its workflow; conflicts when there is one of that id."""
    row = insertion(payment, workflow_id, caller, begins=begins)
    return dataclasses.replace(row, statement=_SQL["insert_movement"], guarded=True)


async def movements(database: Database, digits: Sequence[str]) -> dict[str, KnownMovement]:
    """By the digits of their ids, the payments that there are, of whatever kind."""
    rows = await database.fetch(ROLE, _SQL["known_movements"], list(digits))
    return {
        row["payment_id"].hex: KnownMovement(
            row["kind"],
            row["payer_id"],
            row["payee_id"],
            row["amount_minor"],
            row["reference"],
            PaymentState(row["state"]),
            row["refusal_code"],
            row["busy_with"] and row["busy_with"].hex,
        )
        for row in rows
    }
