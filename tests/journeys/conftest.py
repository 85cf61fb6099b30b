"""The whole platform behind its public HTTP door, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.vault import new_vault_key
from tests.journeys.shopfront import Shopfront


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shopfront]:
    """A product service that talks to the platform over HTTP with an API key."""
    settings = Settings(sandbox=True, vault_keys=new_vault_key())
    secret = await prepare(database_url, settings)
    platform = Platform(database_url, settings, sandbox=True)
    await platform.open()
    transport = httpx.ASGITransport(app=platform.rest())
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as client:
        yield Shopfront(client)
    await platform.close()
