"""Parties that nobody configured are simulated beside the platform, and found by whoever works beside it."""

from __future__ import annotations

from pathlib import Path

import httpx

from kessai.apps.outside import folder_of, running, simulated
from kessai.foundation.config import Settings
from kessai.simulators.cardgateway import KEY


async def test_a_party_without_an_address_is_simulated_and_told_to_those_beside(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), bank_url="http://bank.example")
    assert running(settings) == settings
    async with simulated(settings) as known:
        assert known.bank_url == "http://bank.example"
        assert running(settings) == known
        url = f"{known.card_gateway_url}/v1/cards/crd_1"
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(trust_env=False) as client:
            put = await client.put(url, json={"form_token": "tok_jcb"}, headers=headers)
            assert (put.status_code, put.json()["brand"]) == (200, "jcb")
            assert (await client.get(url)).status_code == 401
    assert running(settings) == settings
    async with simulated(settings) as again, httpx.AsyncClient(trust_env=False) as client:
        found = await client.get(f"{again.card_gateway_url}/v1/cards/crd_1", headers=headers)
        assert found.json() == put.json()


async def test_platforms_on_databases_of_their_own_have_parties_of_their_own(tmp_path: Path) -> None:
    first, second = (
        Settings(data=str(tmp_path), database_url=f"postgresql://somewhere/{name}") for name in ("one", "two")
    )
    assert folder_of(first) != folder_of(second)
    assert "postgresql" not in str(folder_of(first))
