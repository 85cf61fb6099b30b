"""Processes that die in bank.results and bank.statement: what the bank tells takes effect once, and none is missed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from kessai.foundation.calendar import next_business_day
from kessai.sdk.jobs import start
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.journal import FlushHook
from kessai.sdk.workflow.testing import crashes_everywhere
from kessai.services.bank.api import GetStatementDay, Instruction, InstructionChanged
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.service import BankService
from kessai.services.bank.workflows import sending
from tests.bank.filing import JOBS, MONDAY, FilesWorld

ONE_DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(sending, "PAUSE_S", 0.05)
    monkeypatch.setattr(sending, "PAUSE_S_MAX", 0.2)


class Lives:
    """Processes of the service that may die, on one database."""

    def __init__(self, filing: FilesWorld) -> None:
        self.filing = filing
        self.opened: list[BankService] = []

    async def open_engine(self, hook: FlushHook | None) -> Engine[Any]:
        bank = self.filing.world.another_process(crash=hook)
        await bank.open()
        self.opened.append(bank)
        return bank.engine

    async def close(self) -> None:
        for each in self.opened:
            await each.close(grace_s=0)


async def _run(filing: FilesWorld, engine: Engine[Any], name: str, day: date) -> None:
    """A run of a job by a process that may die, to its end."""
    await (await start(filing.world.database, engine, JOBS[name], day)).handle.result()


async def test_a_crash_at_every_boundary_of_the_hearing_tells_each_result_once(filing: FilesWorld) -> None:
    account, lives = await filing.world.account(), Lives(filing)
    today, stories = MONDAY, dict[str, tuple[Instruction, date]]()

    async def scenario(engine: Engine[Any], name: str) -> S:
        nonlocal today
        if name not in stories:
            tomorrow = next_business_day(today)
            instruction = await filing.transfer(account, on=tomorrow)
            await filing.send(today)
            today = tomorrow
            filing.be(today, "14:00")
            stories[name] = (instruction, today)
        instruction, day = stories[name]
        await _run(filing, engine, "bank.results", day)
        return (await filing.world.now(instruction)).state

    async for outcome in crashes_everywhere(lives.open_engine, scenario):
        assert outcome.result is S.DONE, outcome
    await lives.close()
    told = [each.decode(InstructionChanged) for each in await filing.world.events()]
    for instruction, _ in stories.values():
        states = [each.state for each in told if each.instruction_id == instruction.instruction_id]
        assert states.count(S.DONE) == 1
    await filing.world.require_agreement()


async def test_a_crash_at_every_boundary_of_the_statement_imports_each_day_once(filing: FilesWorld) -> None:
    account, lives = await filing.world.account(), Lives(filing)
    today, stories = MONDAY, dict[str, date]()

    async def scenario(engine: Engine[Any], name: str) -> bool:
        nonlocal today
        if name not in stories:
            await filing.world.until(await filing.world.transfer(account, 100), S.DONE)
            stories[name] = today
            today += ONE_DAY
            filing.be(today, "07:00")
        await _run(filing, engine, "bank.statement", stories[name])
        return (await filing.bank.get_statement_day(GetStatementDay(day=stories[name]))).agrees

    async for outcome in crashes_everywhere(lives.open_engine, scenario):
        assert outcome.result, outcome
    await lives.close()
    lines = "SELECT day, count(*) AS lines FROM bank.statement_line GROUP BY day ORDER BY day"
    rows = await filing.world.database.fetch(None, lines)
    assert [(row["day"], row["lines"]) for row in rows] == [(day, 1) for day in stories.values()]
