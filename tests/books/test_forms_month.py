"""A month of books, as the platform kept them, in every form: the real readers find our figures in it."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from importlib import import_module
from pathlib import Path

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound, Refused
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.api.reporting import GetReport, ListReports, ReportFile
from kessai.services.books.domain.exporting import ROOTS
from kessai.services.books.service import reporting
from kessai.services.books.service.accounting import AccountingDesk
from kessai.services.books.service.reporting import ReportingDesk
from kessai.services.books.service.reports import Reports
from tests.books.office import office
from tests.books.town import Town, config, town

DAYS = 29
SINCE, UNTIL = date(2026, 4, 1), date(2026, 4, 30)
HLEDGER = shutil.which("hledger")


async def _live(t: Town) -> None:
    """A month of a small town: money in and out, payments, fees, points that lapse, crypto-assets, a refund."""
    await t.book.open("cus:1/funds", "cus:2/funds", "cus:1/trading_funds", "cus:1/btc", "internal:market/trading_funds")
    for day in range(1, DAYS + 1):
        await t.book.move("internal:bank_deposit/deposit 9_000 > cus:1/funds 9_000", kind="top_up")
        grant = "internal:campaign/point_cost 50 > cus:1/free_points 50 expires=5d"
        await t.book.move(grant, kind="point_grant")
        charge = "cus:1/funds 1_980 + cus:1/free_points 20 > mer:1/unsettled_sales 2_000"
        await t.book.move(charge, name=f"charge {day}", kind="charge", reference=f"chg_{day}")
        await t.book.move("mer:1/unsettled_sales 55 > internal:merchant_fee/fee_income 55", kind="merchant_fee")
        if day % 7 == 0:
            await t.book.reverse(f"charge {day}", 500)
            await t.book.move("cus:1/funds 700 > cus:2/funds 700", kind="transfer")
            out = "cus:1/funds 1_200 > internal:bank/bank_in_transit 1_000 + internal:withdrawal_fee/fee_income 200"
            await t.book.move(out, kind="withdrawal")
            await t.book.move("cus:1/funds 3_000 > cus:1/trading_funds 3_000", kind="exchange_in")
            await t.book.move("cus:1/trading_funds 2_500 > cus:1/btc 12_345", kind="trade", rate="20251114.6213")
        await t.book.run("expire_lots")
        t.clock.advance(days=1)
    await t.heard()
    await t.proved()
    assert await t.unposted() == {}


@asynccontextmanager
async def month(database: Database) -> AsyncGenerator[tuple[Town, ReportingDesk]]:
    """The month, and the desk that reports on it."""
    async with town(database) as t:
        await _live(t)
        books = config()
        desk = AccountingDesk(database, t.clock, books, bookkeeper=t.bookkeeper)
        yield t, ReportingDesk(database, t.clock, books, Reports(desk.offers()), desk.fiscal_year)


async def _file(desk: ReportingDesk, name: str, form: str, *filters: str) -> tuple[ReportFile, bytes]:
    asked = GetReport(name=name, format=form, since=SINCE, until=UNTIL, filters=list(filters))
    report = await desk.get_report(asked)
    content = base64.b64decode(report.content) if report.base64 else report.content.encode()
    assert hashlib.sha256(content).hexdigest() == report.sha256
    return report, content


async def _balances(t: Town) -> dict[tuple[str, str], Decimal]:
    """Every account's balance from the entries, under the account's code."""
    rows = await t.database.fetch(
        None, "SELECT account, asset, sum(amount)::bigint AS amount FROM books.entry GROUP BY account, asset"
    )
    return {
        (row["account"], row["asset"]): Decimal(row["amount"]).scaleb(-ASSET_EXPONENTS[row["asset"]])
        for row in rows
        if row["amount"]
    }


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


async def _ran(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(_run, *command)


def _code(path: str) -> str:
    """The account's code, out of its place in the hierarchy."""
    root, _, name = path.strip().partition(":")
    assert root in ROOTS.values()
    return name.split("-")[0]


async def test_the_real_bean_check_accepts_a_month_and_bean_query_has_our_balances(
    database: Database, tmp_path: Path
) -> None:
    async with month(database) as (t, desk):
        report, content = await _file(desk, "journal", "beancount")
        file, tools = tmp_path / report.file_name, Path(sys.executable).parent
        await asyncio.to_thread(file.write_bytes, content)
        checked = await _ran(tools / "bean-check", file)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        query = "SELECT account, currency, sum(number) AS amount GROUP BY account, currency"
        listed = (await _ran(tools / "bean-query", "-f", "csv", file, query)).stdout
        rows = [{name: value.strip() for name, value in row.items()} for row in csv.DictReader(io.StringIO(listed))]
        found = {(_code(row["account"]), row["currency"]): Decimal(row["amount"]) for row in rows}
        assert {key: amount for key, amount in found.items() if amount} == await _balances(t)
        assert len(found) > 10
        assert content.decode().count("2026-05-01 balance ") == len(found)


@pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed on this machine")
async def test_the_real_hledger_accepts_a_month_and_has_our_balances(database: Database, tmp_path: Path) -> None:
    assert HLEDGER is not None
    async with month(database) as (t, desk):
        report, content = await _file(desk, "journal", "hledger")
        file = tmp_path / report.file_name
        await asyncio.to_thread(file.write_bytes, content)
        checked = await _ran(HLEDGER, "check", "-f", file, "--strict")
        assert (checked.returncode, checked.stderr) == (0, "")
        listed = (await _ran(HLEDGER, "balance", "-f", file, "-N", "--layout=bare", "-O", "csv")).stdout
        rows = csv.DictReader(io.StringIO(listed))
        assert {(_code(r["account"]), r["commodity"]): Decimal(r["balance"]) for r in rows} == await _balances(t)


async def test_a_range_brings_forward_what_was_before_it(database: Database, tmp_path: Path) -> None:
    async with month(database) as (t, desk):
        asked = GetReport(name="journal", format="beancount", since=date(2026, 4, 20), until=UNTIL)
        content = (await desk.get_report(asked)).content
        assert '2026-04-20 * "前期繰越"' in content
        file = tmp_path / "part.beancount"
        await asyncio.to_thread(file.write_text, content)
        checked = await _ran(Path(sys.executable).parent / "bean-check", file)
        assert (checked.returncode, checked.stderr) == (0, "")
        assert len(await t.balances()) > 10


async def test_a_month_of_the_new_year_is_exported_with_what_its_trial_balance_tells(
    database: Database, tmp_path: Path
) -> None:
    async with office(database) as o:
        await o.post(date(2026, 3, 31), "1110 1000000 | 3110 1000000")
        await o.post(date(2026, 3, 31), "1110 50000 | 4910 50000")
        await o.post(date(2026, 4, 20), "1110 11000 | 4910 11000 out10 incl")
        desk = ReportingDesk(database, o.town.clock, config(), Reports(o.desk.offers()), o.desk.fiscal_year)
        asked = GetReport(name="journal", format="beancount", since=date(2026, 4, 1), until=date(2026, 4, 30))
        file, tools = tmp_path / "april.beancount", Path(sys.executable).parent
        await asyncio.to_thread(file.write_text, (await desk.get_report(asked)).content)
        checked = await _ran(tools / "bean-check", file)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        query = "SELECT account, sum(number) AS amount GROUP BY account"
        listed = (await _ran(tools / "bean-query", "-f", "csv", file, query)).stdout
        rows = csv.DictReader(io.StringIO(listed))
        found = {_code(row["account"]): Decimal(row["amount"].strip()) for row in rows}
        assert {code: amount for code, amount in found.items() if amount} == await o.closing("2026-04")
        assert found["3210"] == -50_000


async def test_yayoi_rows_add_up_to_our_yen_balances(database: Database) -> None:
    async with month(database) as (t, desk):
        report, content = await _file(desk, "journal", "yayoi")
        rows = list(csv.reader(io.StringIO(content.decode("cp932"), newline="")))
        assert {len(row) for row in rows} == {25}
        sums: dict[str, int] = {}
        for row in rows:
            for name, amount in ((row[4], int(row[8])), (row[10], -int(row[14]))):
                sums[name] = sums.get(name, 0) + amount
        names = {code: each.name_ja.partition(" (")[0] for code, each in config().chart.accounts.items()}
        ours = {code: amount for (code, asset), amount in (await _balances(t)).items() if asset == "JPY"}
        found = {name.partition(" (")[0]: amount for name, amount in sums.items() if amount}
        assert found == {names[code]: amount for code, amount in ours.items()}
        assert report.left_out > 0
        assert {row[0] for row in rows} == {"2000", "2110", "2100", "2101"}
        assert "課税売上別10%" in {row[13] for row in rows}


async def test_every_report_is_the_same_file_each_time_it_is_asked_for(database: Database) -> None:
    async with month(database) as (_, desk):
        offers = (await desk.list_reports(ListReports())).reports
        assert len(offers) >= 7
        for offer in offers:
            filters = [{"account": "account:2110"}[name] for name in offer.required_filters]
            for form in offer.formats:
                first, _ = await _file(desk, offer.name, form, *filters)
                second, _ = await _file(desk, offer.name, form, *filters)
                assert first == second


async def test_the_forms_of_a_trial_balance_hold_the_same_figures(database: Database) -> None:
    async with month(database) as (t, desk):
        ours = {code: int(amount) for (code, asset), amount in (await _balances(t)).items() if asset == "JPY"}
        document = json.loads((await _file(desk, "trial_balance", "json"))[1])
        closing = [column["name"] for column in document["columns"]].index("closing")
        assert {row[0]: row[closing] for row in document["rows"] if row[3] == "JPY" and row[closing]} == ours
        table = import_module("pyarrow.parquet").read_table(
            io.BytesIO((await _file(desk, "trial_balance", "parquet"))[1])
        )
        assert {r["account"]: r["closing"] for r in table.to_pylist() if r["asset"] == "JPY" and r["closing"]} == ours
        sheet = (
            import_module("openpyxl").load_workbook(io.BytesIO((await _file(desk, "trial_balance", "xlsx"))[1])).active
        )
        cells = [[cell.value for cell in row] for row in sheet.iter_rows()]
        assert {row[0]: row[closing] for row in cells if row[0] and row[3] == "JPY" and row[closing]} == ours


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (GetReport(name="gossip", day=SINCE), "report_not_found"),
        (GetReport(name="trial_balance", format="papyrus", day=SINCE), "unknown_format"),
        (GetReport(name="trial_balance", format="beancount", day=SINCE), "unknown_format"),
        (GetReport(name="trial_balance"), "range_required"),
        (GetReport(name="trial_balance", day=SINCE, until=SINCE), "range_required"),
        (GetReport(name="trial_balance", since=UNTIL, until=SINCE), "range_reversed"),
        (GetReport(name="trial_balance", since=SINCE, until=UNTIL), "future_date"),
        (GetReport(name="trial_balance", day=SINCE, filters=["shoe:42"]), "filter_unknown"),
        (GetReport(name="journal", format="beancount", day=SINCE, filters=["account:1"]), "filter_unknown"),
        (GetReport(name="general_ledger", day=SINCE), "filter_required"),
        (GetReport(name="general_ledger", day=SINCE, filters=["account:1", "account:2"]), "duplicate_key"),
    ],
)
async def test_what_cannot_be_reported_is_refused_by_its_code(database: Database, asked: GetReport, code: str) -> None:
    async with town(database) as t:
        books = config()
        desk = AccountingDesk(database, t.clock, books, bookkeeper=t.bookkeeper)
        with pytest.raises((Invalid, NotFound)) as refused:
            await ReportingDesk(database, t.clock, books, Reports(desk.offers()), desk.fiscal_year).get_report(asked)
        assert refused.value.code == code


@pytest.mark.parametrize("form", ["csv", "beancount", "xlsx"])
async def test_a_report_that_a_door_cannot_carry_is_refused(
    database: Database, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "CONTENT_BYTES_MAX", 1_000)
    async with month(database) as (_, desk):
        with pytest.raises(Refused, match="report_too_large"):
            await _file(desk, "journal", form)
    monkeypatch.setattr(reporting, "CONTENT_BYTES_MAX", 10_000_000)
    monkeypatch.setattr(reporting, "CONTENT_ROWS_MAX", 10)
    async with town(database) as t:
        books = config()
        accounting = AccountingDesk(database, t.clock, books, bookkeeper=t.bookkeeper)
        t.clock.advance(days=40)
        with pytest.raises(Refused, match="report_too_large"):
            await _file(
                ReportingDesk(database, t.clock, books, Reports(accounting.offers()), accounting.fiscal_year),
                "journal",
                form,
            )
