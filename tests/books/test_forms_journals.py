"""Journals for other books: what 弥生会計, Beancount and hledger are given, and that the real ones accept it."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from kessai.foundation.errors import Refused
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.domain.exporting import (
    Balances,
    ExportedAccount,
    JournalBook,
    Voucher,
    VoucherLine,
    month_ends,
)
from kessai.services.books.service.forms.journals import JOURNAL_FORMS, WrittenJournals, write_journals
from kessai.services.books.service.forms.yayoi import COLUMNS

ACCOUNTS = (
    ExportedAccount(code="1110", name="Bank deposits", name_ja="普通預金", section="asset"),
    ExportedAccount(code="1430", name="Crypto-assets held for customers", name_ja="利用者暗号資産", section="asset"),
    ExportedAccount(code="2110", name="Customers' funds", name_ja="資金移動預り金 (未達債務)", section="liability"),
    ExportedAccount(code="2140", name="Crypto-assets of customers", name_ja="預り暗号資産", section="liability"),
    ExportedAccount(code="2310", name="Output consumption tax", name_ja="仮受消費税等", section="liability"),
    ExportedAccount(code="4110", name="Merchants' fees", name_ja='決済"手数料"', section="income"),
)
OPENING: Balances = {("1110", "JPY"): 5_000, ("2110", "JPY"): -5_000, ("4110", "JPY"): 0}
HLEDGER = shutil.which("hledger")


def _line(account: str, amount: int, asset: str = "JPY", tax: str = "") -> VoucherLine:
    return VoucherLine(account=account, asset=asset, amount=amount, tax_code=tax, account_type="", owner="")


def _voucher(number: int, day: date, *lines: VoucherLine, description: str = "受領") -> Voucher:
    return Voucher(
        journal_id=f"jnl_{number:032x}",
        source="ledger",
        kind="top_up",
        booked_on=day,
        event_on=day,
        description=description,
        merchant="m-1",
        product=None,
        payment_id=f"tup_{number}",
        processing_id=None,
        exchange_id=None,
        reverses=None,
        lines=lines,
    )


MARCH, APRIL = date(2026, 3, 31), date(2026, 4, 15)
VOUCHERS = [
    _voucher(1, MARCH, _line("1110", 1_000), _line("2110", -1_000)),
    _voucher(
        2,
        APRIL,
        _line("2110", 110),
        _line("4110", -100, tax="out10"),
        _line("2310", -10, tax="out10"),
        description='=手数料 "込み"; 1,100 | \\円\n次',
    ),
    _voucher(3, APRIL, _line("1430", 12_345, "BTC"), _line("2140", -12_345, "BTC")),
    _voucher(4, APRIL, _line("1110", -10), _line("2110", 10), _line("1430", -1, "BTC"), _line("2140", 1, "BTC")),
]


def _book(vouchers: list[Voucher] = VOUCHERS) -> JournalBook:
    since, until = date(2026, 3, 1), date(2026, 4, 20)

    async def chunks() -> AsyncIterator[list[Voucher]]:
        for voucher in vouchers:
            yield [voucher]

    return JournalBook(
        since=since,
        until=until,
        accounts=ACCOUNTS,
        opening=OPENING,
        standings=tuple((day, _balances(vouchers, day)) for day in month_ends(since, until)),
        chunks=chunks(),
    )


def _balances(vouchers: list[Voucher], until: date) -> Balances:
    balances = dict(OPENING)
    for voucher in vouchers:
        for line in voucher.lines if voucher.booked_on <= until else ():
            key = (line.account, line.asset)
            balances[key] = balances.get(key, 0) + line.amount
    return balances


async def written_journals(form: str, book: JournalBook | None = None) -> tuple[bytes, WrittenJournals]:
    """The journals in a form, and what was told of it."""
    out = io.BytesIO()
    told = await write_journals(JOURNAL_FORMS[form], book or _book(), out)
    return out.getvalue(), told


@pytest.mark.parametrize("form", JOURNAL_FORMS)
async def test_the_same_journals_give_the_same_bytes(form: str) -> None:
    first, told = await written_journals(form)
    assert first == (await written_journals(form))[0]
    assert told.vouchers == 4


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        (date(2026, 3, 1), date(2026, 3, 31), [date(2026, 3, 31)]),
        (date(2026, 3, 15), date(2026, 5, 1), [date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 1)]),
        (date(2026, 12, 31), date(2027, 1, 1), [date(2026, 12, 31), date(2027, 1, 1)]),
        (date(2026, 4, 30), date(2026, 4, 30), [date(2026, 4, 30)]),
    ],
)
def test_balances_are_asserted_at_month_ends_and_on_the_last_day(since: date, until: date, days: list[date]) -> None:
    assert month_ends(since, until) == days


def test_accounts_stand_in_an_ascii_hierarchy() -> None:
    assert [account.path for account in ACCOUNTS[:3]] == [
        "Assets:1110-Bank-Deposits",
        "Assets:1430-Crypto-Assets-Held-For-Customers",
        "Liabilities:2110-Customers-Funds",
    ]


# -- Beancount ------------------------------------------------------------------------------------------------------


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def _expected(balances: Balances) -> dict[tuple[str, str], Decimal]:
    paths = {account.code: account.path for account in ACCOUNTS}
    return {
        (paths[account], asset): Decimal(amount).scaleb(-ASSET_EXPONENTS[asset])
        for (account, asset), amount in balances.items()
        if amount
    }


async def test_bean_check_accepts_the_file_and_bean_query_gives_our_balances(tmp_path: Path) -> None:
    file = tmp_path / "books.beancount"
    file.write_bytes((await written_journals("beancount"))[0])
    checked = _run(_tool("bean-check"), str(file))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    query = "SELECT account, currency, sum(number) AS amount GROUP BY account, currency"
    rows = list(csv.DictReader(io.StringIO(_run(_tool("bean-query"), "-f", "csv", str(file), query).stdout)))
    found = {(row["account"].strip(), row["currency"].strip()): Decimal(row["amount"].strip()) for row in rows}
    assert {key: amount for key, amount in found.items() if amount} == _expected(_balances(VOUCHERS, APRIL))


async def test_bean_check_refuses_journals_that_are_not_what_the_totals_say(tmp_path: Path) -> None:
    file = tmp_path / "books.beancount"
    wrong = replace(_book(), standings=((date(2026, 4, 20), {("1430", "BTC"): 12_345}),))
    file.write_bytes((await written_journals("beancount", wrong))[0])
    checked = _run(_tool("bean-check"), str(file))
    assert checked.returncode == 1
    assert "Balance failed" in checked.stderr


async def test_a_beancount_file_begins_with_accounts_by_both_names_and_what_was_brought_forward() -> None:
    text = (await written_journals("beancount"))[0].decode()
    assert '2026-03-01 open Liabilities:2110-Customers-Funds\n  name_ja: "資金移動預り金 (未達債務)"\n' in text
    assert '2026-03-01 * "前期繰越"\n  Assets:1110-Bank-Deposits  5000 JPY\n' in text
    assert "2026-03-01 commodity BTC\n" in text
    assert "2026-04-01 balance Assets:1110-Bank-Deposits  6000 ~ 0 JPY\n" in text
    assert '  journal_id: "jnl_00000000000000000000000000000001"\n' in text
    assert '2026-04-15 * "=手数料 \\"込み\\"; 1,100 | \\\\円 次" ^tup_2\n' in text
    assert "  Assets:1430-Crypto-Assets-Held-For-Customers  0.00012345 BTC\n" in text


# -- hledger --------------------------------------------------------------------------------------------------------


async def test_an_hledger_journal_holds_accounts_codes_tags_and_assertions() -> None:
    text = (await written_journals("hledger"))[0].decode()
    assert "account Liabilities:2110-Customers-Funds  ; type:L, name_ja:資金移動預り金 (未達債務)\n" in text
    assert "commodity 1000.00000000 BTC\n" in text
    assert '2026-04-15 * (jnl_00000000000000000000000000000002) =手数料 "込み"  1,100   \\円 次\n' in text
    assert "    Assets:1110-Bank-Deposits  0 JPY = 6000 JPY\n" in text


@pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed on this machine")
async def test_hledger_accepts_the_file_and_gives_our_balances(tmp_path: Path) -> None:
    assert HLEDGER is not None
    file = tmp_path / "books.journal"
    file.write_bytes((await written_journals("hledger"))[0])
    checked = _run(HLEDGER, "check", "-f", str(file), "--strict")
    assert (checked.returncode, checked.stderr) == (0, "")
    listed = _run(HLEDGER, "balance", "-f", str(file), "-N", "--layout=bare", "-O", "csv").stdout
    found = {(row["account"], row["commodity"]): Decimal(row["balance"]) for row in csv.DictReader(io.StringIO(listed))}
    assert found == _expected(_balances(VOUCHERS, APRIL))


# -- 弥生 -----------------------------------------------------------------------------------------------------------


async def _rows(vouchers: list[Voucher] = VOUCHERS) -> list[list[str]]:
    return list(
        csv.reader(io.StringIO((await written_journals("yayoi", _book(vouchers)))[0].decode("cp932"), newline=""))
    )


async def test_a_journal_of_two_lines_is_one_row_of_25_columns() -> None:
    row = (await _rows())[0]
    side = ["", "", "対象外", "1000", "0"]
    memo = "jnl_00000000000000000000000000000001 tup_1 m-1"
    assert row == [
        *["2000", "", "", "2026/03/31", "普通預金", *side, "資金移動預り金", *side],
        *["受領", "", "", "0", "", memo, "0", "0", "no"],
    ]
    assert len(row) == len(COLUMNS) == 25


async def test_a_compound_journal_is_a_slip_whose_tax_stands_on_its_own_row() -> None:
    rows = (await _rows())[1:3]
    assert [[row[0], row[4], row[7], row[8], row[10], row[13], row[14], row[19]] for row in rows] == [
        ["2110", "資金移動預り金", "対象外", "110", '決済"手数料"', "課税売上別10%", "100", "3"],
        ["2101", "", "対象外", "0", "仮受消費税等", "課税売上別10%", "10", "3"],
    ]


async def test_a_summary_runs_no_formula_and_fits_its_column() -> None:
    long = _voucher(5, APRIL, _line("1110", 1), _line("2110", -1), description="=" + "摘要" * 40)
    assert (await _rows([long]))[0][16] == "＝" + "摘要" * 15 + "摘"


async def test_lines_of_other_assets_are_left_out_and_counted() -> None:
    _, told = await written_journals("yayoi")
    assert told == WrittenJournals(4, 4)
    assert len(await _rows()) == 4


async def test_names_that_the_column_would_make_the_same_get_their_codes() -> None:
    alike = [replace(ACCOUNTS[n], code=f"99{n}", name_ja="長い長い長い長い長い名前その" + "一二"[n]) for n in range(2)]
    voucher = _voucher(6, APRIL, _line("990", 1), _line("991", -1))
    out = io.BytesIO()
    await write_journals(JOURNAL_FORMS["yayoi"], replace(_book([voucher]), accounts=tuple(alike)), out)
    row = next(csv.reader(io.StringIO(out.getvalue().decode("cp932"))))
    assert (row[4], row[10]) == ("990 長い長い長い長い長い", "991 長い長い長い長い長い")


async def test_an_amount_of_more_than_eleven_digits_is_refused() -> None:
    huge = _voucher(7, APRIL, _line("1110", 10**11), _line("2110", -(10**11)))
    with pytest.raises(Refused, match="amount_out_of_form"):
        await written_journals("yayoi", _book([huge]))


def test_every_column_is_explained() -> None:
    page = (Path(__file__).parents[2] / "docs/services/books_forms.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| (\d+) \| ([^|]+) \|", page, re.MULTILINE)
    assert told == [(str(number), name) for number, name in enumerate(COLUMNS, start=1)]


@pytest.mark.parametrize("form", ["beancount", "hledger"])
async def test_journals_in_an_asset_that_nobody_knows_are_refused(form: str) -> None:
    strange = _voucher(5, APRIL, _line("1430", 1, "ZZZ"), _line("2140", -1, "ZZZ"))
    with pytest.raises(Refused) as caught:
        await written_journals(form, _book([strange]))
    assert (caught.value.code, caught.value.details) == ("asset_out_of_form", {"asset": "ZZZ"})
