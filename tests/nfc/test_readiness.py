"""What `/readyz` and `/metrics` tell of the card network's line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.routing import Route

from kessai.apps.health import routes
from kessai.apps.nfc_gauges import NfcGauges
from kessai.foundation.db import Database
from tests.nfc.wire_world import WireWorld, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


def process(world: WireWorld) -> Any:
    """As much of a process as is asked."""
    nfc = SimpleNamespace(authorizations=world.desk)
    return SimpleNamespace(ready=True, sandbox=True, database=world.database, nfc_server=world.servers[-1], nfc=nfc)


async def asked(platform: Any) -> tuple[int, dict[str, Any]]:
    """What /readyz says."""
    (route,) = [each for each in routes(platform) if isinstance(each, Route) and each.path == "/readyz"]
    answer = await route.endpoint(Request({"type": "http"}))
    return answer.status_code, json.loads(answer.body)


def figures(platform: Any) -> tuple[float, float]:
    """Whether it listens, and how many peers have signed on, for /metrics."""
    found = [each for metric in NfcGauges(platform).collect() for each in metric.samples]
    told = {each.name: each.value for each in found if not each.labels}
    return told["kessai_nfc_listening"], told["kessai_nfc_peers_signed_on"]


async def gone(world: WireWorld) -> None:
    """Nobody is connected any more."""
    await world.network.disconnect()
    async with asyncio.timeout(30):
        while world.servers[-1].lines:
            await asyncio.sleep(0.01)


async def test_readiness_tells_whether_the_line_listens_and_who_has_signed_on(world: WireWorld) -> None:
    server = await world.serve()
    platform = process(world)
    line = {"listening": True, "connections": 2, "signed_on": ["network"]}
    assert await asked(platform) == (200, {"status": "ready", "sandbox": True, "card_network": line})
    assert figures(platform) == (1, 1)
    await gone(world)
    await server.stop()
    status, told = await asked(platform)
    assert (status, told["card_network"]) == (200, {"listening": False, "connections": 0, "signed_on": []})
    assert figures(platform) == (0, 0)


async def test_a_process_is_ready_only_when_the_network_has_signed_on_where_that_is_configured(
    world: WireWorld,
) -> None:
    await world.serve(wire={"ready_when_signed_on": True})
    assert (await asked(process(world)))[0] == 200
    await gone(world)
    status, told = await asked(process(world))
    assert (status, told["reason"]) == (503, "the card network has not signed on")
