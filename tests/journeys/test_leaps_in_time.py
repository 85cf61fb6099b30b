"""The sandbox's clock is moved by months and years: what would have been done day by day is done, and soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from kessai.apps.demo.cast import BOOKSHOP, FLORIST, STALL, SWEETS, Staff
from kessai.apps.demo.month import Month
from kessai.apps.demo.show import APPROVER_SCOPES
from kessai.apps.wiring import DATED_JOBS
from kessai.sdk.jobs import JobRun, RunState, service_of, status
from kessai.services.identity.api import CreateKey, Scope
from tests.journeys.town import Town, opened

DAY_S = 24 * 3600
CYCLES = """
SELECT payee_id, last_day, net_minor, transactions FROM settlement.sales_summary
WHERE last_day BETWEEN $1 AND $2 ORDER BY payee_id, last_day
"""
RUNS_MAX = 60
"""Of all jobs, for years in which nothing happens: far fewer than days."""


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    """A platform with a simulated bank."""
    async with opened(database_url, tmp_path) as found:
        yield found


async def _leap(town: Town, seconds: int) -> None:
    """Move the clock, and wait until everything was run that fell due."""

    def leap() -> None:
        state = town.client.post("/v1/sandbox/clock/advance", {"seconds": seconds})
        while not state["caught_up"]:
            state = town.client.get("/v1/sandbox/clock")

    await asyncio.to_thread(leap)


async def _runs(town: Town) -> list[JobRun]:
    services = {service_of(each.name) for each in DATED_JOBS}
    return [run for each in services for run in await status(town.platform.database, each, limit=1_000)]


async def _payouts(town: Town) -> dict[str, str]:
    """The state of each payee's payout."""
    found = await asyncio.to_thread(town.client.get, "/v1/settlement/payouts")
    return {payout["payee_id"]: payout["state"] for payout in found["payouts"]}


async def _month(town: Town) -> Month:
    scopes = [Scope(each) for each in APPROVER_SCOPES]
    made = [await town.platform.identity.create_key(CreateKey(name="approver", scopes=scopes)) for _ in range(2)]
    return Month(Staff(town.client, [town.client_of(each.secret) for each in made]))


async def test_years_in_which_nothing_happens_need_few_runs_and_close_every_day(town: Town) -> None:
    def sell() -> None:
        town.client.post("/v1/ledger/accounts", {"owner": "cus:a", "account_type": "funds"})
        top_up = {"customer_id": "cus:a", "source": "bank_deposit", "amount_minor": 5_000}
        town.client.post("/v1/top-ups", top_up)
        charge = {"customer_id": "cus:a", "merchant_id": "mer:nobody-knows", "amount_minor": 100, "capture": True}
        town.client.post("/v1/charges", charge)

    began = town.platform.clock.now()
    await asyncio.to_thread(sell)
    await _leap(town, 3 * 365 * DAY_S)
    runs = await _runs(town)
    ran = [run for run in runs if run.state is not RunState.IDLE]
    assert {run.state for run in ran} == {RunState.DONE}
    assert len(ran) < RUNS_MAX
    days = await town.platform.database.fetch(
        None, "SELECT min(day) AS first, max(day) AS last, count(*) AS days FROM settlement.settlement_day"
    )
    first, last = days[0]["first"], days[0]["last"]
    assert first == (began + timedelta(hours=9)).date()
    assert days[0]["days"] == (last - first).days + 1 >= 3 * 365 - 1
    assert [str(each) for each in await town.findings()] == []


async def test_cycles_that_passed_in_one_leap_are_made_for_their_own_days(town: Town) -> None:
    month = await _month(town)

    def sell() -> date:
        month.begin()
        month.days_on(2)
        return month.today()

    today = await asyncio.to_thread(sell)
    await _leap(town, 45 * DAY_S)
    rows: list[Any] = await town.platform.database.fetch(None, CYCLES, today, today + timedelta(days=60))
    ends = {row["payee_id"]: row["last_day"] for row in rows if row["transactions"]}
    month_end = (month.first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    sunday = month.first + timedelta(days=6 - month.first.weekday())
    assert (ends[BOOKSHOP], ends[FLORIST]) == (month_end, month.first.replace(day=15))
    assert {ends[each] for each in (STALL, SWEETS)} == {sunday}
    states = await _payouts(town)
    assert states[STALL] == "INSTRUCTED"  # its file waits for two persons, however many days have passed
    assert states[SWEETS] == "CARRIED_OVER"
    for _ in range(4):  # approved in the morning, paid on the file's day, told of on the next
        assert await asyncio.to_thread(month.staff.approve_files) is not None
        await _leap(town, DAY_S)
    states = await _payouts(town)
    assert (states[STALL], states[BOOKSHOP], states[SWEETS]) == ("PAID", "PAID", "CARRIED_OVER")
    assert [str(each) for each in await town.findings()] == []
