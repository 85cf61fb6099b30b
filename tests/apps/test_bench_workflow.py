"""`bench workflow`: what it counts is right, and a killed process's workflows are finished by another one."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from kessai.apps.bench import main
from kessai.apps.bench.workflow import ALLOWED_S, LEASE_S, journal_finding, once_each, recover
from kessai.apps.bench.workflow_worker import Run, start_engine

SHORT_LEASE_S = 1.0


def test_without_the_peer_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(_: str) -> None:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", nothing)
    assert main(["workflow", "--clients", "4"]) == 2
    assert "make bench-deps" in capsys.readouterr().err


async def test_each_measured_workflow_ran_once(database_url: str) -> None:
    async with start_engine(database_url, lease_s=LEASE_S) as engine:
        told = [await engine.order(Run(clients=8, seconds=0.3, name="a"))]
        told.append(await engine.order(Run(clients=1, seconds=0.1, name="b")))
    assert all(done.tally.acknowledged for done in told)
    assert await once_each(database_url, told) is None
    assert await once_each(database_url, told[:1]) is not None


async def test_workflows_that_a_killed_process_left_open_are_finished_by_another(database_url: str) -> None:
    async with asyncio.timeout(60):
        await recover(database_url, 500, lease_s=SHORT_LEASE_S)
    assert await journal_finding(database_url, 500) is None
    assert await journal_finding(database_url, 501) is not None


@pytest.mark.soak
async def test_ten_thousand_workflows_left_open_are_finished_within_lease_and_ten_seconds(database_url: str) -> None:
    took_s, _, _ = await recover(database_url, 10_000, lease_s=LEASE_S)
    assert took_s <= LEASE_S + ALLOWED_S
    assert await journal_finding(database_url, 10_000) is None
