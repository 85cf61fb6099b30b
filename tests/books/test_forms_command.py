"""`kessai books`: reports at a terminal and in files, periods, what is wrong in one sentence."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from kessai.apps.books_desk import days_named, platform_at
from kessai.apps.cli import main
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError
from tests.books.town import town

APRIL = datetime(2024, 4, 1, 3, tzinfo=UTC)
"""Long ago: the command goes by the real day."""


class Terminal:
    """Runs the command beside the test's own loop."""

    def __init__(self, database: Database, capture: pytest.CaptureFixture[str]) -> None:
        self._database, self._capture = database, capture

    async def run(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of `kessai books …`."""
        self._capture.readouterr()
        arguments = ["books", *map(str, words), "--database-url", self._database.dsn]
        code = await asyncio.to_thread(main, arguments)
        printed = self._capture.readouterr()
        return code, printed.out, printed.err

    async def shows(self, *words: str | Path) -> str:
        """What a command prints that does what it is asked for."""
        code, out, err = await self.run(*words)
        assert (code, err) == (0, "")
        return out


@pytest.fixture
async def terminal(database: Database, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """A terminal beside books with a few journals."""
    async with town(database, at=APRIL) as t:
        await t.book.open("cus:1/funds")
        for _ in range(3):
            await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
            await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge")
        await t.heard()
    return Terminal(database, capsys)


async def test_the_trial_balance_is_a_table_or_json(terminal: Terminal) -> None:
    table = await terminal.shows("trial-balance", "--month", "2024-04")
    assert "合計残高試算表 (Trial balance)  2024年4月1日 〜 2024年4月30日" in table
    assert "△2,100" in table
    document = json.loads(await terminal.shows("trial-balance", "--month", "2024-04", "--json"))
    assert [(row[0], row[-1]) for row in document["rows"]] == [("1210", 3_000), ("2110", -2_100), ("2210", -900)]


async def test_the_ledger_of_an_account_has_its_entries(terminal: Terminal) -> None:
    document = json.loads(await terminal.shows("ledger", "2110", "--date", "2024-04-01", "--json"))
    assert sorted(row[7] or 0 for row in document["rows"]) == [0, 0, 0, 300, 300, 300]
    assert "総勘定元帳 2110" in await terminal.shows("ledger", "2110", "--since", "2024-04-01", "--until", "2024-04-02")


async def test_a_report_is_written_in_the_form_its_ending_names(terminal: Terminal, tmp_path: Path) -> None:
    for ending in (".pdf", ".xlsx", ".csv", ".parquet", ".json", ".beancount", ".journal", ".yayoi.csv"):
        file = tmp_path / f"books{ending}"
        said = await terminal.shows("report", "journal", "--month", "2024-04", "--out", file)
        content = file.read_bytes()
        assert hashlib.sha256(content).hexdigest() in said
        await terminal.shows("report", "journal", "--month", "2024-04", "--out", file)
        assert file.read_bytes() == content
        assert _names(tmp_path) == [file.name]
        file.unlink()


def _names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


async def test_a_report_gets_its_own_name_where_none_is_given(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = await terminal.shows("report", "trial_balance", "--date", "2024-04-30", "--format", "pdf")
    assert said.startswith("trial_balance_2024-04-30.pdf  3 rows  sha256 ")
    assert _names(tmp_path) == ["trial_balance_2024-04-30.pdf"]


async def test_journals_are_exported_for_other_books(terminal: Terminal, tmp_path: Path) -> None:
    bean, ledger = tmp_path / "b.beancount", tmp_path / "b.journal"
    await terminal.shows("export", "--beancount", bean, "--hledger", ledger, "--month", "2024-04")
    assert bean.read_text().count("  journal_id: ") == 6
    assert ledger.read_text().count("(jnl_") == 6


async def test_reports_are_listed_with_what_they_take(terminal: Terminal) -> None:
    offers = {each["name"]: each for each in json.loads(await terminal.shows("reports", "--json"))["reports"]}
    assert offers["general_ledger"]["required_filters"] == ["account"]
    assert "yayoi" in offers["journal"]["formats"]
    assert "yayoi" not in offers["trial_balance"]["formats"]
    assert "general_ledger" in await terminal.shows("reports")


async def test_a_month_is_closed_reopened_and_locked_with_who_and_why(terminal: Terminal) -> None:
    for verb, state in (("close", "CLOSED"), ("open", "OPEN"), ("close", "CLOSED")):
        said = await terminal.shows(verb, "2024-04", "--by", "Aki", "--why", "month's end")
        assert said == f"2024-04: {state}\n"
    months = json.loads(await terminal.shows("periods", "--since", "2024-04", "--until", "2024-05", "--json"))
    assert [each["state"] for each in months["periods"]] == ["CLOSED", "OPEN"]
    assert {(step["by"], step["reason"]) for step in months["periods"][0]["steps"]} >= {("operator:Aki", "month's end")}
    assert "CLOSED" in await terminal.shows("periods", "--since", "2024-04", "--until", "2024-05")


async def test_nothing_stands_unposted_and_reposting_it_does_nothing(terminal: Terminal) -> None:
    assert await terminal.shows("unposted") == "There are none.\n"
    assert json.loads(await terminal.shows("unposted", "--json")) == {"events": [], "next_cursor": None}
    assert await terminal.shows("repost") == "0 booked, 0 still stand.\n"


WRONG: list[tuple[list[str], str]] = [
    (["report", "gossip"], "There is no report gossip."),
    (["report", "trial_balance", "--out", "x.doc"], "x.doc does not say which format is meant; give --format."),
    (["report", "trial_balance", "--format", "papyrus"], "trial_balance is not to be had as papyrus"),
    (["report", "trial_balance", "--month", "April"], "--month is a month such as 2026-04, not April."),
    (["report", "trial_balance", "--date", "2024-02-30"], "--date is a day such as 2026-04-30, not 2024-02-30."),
    (["report", "trial_balance", "--date", "2199-01-01"], "2199-01-01 lies in the future."),
    (["report", "trial_balance", "--filter", "x"], "--filter is a name and a value such as account:1110, not x."),
    (["report", "trial_balance", "--json", "--format", "pdf"], "Give either --json, or --format and --out."),
    (["report", "journal", "--out", "/nowhere/at/all.pdf"], "The report cannot be written to /nowhere/at/all.pdf"),
    (["ledger", "9999999"], "There is no account 9999999"),
    (["trial-balance", "--date", "2024-04-01", "--month", "2024-04"], "Give one of --date, --month, or --since"),
    (["export"], "Give --beancount, --hledger or --yayoi with a file."),
    (["close", "2024-04-01", "--by", "a", "--why", "b"], "month"),
    (["statutory-day", "yesterday"], "DAY is a day such as 2026-04-30, not yesterday."),
    (["reconcile", "stars"], "stars"),
    (["unposted", "--limit", "0"], "limit"),
]


async def test_wrong_input_is_one_sentence_and_exit_2(terminal: Terminal) -> None:
    for words, sentence in WRONG:
        code, out, err = await terminal.run(*words)
        assert (code, out, err.count("\n"), "Traceback" in err) == (2, "", 1, False), words
        assert sentence in err


async def test_a_statutory_day_is_made_and_shown(terminal: Terminal) -> None:
    code, _, err = await terminal.run("statutory-day", "2024-04-01")
    assert (code, err) == (2, "The statutory books of 2024-04-01 are not made.\n")
    made = await terminal.shows("statutory-day", "2024-04-01", "--make", "--by", "Aki")
    assert "未達債務" in made
    document = json.loads(await terminal.shows("statutory-day", "2024-04-01", "--json"))
    assert document["digest"] in made
    assert {each["account_type"]: each["closing_minor"] for each in document["books"]}["funds"] == 2_100


async def test_the_books_are_reconciled_with_the_ledger(terminal: Terminal) -> None:
    (run,) = json.loads(await terminal.shows("reconcile", "ledger", "--json"))
    assert (run["name"], run["differences"]) == ("ledger", 0)
    assert "ledger" in await terminal.shows("reconcile", "ledger")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({}, (date(2026, 4, 1), date(2026, 4, 10))),
        ({"month": "2026-03"}, (date(2026, 3, 1), date(2026, 3, 31))),
        ({"month": "2026-04"}, (date(2026, 4, 1), date(2026, 4, 10))),
        ({"day": "2026-04-02"}, (date(2026, 4, 2), date(2026, 4, 2))),
        ({"since": "2026-02-03"}, (date(2026, 2, 3), date(2026, 4, 10))),
        ({"until": "2026-03-20"}, (date(2026, 3, 1), date(2026, 3, 20))),
    ],
)
def test_days_are_those_that_are_meant(given: dict[str, Any], meant: tuple[date, date]) -> None:
    asked = {"day": None, "month": None, "since": None, "until": None, **given}
    assert days_named(date(2026, 4, 10), **asked) == meant


def test_days_cannot_be_named_in_two_ways() -> None:
    with pytest.raises(OperatorError, match="Give one of"):
        days_named(date(2026, 4, 10), day="2026-04-01", month=None, since="2026-04-01", until=None)


async def test_the_platforms_own_clock_says_which_day_it_is(database: Database) -> None:
    from kessai.services.sandbox.api import AdvanceClock, Sandbox

    settings = Settings(database_url=database.dsn, sandbox=True)
    async with platform_at(settings, opened=False) as platform:
        before = platform.clock.now()
        clock: Any = dict(platform.doors())[Sandbox]
        await clock.advance_clock(AdvanceClock(seconds=86_400 * 40))
    async with platform_at(settings, opened=False) as platform:
        assert (platform.clock.now() - before).days >= 40


def test_the_command_is_quick_to_start_because_heavy_libraries_wait() -> None:
    heavy = ("reportlab", "xlsxwriter", "pyarrow", "asyncpg", "rich.table", "kessai.apps.wiring")
    program = f"import sys, kessai.apps.cli; print([each for each in {heavy!r} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
