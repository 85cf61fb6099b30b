"""The whole platform with a bank outside, over its public HTTP door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kessai.apps.operate import create_key
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.vault import new_vault_key
from kessai.simulators.bank import BankSimulator

DAY_S = 24 * 3600


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    simulator = BankSimulator()
    await simulator.start()
    settings = Settings(sandbox=True, bank_url=simulator.url, vault_keys=new_vault_key())
    secret = await prepare(database_url, settings)
    platform = Platform(database_url, settings, sandbox=True)
    await platform.open()
    transport = httpx.ASGITransport(app=platform.rest())
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as opened:
        yield opened
    await platform.close()
    await simulator.stop()


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any], key: str | None = None) -> httpx.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": key or uuid4().hex})


async def _state(client: httpx.AsyncClient, instruction_id: str, *states: str) -> str:
    async with asyncio.timeout(30):
        while True:
            found = (await client.get(f"/v1/bank/instructions/{instruction_id}")).json()["state"]
            if found in states:
                return found
            await asyncio.sleep(0.05)


async def test_a_transfer_is_done_by_itself_and_comes_back_when_days_have_passed(client: httpx.AsyncClient) -> None:
    account = {
        "owner_kind": "customer",
        "owner_id": "cus:1",
        "bank_code": "0005",
        "branch_code": "001",
        "account_number": "9000006",
        "holder_name": "ヤマダ タロウ",
    }
    registered = await _post(client, "/v1/bank/accounts", account)
    assert registered.status_code == 201, registered.text
    assert registered.json()["last_digits"] == "006"
    order = {"account_id": registered.json()["account_id"], "amount_minor": 1_000}
    first, again = [await _post(client, "/v1/bank/transfers", order, key="one") for _ in range(2)]
    assert (first.status_code, again.json()["instruction_id"]) == (201, first.json()["instruction_id"])
    instruction_id = first.json()["instruction_id"]
    assert await _state(client, instruction_id, "DONE") == "DONE"
    await client.post("/v1/sandbox/clock/advance", json={"seconds": 4 * DAY_S})
    assert (await client.get(f"/v1/bank/instructions/{instruction_id}")).json()["state"] == "RETURNED"
    other = await _post(client, "/v1/bank/transfers", {**order, "amount_minor": 2}, key="one")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_two_keys_approve_what_one_may_not(client: httpx.AsyncClient, database_url: str) -> None:
    scopes = ["approval:request", "approval:approve", "approval:read"]
    made = await _post(client, "/v1/identity/keys", {"name": "operator", "scopes": scopes})
    operator = {"Authorization": f"Bearer {made.json()['secret']}"}
    wanted = {"subject": "cus:1", "action": "adjust", "content_sha256": "0" * 64, "reason": "wrong amount"}
    asked = await client.post("/v1/identity/approvals", json=wanted, headers=operator)
    path = f"/v1/identity/approvals/{asked.json()['approval_id']}"
    consent = {"content_sha256": "0" * 64}
    alone = await client.post(f"{path}/approve", json=consent, headers=operator)
    assert (alone.status_code, alone.json()["code"]) == (422, "approver_is_requester")
    maker = await client.post(f"{path}/approve", json=consent)
    assert (maker.status_code, maker.json()["code"]) == (422, "approver_not_independent")
    second = {"Authorization": f"Bearer {await create_key(Settings(database_url=database_url), 'second', scopes)}"}
    given = await client.post(f"{path}/approve", json=consent, headers=second)
    assert (given.status_code, given.json()["state"]) == (200, "APPROVED")
    assert (await client.get(path, headers=operator)).json()["approved_by"] == given.json()["approved_by"]
    assert (await client.post(f"{path}/consume", json={})).status_code == 404
