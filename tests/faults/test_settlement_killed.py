"""kill -9 of the platform while days close, cycles are paid and files are sent: no line is lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kessai.apps.bench.program import KESSAI, PlatformProcess
from kessai.apps.demo.cast import PAYEES, Staff
from kessai.apps.demo.client import Answer, Client
from kessai.apps.demo.month import Month
from kessai.apps.demo.month_proof import Proof
from kessai.apps.demo.parties import BankCounter
from kessai.apps.demo.show import APPROVER_SCOPES
from kessai.apps.outside import running
from kessai.foundation.config import Settings
from tests.faults.conftest import KILLS, SEED, StartPlatform

PATIENCE_S = 120.0
PAUSE_S = 0.2
DAYS_A_KILL = 2.2
PLAYED_DAYS_MAX = 44
DAYS_AFTER = 2
ADVANCE = "/v1/sandbox/clock/advance"
AWAY = (OSError, http.client.HTTPException, ValueError)


class Stubborn(Client):
    """Asks again, under the same key, until there is an answer; what moves the clock is left to whoever looks at it."""

    def __init__(self, url: str, api_key: str) -> None:
        super().__init__(url, api_key)
        self._again: Callable[[], Client] = lambda: Client(url, api_key)
        self._inner = self._again()

    def ask(self, method: str, path: str, body: dict[str, Any] | None, key: str | None) -> Answer:
        """An answer that says something."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            answer = self._asked(method, path, body, key)
            if path == ADVANCE and (answer is None or answer.status >= 500):
                return Answer(200, {}, replayed=False)
            if answer is not None and not answer.body.get("retryable", answer.status >= 500):
                return answer
            assert time.monotonic() < ends, f"{path} has no answer: {answer}"
            time.sleep(PAUSE_S)

    def _asked(self, method: str, path: str, body: dict[str, Any] | None, key: str | None) -> Answer | None:
        try:
            return self._inner.ask(method, path, body, key)
        except AWAY:
            self._inner.close()
            self._inner = self._again()
            return None

    def close(self) -> None:
        """Both connections."""
        self._inner.close()
        super().close()


async def test_platform_killed_while_merchants_are_settled_loses_and_doubles_no_line(
    throwaway_folder: Path, start_platform: StartPlatform
) -> None:
    platform = await start_platform("--data", str(throwaway_folder), impatient=True)
    month = Month(
        Staff(
            Stubborn(platform.url, platform.api_key),
            [Stubborn(platform.url, await _approver(throwaway_folder)) for _ in range(2)],
        )
    )
    await asyncio.to_thread(month.begin)
    days = min(PLAYED_DAYS_MAX, round(KILLS * DAYS_A_KILL))
    killing = asyncio.create_task(_kill(platform))
    try:
        await asyncio.to_thread(month.days_on, days)
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
    if not platform.running:
        await platform.start()
    bank = BankCounter(str(running(Settings(data=str(throwaway_folder))).bank_url))
    proof = Proof(month.client, bank, month.sold, month.refunded, PAYEES)
    holds = await asyncio.to_thread(_proved, month, proof)
    for client in (month.client, *month.staff.approvers):
        client.close()
    await platform.stop()
    assert await _verify(throwaway_folder) == 0
    wrong = {each.payee_id: proof.payouts[each.payee_id] for each in proof.sums if not each.holds}
    assert holds, (proof.sums, proof.at_bank, wrong)


def _proved(month: Month, proof: Proof) -> bool:
    """Whether it adds up. What was on its way to or from the bank when it was last killed may need another day."""
    for _ in range(DAYS_AFTER):
        if month.until_proved(proof, PATIENCE_S):
            return True
        month.day()
    return month.until_proved(proof, PATIENCE_S)


async def _kill(platform: PlatformProcess) -> None:
    dice = random.Random(SEED)
    for _ in range(KILLS):
        await asyncio.sleep(dice.uniform(0.5, 4.0))
        await platform.kill()
        await platform.start()


async def _approver(data: Path) -> str:
    scopes = [part for scope in APPROVER_SCOPES for part in ("--scope", scope)]
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "key", "create", "--data", str(data), "--name", "approver", *scopes), stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode().strip()


async def _verify(data: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        *(*KESSAI, "verify", "--data", str(data)), stdout=sys.stdout.fileno() if sys.stdout.isatty() else None
    )
    return await process.wait()
