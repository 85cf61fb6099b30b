"""A tracer beside a lane, for as long as it takes until every processing has its verdict."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from msgspec.structs import replace

from kessai.apps.proving import Proving, Traced
from kessai.apps.wiring import CALLS, SOURCES, document_of
from kessai.foundation.clock import SystemClock
from kessai.foundation.events import Relay
from kessai.services.tracer.domain.rules import read_rules
from tests.faults.matrix.lane import Lane
from tests.tracer_adapters.proof import processings_of, services_of

DECIDED_S = 120.0
_UNDECIDED = """
SELECT count(*) AS waiting FROM tracer.processing AS p
WHERE p.verdict = 'PENDING' AND NOT EXISTS (
    SELECT FROM tracer.report AS r
    WHERE r.processing_id = p.processing_id AND r.revision = p.revision AND NOT r.final)
"""


async def decide(lane: Lane) -> None:
    """Everybody takes part until every processing has a verdict, or somebody told that it is under way."""
    services: dict[str, Any] = await services_of(lane)
    named = {name: cast("Traced", service) for name, service in services.items()}
    rules = replace(read_rules(document_of(None, "tracer.toml")), repair=[])
    proving = Proving(lane.database, SystemClock(), rules, named, CALLS, outside={}, repairs={})
    relays = [Relay(lane.database, name) for name in SOURCES]
    for each in (*relays, *proving.subscriptions, proving):
        await each.open()
    try:
        async with asyncio.timeout(DECIDED_S):
            while not await _all_decided(lane):
                await asyncio.sleep(0.2)
    finally:
        for each in (proving, *proving.subscriptions, *relays):
            await each.close()


async def _all_decided(lane: Lane) -> bool:
    known = await lane.database.fetch(None, "SELECT processing_id FROM tracer.processing")
    if not {row["processing_id"] for row in known} >= (await processings_of(lane)).keys():
        return False
    (row,) = await lane.database.fetch(None, _UNDECIDED)
    touches = await lane.database.fetch(None, "SELECT touch_id FROM tracer.touch")
    return row["waiting"] == 0 and not touches
