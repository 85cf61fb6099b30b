"""The card gateway of a run, simulated in the load's own process, and customers who have a card there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
from msgspec.structs import replace

from kessai.apps.bench.mixes import Crowd, customer
from kessai.apps.bench.program import PlatformProcess
from kessai.simulators.cardgateway import CardGatewaySimulator
from kessai.simulators.faults import PRESETS, Fault

NUMBER = "4111 1111 1111 1111"
HOLDERS = 50
HANGS = replace(PRESETS["hang"], times=0)
"""Every request is taken, nothing happens, and no reply comes."""


def takes(delay_ms: int) -> Fault:
    """Every request takes so long, and is answered as it should be."""
    return Fault(delay_ms=delay_ms, times=0)


@asynccontextmanager
async def card_gateway() -> AsyncGenerator[CardGatewaySimulator]:
    """A gateway that listens, and forgets everything afterwards."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # requests that hang are cut off at its end, as meant
    simulator = CardGatewaySimulator()
    await simulator.start()
    try:
        yield simulator
    finally:
        simulator.faults.clear()
        await simulator.stop()


def environment_of(simulator: CardGatewaySimulator) -> dict[str, str]:
    """What makes a platform use it."""
    return {"KESSAI_CARD_GATEWAY_URL": simulator.url}


def card_source(card_id: str) -> str:
    """A charge's source, as JSON."""
    return f'{{"source":"card","instrument_id":"{card_id}"}}'


async def register_cards(
    platform: PlatformProcess, simulator: CardGatewaySimulator, crowd: Crowd
) -> tuple[tuple[str, str], ...]:
    """Give the first customers of a crowd a card each."""
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers, timeout=30) as client:

        async def register(owner: str) -> tuple[str, str]:
            answer = await client.post(
                "/v1/cards",
                json={"customer_id": owner, "form_token": simulator.books.fill_form(NUMBER, 12, 2039)},
                headers={"Idempotency-Key": uuid4().hex},
            )
            answer.raise_for_status()
            return owner, answer.json()["card_id"]

        owners = [customer(crowd.first + number) for number in range(min(HOLDERS, crowd.count))]
        return tuple(await asyncio.gather(*(register(owner) for owner in owners)))
