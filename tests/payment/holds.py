"""Holds as tests ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kessai.apps.verify import Finding, verify
from kessai.foundation.ids import new_hex
from kessai.services.payment.api import Hold, HoldPayments
from kessai.services.payment.service import PaymentService

NO_CARD = "what the card network is owed moves for its authorizations alone"
Told = tuple[str, str, str | None]
"""Payment id, state, code."""


def hold(customer_id: str, amount: int, **more: Any) -> Hold:
    """A hold under a fresh id."""
    return Hold(payment_id=f"idc_{new_hex()}", customer_id=customer_id, amount_minor=amount, **more)


async def held(service: PaymentService, holds: Sequence[Hold]) -> list[Told]:
    """What became of each."""
    outcomes = (await service.hold_payments(HoldPayments(kind="id_charge", holds=list(holds)))).outcomes
    return [(each.payment_id, each.state.value, each.code) for each in outcomes]


async def findings(dsn: str) -> list[Finding]:
    """What does not hold, but that nobody tapped a card for what is held here."""
    found = await verify(dsn)
    return [each for each in found if each.invariant != NO_CARD]


async def codes(service: PaymentService, *holds: Hold) -> list[str]:
    """Why each was refused, or its state."""
    return [code or state for _, state, code in await held(service, holds)]
