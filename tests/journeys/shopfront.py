"""A product service's view of the platform: JSON over HTTP, nothing else."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx


class Shopfront:
    """Sends requests and expects the status that it is told to expect."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str, *, status: int = 200, **query: Any) -> dict[str, Any]:
        """A look-up."""
        response = await self.client.get(path, params=query)
        assert response.status_code == status, response.text
        return response.json()

    async def post(
        self, path: str, body: dict[str, Any], *, status: int = 201, key: str | None = None
    ) -> dict[str, Any]:
        """A request under an idempotency key, fresh unless it is given."""
        response = await self.send(path, body, key=key)
        assert response.status_code == status, response.text
        return response.json()

    async def send(self, path: str, body: dict[str, Any], *, key: str | None = None) -> httpx.Response:
        """The bare response."""
        return await self.client.post(path, json=body, headers={"Idempotency-Key": key or uuid4().hex})

    async def customer(self, name: str, *, funds: int = 0, points: int = 0) -> str:
        """A customer with funds from the bank and points from a campaign."""
        owner = f"cus:{name}"
        await self.post("/v1/ledger/accounts", {"owner": owner, "account_type": "funds"})
        if funds:
            await self.post("/v1/top-ups", {"customer_id": owner, "source": "bank_deposit", "amount_minor": funds})
        if points:
            grant = {
                "kind": "grant",
                "sources": [self.leg("internal:spring", "point_cost", points)],
                "targets": [self.leg(owner, "free_points", points)],
            }
            await self.post("/v1/ledger/exchanges", grant)
        return owner

    @staticmethod
    def leg(owner: str, account_type: str, amount: int) -> dict[str, Any]:
        """One side of an exchange."""
        return {"owner": owner, "account_type": account_type, "amount_minor": amount, "asset": "JPY"}

    async def balances(self, owner: str) -> dict[str, tuple[int, int]]:
        """Balance and available amount of each of an owner's accounts that has, or had, something in it."""
        accounts = (await self.get("/v1/ledger/accounts", owner=owner))["accounts"]
        return {each["account_type"]: (each["balance_minor"], each["available_minor"]) for each in accounts}

    async def state(self, payment: dict[str, Any]) -> str:
        """Where a payment stands now."""
        return (await self.get(f"/v1/payments/{payment['payment_id']}"))["state"]
