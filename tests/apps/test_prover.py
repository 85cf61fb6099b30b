"""The process beside the platform that proves payments: it is replaced when it dies, and ends with its parent."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest

from kessai.apps.bench.program import PlatformProcess

TIMEOUT_S = 60.0
PROVER = "kessai.apps.prover"


@pytest.fixture
async def up(database_url: str) -> AsyncIterator[PlatformProcess]:
    """A platform as its operator starts it."""
    async with PlatformProcess("--database-url", database_url) as process:
        yield process


async def prover_of(up: PlatformProcess, *, other_than: int | None = None) -> psutil.Process:
    """The prover that runs beside it."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            for each in psutil.Process(up.pid).children():
                if _proves(each) and each.pid != other_than:
                    return each
            await asyncio.sleep(0.05)


def _proves(process: psutil.Process) -> bool:
    try:
        return PROVER in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def proved(up: PlatformProcess, number: int) -> str:
    """The verdict of a top-up made now."""
    async with httpx.AsyncClient(base_url=up.url, headers={"Authorization": f"Bearer {up.api_key}"}) as client:
        account, key = {"owner": "cus:1", "account_type": "funds"}, {"Idempotency-Key": f"top-up-{number}"}
        (await client.post("/v1/ledger/accounts", json=account)).raise_for_status()
        topped = {"customer_id": "cus:1", "source": "bank_deposit", "amount_minor": 1_000}
        payment = (await client.post("/v1/top-ups", json=topped, headers=key)).raise_for_status().json()
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                answer = await client.get(f"/v1/tracer/payments/{payment['payment_id']}")
                if answer.status_code == 200 and answer.json()["verdict"] != "PENDING":
                    return answer.json()["verdict"]
                await asyncio.sleep(0.05)


async def test_payments_are_proved_beside_and_still_are_after_the_prover_was_killed(up: PlatformProcess) -> None:
    first = await prover_of(up)
    assert await proved(up, 1) == "CONSISTENT"
    first.send_signal(signal.SIGKILL)
    assert await proved(up, 2) == "CONSISTENT"
    assert (await prover_of(up, other_than=first.pid)).pid != first.pid


async def test_the_prover_ends_with_its_parent_even_when_that_is_killed(up: PlatformProcess) -> None:
    prover = await prover_of(up)
    psutil.Process(up.pid).send_signal(signal.SIGKILL)
    async with asyncio.timeout(TIMEOUT_S):
        while _proves(prover):
            await asyncio.sleep(0.05)
    assert not _proves(prover)
