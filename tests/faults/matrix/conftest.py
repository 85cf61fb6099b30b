"""Lanes for the matrix, and the counts that it prints when it was played."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from kessai.services.bank.workflows import instructing as bank_workflows
from kessai.services.payment.service import desk
from kessai.services.payment.workflows import notes
from tests.conftest import ISOLATION, SharedServer
from tests.faults.matrix.brittle import Brittle
from tests.faults.matrix.lane import Lane, opened

NewLane = Callable[..., Awaitable[Lane]]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are waited for a second, and asked for again soon; nothing is given up within a test."""
    monkeypatch.setattr(notes, "ANSWER_S", 1.0)
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.1)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 1.5)
    monkeypatch.setattr(bank_workflows, "ANSWER_S", 1.0)
    monkeypatch.setattr(bank_workflows, "PAUSE_S", 0.02)
    monkeypatch.setattr(bank_workflows, "PAUSE_S_MAX", 0.1)


@pytest.fixture
async def new_lane(postgres: SharedServer, database_template: str, impatient: None) -> AsyncIterator[NewLane]:
    """`await new_lane(…)`: a lane on a database of its own, for as long as the test lasts."""
    async with AsyncExitStack() as stack:

        async def new(**more: Any) -> Lane:
            name = f"matrix_{uuid4().hex[:12]}"
            await postgres.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"')
            stack.push_async_callback(postgres.execute, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            database = Brittle(postgres.dsn_of(name), isolation=ISOLATION)
            stack.push_async_callback(database.close)
            return await stack.enter_async_context(opened(database, **more))

        yield new


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Cases by kind, call and fault, and how many boundaries they were played at."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "matrix":
                for kind, call, trouble, boundary, count in json.loads(str(value)):
                    counts[kind, call, trouble, boundary] += count
    if counts:
        terminalreporter.section("fault matrix")
        for line in _table(counts):
            terminalreporter.write_line(line)


def _table(counts: Counter[tuple[str, str, str, str]]) -> Iterator[str]:
    by_call: dict[tuple[str, str], Counter[str]] = {}
    by_boundary: Counter[str] = Counter()
    for (kind, call, trouble, boundary), count in counts.items():
        by_call.setdefault((kind, call), Counter())[trouble] += count
        by_boundary[boundary] += count
    for (kind, call), troubles in sorted(by_call.items()):
        told = ", ".join(f"{name} {count}" for name, count in sorted(troubles.items()))
        yield f"{kind:14} {call:10} {troubles.total():6}  {told}"
    for boundary, count in sorted(by_boundary.items()):
        yield f"{boundary:40} {count:6}"
    yield f"{counts.total()} cases"
