"""The merchant door as the platform serves it: two keys, an application that becomes active, errors on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from kessai.apps.operate import create_key
from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.contract import Message, verbs_of
from kessai.foundation.vault import new_vault_key
from kessai.services.identity.api import Scope, content_digest
from kessai.services.merchant.api import AgreeContract, ChangeState, Merchant, RegisterCompany

COMPANY = {"profile": {"name": "株式会社みどり", "corporate_number": "7000012050002"}}
CONTRACT = {"methods": [{"method": "code", "fee": {"rate_ppm": 32_500}}]}


class _Desk:
    """Somebody who asks, and somebody else who approves."""

    def __init__(self, client: httpx.AsyncClient, second: str) -> None:
        self.client = client
        self._second = {"Authorization": f"Bearer {second}"}

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Under a key of its own."""
        return await self.client.post(path, json=body, headers={"Idempotency-Key": uuid4().hex})

    async def approved(self, action: str, subject: str, body: dict[str, Any], kind: type[Message]) -> dict[str, Any]:
        """The body with a second person's approval."""
        digest = content_digest(msgspec.convert(body, kind))
        wanted = {"subject": subject, "action": action, "content_sha256": digest, "reason": "as agreed"}
        asked = await self.client.post("/v1/identity/approvals", json=wanted)
        approval_id = asked.json()["approval_id"]
        given = await self.client.post(
            f"/v1/identity/approvals/{approval_id}/approve", json={"content_sha256": digest}, headers=self._second
        )
        assert given.status_code == 200, given.text
        return {key: value for key, value in body.items() if key != "merchant_id"} | {"approval_id": approval_id}


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[_Desk]:
    settings = Settings(sandbox=True, vault_keys=new_vault_key())
    secret = await prepare(database_url, settings)
    scopes = [Scope.APPROVAL_APPROVE.value]
    second = await create_key(Settings(database_url=database_url), "second", scopes)
    platform = Platform(database_url, settings, sandbox=True)
    await platform.open()
    transport = httpx.ASGITransport(app=platform.rest())
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as client:
        yield _Desk(client, second)
    await platform.close()


async def test_a_merchant_applies_and_is_active_with_two_persons(desk: _Desk) -> None:
    body = await desk.approved("merchant.company", "merchant-companies", COMPANY, RegisterCompany)
    company = await desk.post("/v1/merchant-companies", body)
    assert company.status_code == 201, company.text
    profile = {"name": "みどり新宿", "kind": "shop", "company_id": company.json()["company_id"]}
    made = await desk.post("/v1/merchants", {"merchant_id": "mer:1", "profile": profile})
    assert (made.status_code, made.json()["state"]) == (201, "applied")
    screened = await desk.post("/v1/merchants/mer:1/state", {"state": "screened", "reason": "looked at"})
    assert screened.json()["state"] == "screened"
    agree = {"merchant_id": "mer:1", "contract": CONTRACT, "reason": "as agreed"}
    body = await desk.approved("merchant.contract", "mer:1", agree, AgreeContract)
    agreed = await desk.post("/v1/merchants/mer:1/contract", body)
    assert agreed.status_code == 200, agreed.text
    activate = {"merchant_id": "mer:1", "state": "active", "reason": "screened well"}
    body = await desk.approved("merchant.state", "mer:1", activate, ChangeState)
    active = await desk.post("/v1/merchants/mer:1/state", body)
    assert active.json()["state"] == "active"
    question = {"owner_id": "mer:1", "method": "code", "at": active.json()["as_of"]}
    terms = await desk.post("/v1/merchants/terms", {"questions": [question]})
    assert terms.json()["answers"][0]["fee"]["rate_ppm"] == 32_500
    assert (await desk.client.get("/v1/merchants?state=active")).json()["merchants"][0]["merchant_id"] == "mer:1"


async def test_refusals_have_their_codes_and_statuses(desk: _Desk) -> None:
    body = await desk.approved("merchant.company", "merchant-companies", COMPANY, RegisterCompany)
    company = (await desk.post("/v1/merchant-companies", body)).json()["company_id"]
    profile = {"name": "x", "kind": "shop", "company_id": company}
    await desk.post("/v1/merchants", {"merchant_id": "mer:1", "profile": profile})
    contract = {"contract": CONTRACT, "reason": "x"}
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("/v1/merchant-companies", COMPANY, 422, "approval_required"),
        ("/v1/merchants/mer:x/contract", contract, 404, "merchant_not_found"),
        ("/v1/merchants/mer:1/contract", contract, 422, "approval_required"),
        (
            "/v1/merchants/mer:1/contract",
            contract | {"valid_from": "2020-01-01T00:00:00+09:00"},
            422,
            "in_the_past",
        ),
        ("/v1/merchants/mer:1/contract", contract | {"valid_from": "2020-01-01"}, 400, "invalid_request"),
        ("/v1/merchants/mer:1/state", {"state": "suspended", "reason": "x"}, 422, "state_not_reachable"),
        ("/v1/merchants/mer:1/parent", {"parent_id": "mer:1", "reason": "x"}, 400, "parent_is_itself"),
        ("/v1/merchants", {"profile": profile, "merchant_id": "mer/1"}, 400, "invalid_request"),
        ("/v1/merchant-master/imports", {"csv": "x", "mode": "all_or_nothing", "reason": "x"}, 400, "csv_header_wrong"),
    ]
    for path, body, status, code in cases:
        answer = await desk.post(path, body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_every_change_asks_for_an_idempotency_key(desk: _Desk) -> None:
    without = await desk.client.post("/v1/merchant-companies", json=COMPANY)
    assert (without.status_code, without.json()["code"]) == (400, "idempotency_key_missing")
    reading = {"resolve_terms", "settlement_terms", "resolve_ids", "get_id_history", "dismiss_conflict"}
    for each in verbs_of(Merchant):
        assert each.spec.moves_value == (each.spec.method == "POST" and each.spec.name not in reading)
