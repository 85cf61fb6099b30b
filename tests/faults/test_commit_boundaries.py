"""A crash right before and right after each commit of a payment's life: the retried request finds the same outcome."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import pytest

from kessai.apps.bench.program import PlatformProcess
from tests.faults.conftest import StartPlatform, StartTraffic, require_invariants
from tests.faults.proxy import Proxy, Statement, Verdict, pass_all
from tests.faults.traffic import MERCHANT, Traffic

BOUNDARIES_MAX = 40
COMMITS_MIN = 9
"""Create, capture and refund: each is journalled before, posted in the ledger, and journalled after."""
_OF_A_PAYMENT = re.compile(r"INSERT INTO (payment\.workflow_flush|ledger\.flush)\b")
"""The journal of workflows, and the ledger; not the leases, cursors and clean-ups that go on beside them."""


@dataclass
class Boundary:
    """Counts the commits of one life, and strikes at one of them."""

    strike_at: int
    verdict: Verdict
    seen: int = 0

    def __call__(self, statement: Statement) -> Verdict:
        if not any(_OF_A_PAYMENT.search(text) for text in statement.made_durable):
            return Verdict.PASS
        self.seen += 1
        return self.verdict if self.seen == self.strike_at else Verdict.PASS


@pytest.mark.parametrize("verdict", [Verdict.BEFORE, Verdict.AFTER], ids=["before", "after"])
async def test_crash_at_each_commit_of_a_charge_converges(
    database_url: str, verdict: Verdict, start_platform: StartPlatform, start_traffic: StartTraffic
) -> None:
    async with Proxy(database_url) as proxy:
        platform = await start_platform("--database-url", proxy.dsn, impatient=True)
        proxy.at_boundary = platform.kill
        traffic = await start_traffic(platform, customers=1)
        struck = 0
        while struck < BOUNDARIES_MAX:
            boundary = Boundary(struck + 1, verdict)
            proxy.policy = boundary
            await _life(traffic, platform)
            proxy.policy = pass_all
            if boundary.seen <= struck:
                break  # a whole life has fewer commits than this: each of them was struck once
            struck += 1
        assert struck >= COMMITS_MIN
        if not platform.running:
            await platform.start()
        await traffic.require_nothing_lost_or_doubled()
        await platform.stop()
    await require_invariants(database_url)


async def _life(traffic: Traffic, platform: PlatformProcess) -> None:
    """One charge created, captured and refunded, while somebody starts the server again whenever it dies."""
    nurse = asyncio.create_task(_keep_alive(platform))
    try:
        charge = await traffic.ask(
            "/v1/charges",
            {"customer_id": traffic.names[0], "merchant_id": MERCHANT, "amount_minor": 90,
             "sources": [{"source": "funds"}]},
        )  # fmt: skip
        path = f"/v1/charges/{charge.answer['payment_id']}"
        await traffic.ask(f"{path}/capture", {"amount_minor": 60, "final": True})
        await traffic.ask(f"{path}/refunds", {"amount_minor": 20})
        assert (await traffic.payment(charge.answer["payment_id"]))["state"] == "CAPTURED"
    finally:
        nurse.cancel()
        await asyncio.gather(nurse, return_exceptions=True)
        if not platform.running:
            await platform.start()


async def _keep_alive(platform: PlatformProcess) -> None:
    while True:
        await platform.wait()
        await platform.start()
