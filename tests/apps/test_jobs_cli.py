"""`kessai job …` as an operator types it: list, run, join, dry run; one sentence and exit 2 for what is wrong."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from kessai.apps.cli import main
from kessai.apps.wiring import DATED_JOBS
from kessai.sdk.jobs import JobRun, RunState

DAY = "2026-01-31"


async def _kessai(*arguments: str) -> int:
    return await asyncio.to_thread(main, ["job", *arguments])


async def test_list_names_every_job_with_when_it_falls_due(capsys: pytest.CaptureFixture[str]) -> None:
    assert await _kessai("list") == 0
    listed = capsys.readouterr().out
    for each in DATED_JOBS:
        assert f"{each.name} " in listed
    assert "every day at 01:00, for the day before" in listed
    assert "business days at 09:00" in listed
    assert "expire-lots " in listed


async def test_dated_job_is_run_for_its_date_and_shown_by_status(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("settlement.clear", "--date", DAY, "--database-url", database_url)
    assert await _kessai("run", *arguments, "--dry-run", "--json") == 0
    dry = msgspec.json.decode(capsys.readouterr().out, type=JobRun)
    assert (dry.workflow_id, dry.dry_run, dry.state) == (f"settlement.clear:{DAY}#1", True, RunState.DONE)
    assert await _kessai("run", *arguments) == 0
    assert f"settlement.clear     {DAY} #2 DONE" in capsys.readouterr().out
    assert await _kessai("status", "settlement.clear", "--database-url", database_url) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in shown] == ["#2", "#1"]
    assert "(dry run)" in shown[1]


async def test_run_that_is_refused_is_a_sentence_and_exit_2(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _kessai("run", "settlement.cycle", "--date", DAY, "--database-url", database_url) == 2
    assert capsys.readouterr().err.startswith(
        f"The run of settlement.cycle for {DAY} failed: day_not_closed: {DAY} is not closed yet"
    )


async def test_day_to_come_is_tried_and_not_run(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("run", "settlement.payout", "--date", "2199-12-27", "--database-url", database_url)
    assert await _kessai(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("2199-12-27 is still to come")
    assert await _kessai(*arguments, "--dry-run") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "nothing"], "There is no job nothing; kessai job list names them.\n"),
        (["run", "bank.send", "--date", "tomorrow"], "--date tomorrow is not a date such as 2026-01-31.\n"),
        (
            ["run", "expire-lots", "--dry-run"],
            "The job expire-lots is for no day in particular: it takes neither --date nor --dry-run.\n",
        ),
        (["status", "--limit", "0"], "--limit is from 1 to 1000.\n"),
    ],
)
async def test_what_is_wrong_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await _kessai(*arguments) == 2
    assert capsys.readouterr().err == sentence
