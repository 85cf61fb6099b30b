"""Merchants' movements as tests ask for them, and what was published of payments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from kessai.foundation.db import role_of
from kessai.foundation.events.outbox import events_of
from kessai.foundation.ids import new_hex
from kessai.services.payment.api import MerchantMovement, MoveMerchants, PaymentStateChanged
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from tests.payment.world import World

PREFIXES = load_kinds().prefixes
Told = tuple[str, str, str | None]
"""Payment id, state, code."""


def movement(kind: str, amount: int, merchant_id: str = "mer:shop", **more: str) -> MerchantMovement:
    """A movement under a fresh id."""
    payment_id = f"{PREFIXES[kind]}_{new_hex()}"
    return MerchantMovement(payment_id=payment_id, kind=kind, merchant_id=merchant_id, amount_minor=amount, **more)


async def moved(service: PaymentService, movements: Sequence[MerchantMovement]) -> list[Told]:
    """What became of each."""
    outcomes = (await service.move_merchants(MoveMerchants(movements=list(movements)))).outcomes
    return [(each.payment_id, each.state.value, each.code) for each in outcomes]


async def codes(service: PaymentService, *movements: MerchantMovement) -> list[str]:
    """Why each was refused, or its state."""
    return [code or state for _, state, code in await moved(service, movements)]


async def sell(world: World, amount: int, merchant_id: str = "mer:shop") -> None:
    """Unsettled sales, by a new customer's charge."""
    await world.charge(await world.customer(funds=amount), amount, merchant_id=merchant_id, capture=True)


@asynccontextmanager
async def another_process(world: World) -> AsyncGenerator[PaymentService]:
    """A payment service that shares nothing with the first but the database and the ledger, running."""
    service = world.another_process()
    await service.open()
    try:
        yield service
    finally:
        await service.close()


async def told_of_payments(world: World) -> list[PaymentStateChanged]:
    """Everything that was published of payments."""
    rows = await world.database.fetch(
        role_of("payment"),
        "SELECT topic, payload, recorded_at FROM payment.outbox WHERE topic = 'payment.payment' ORDER BY outbox_id",
    )
    return [
        event.decode(PaymentStateChanged)
        for row in rows
        for event in events_of("payment", 1, row["topic"], row["payload"], row["recorded_at"])
    ]
