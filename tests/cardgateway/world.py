"""A small world for the card gateway's tests: the real service, and the simulated gateway as a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.ids import new_hex, new_id
from kessai.foundation.outbound import Destination
from kessai.services.cardgateway.api import (
    AuthorizeCard,
    CardAuthorization,
    InquireAuthorization,
    RegisterCard,
)
from kessai.services.cardgateway.domain import Patience
from kessai.services.cardgateway.gateways import HttpGateway
from kessai.services.cardgateway.service import CardGatewayService
from kessai.simulators.cardgateway import KEY, CardGatewaySimulator

PATIENCE = Patience(answer_s=2.0, reach_s=1.5, abandon_after_s=3600, converge_within_s=60)
CALL_S = 0.25


class World:
    """One simulated gateway, any number of services on one database."""

    def __init__(self, database: Database, simulator: CardGatewaySimulator) -> None:
        self.database = database
        self.simulator = simulator
        self.clock = SandboxClock()
        self._services: list[CardGatewayService] = []

    async def another_process(self, *, patience: Patience = PATIENCE, **options: Any) -> CardGatewayService:
        """A service that shares nothing with the others but the database and the gateway."""
        destination = Destination(
            name="cardgateway",
            base_url=self.simulator.url,
            headers={"authorization": f"Bearer {KEY}"},
            timeout_s=CALL_S,
            breaker_failures=1000,
            breaker_window=1000,
            **options.pop("destination", {}),
        )
        service = CardGatewayService(
            self.database, self.clock, HttpGateway(destination), patience, **{"lease_s": 0.4, **options}
        )
        await service.open()
        self._services.append(service)
        return service

    async def card(self, service: CardGatewayService, form_token: str = "tok_visa", customer_id: str = "cus:1") -> str:
        """A registered card's id."""
        return (await service.register_card(RegisterCard(customer_id=customer_id, form_token=form_token))).card_id

    async def close(self) -> None:
        """End every service, those too whose process a test had die."""
        for service in self._services:
            await service.close(grace_s=1)


def hold(card_id: str, amount_minor: int = 1_000, **more: Any) -> AuthorizeCard:
    """An authorization under a fresh id."""
    known: dict[str, Any] = {"customer_id": "cus:1", "authorization_id": new_id("cau")}
    return AuthorizeCard(card_id=card_id, amount_minor=amount_minor, **(known | more))


async def seen(service: CardGatewayService, authorization_id: str) -> CardAuthorization:
    """What we believe of an authorization."""
    return await service.inquire(InquireAuthorization(authorization_id=authorization_id))


async def settled(service: CardGatewayService, authorization_id: str) -> CardAuthorization:
    """What we believe once nothing about it is in doubt any more."""
    async with asyncio.timeout(20):
        while True:
            found = await seen(service, authorization_id)
            if all(each.state != "PENDING" for each in found.operations) and found.state != "PENDING":
                return found
            await asyncio.sleep(0.02)


def operation_id() -> str:
    """A fresh id of an operation."""
    return f"cop_{new_hex()}"


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[World]:
    """A world whose gateway is up."""
    simulator = CardGatewaySimulator()
    await simulator.start()
    world = World(database, simulator)
    try:
        yield world
    finally:
        await world.close()
        await simulator.stop()
