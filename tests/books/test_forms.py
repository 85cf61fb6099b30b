"""Reports as files: the same bytes each time, read back with the readers that people use."""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pypdf
import pytest

from kessai.foundation.errors import Refused
from kessai.services.books.domain.table import Column, Kind, Report, Row
from kessai.services.books.service.forms import FORMS, file_name, signed_pdf, write
from kessai.services.books.service.forms.columnar import ParquetPen
from kessai.services.books.service.forms.workbook import WorkbookPen
from tests.books.reports import AT, DAY, ROWS, report, written

TEXT = (Column(name="text", title="Text", title_ja="文字"),)
BIG = 100_000
MEMORY_MAX = 48 * 2**20
"""Far below what a hundred thousand rows would take at once in any of these forms but the pages of a PDF."""


@pytest.mark.parametrize("form", FORMS)
async def test_the_same_report_gives_the_same_bytes(form: str) -> None:
    first = await written(form, report(chunk=1))
    assert first == await written(form, report(chunk=3))


@pytest.mark.parametrize("form", FORMS)
async def test_a_report_without_rows_is_a_file_all_the_same(form: str) -> None:
    assert len(await written(form, report([]))) > 0


async def test_csv_for_programs_has_names_and_plain_figures_and_no_totals() -> None:
    assert (await written("csv", report())).decode().split("\r\n") == [
        "account,name,asset,balance,entries,rate,day,at",
        "1110,普通預金,JPY,1234567,12,0.10,2026-04-30,2026-05-01T00:00:01+09:00",
        "2110,預り金,JPY,-1234567,3,-0.5,2026-04-30,",
        "1510,暗号資産,BTC,0.00010000,1,,,2026-05-01T00:00:01+09:00",
        "",
    ]


@pytest.mark.parametrize(("form", "encoding"), [("csv_bom", "utf-8-sig"), ("csv_cp932", "cp932")])
async def test_csv_for_people_has_japanese_titles_and_totals(form: str, encoding: str) -> None:
    rows = list(csv.reader(io.StringIO((await written(form, report())).decode(encoding))))
    assert rows[0] == ["勘定科目", "名称", "資産", "残高", "件数", "税率", "日付", "時刻"]
    assert rows[-1] == ["", "合計", "JPY", "0", "16", "", "", ""]
    assert len(rows) == len(ROWS) + 2


async def test_csv_for_spreadsheets_begins_with_a_byte_order_mark_and_others_do_not() -> None:
    marks = {
        form: (await written(form, report())).startswith(b"\xef\xbb\xbf") for form in ("csv", "csv_bom", "csv_cp932")
    }
    assert marks == {"csv": False, "csv_bom": True, "csv_cp932": False}


@pytest.mark.parametrize("form", ["csv", "csv_bom", "csv_cp932"])
@pytest.mark.parametrize("text", ["=1+1", "+cmd|'/c calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
async def test_csv_holds_no_formula(form: str, text: str) -> None:
    rows = list(
        csv.reader(
            io.StringIO((await written(form, report([(text,)], columns=TEXT))).decode("cp932", "replace"), newline="")
        )
    )
    assert rows[1] == [f"'{text}"]


@pytest.mark.parametrize("text", ["-12", "+0.5", "-1,234.50%"])
async def test_csv_leaves_numbers_as_they_are(text: str) -> None:
    rows = list(csv.reader(io.StringIO((await written("csv", report([(text,)], columns=TEXT))).decode())))
    assert rows[1] == [text]


async def test_cp932_takes_look_alikes_and_the_geta_for_what_it_lacks() -> None:
    document = await written("csv_cp932", report([("1〜2 −3 ①髙﨑 😀",)], columns=TEXT))
    assert document.decode("cp932").split("\r\n")[1] == "1～2 －3 ①髙﨑 〓"


async def test_json_has_columns_rows_totals_and_facts() -> None:
    document = json.loads(await written("json", report()))
    assert document["rows"][0] == ["1110", "普通預金", "JPY", 1234567, 12, "0.10", "2026-04-30", "2026-04-30T15:00:01Z"]
    assert len(document["rows"]) == 3
    assert document["totals"] == [["", "合計", "JPY", 0, 16, None, None, None]]
    assert document["facts"][1] == {"label": "Deposit", "label_ja": "供託額", "value": 12_000_000}
    assert document["columns"][3] == {
        "name": "balance",
        "title": "Balance",
        "title_ja": "残高",
        "kind": "money",
        "asset": "JPY",
    }
    assert (document["since"], document["until"], document["exponents"]["BTC"]) == ("2026-04-01", "2026-04-30", 8)


# -- Excel ----------------------------------------------------------------------------------------------------------


def _sheets(document: bytes) -> list[Any]:
    """The sheets as openpyxl reads them; it comes without types."""
    return import_module("openpyxl").load_workbook(io.BytesIO(document)).worksheets


async def test_excel_holds_the_same_figures_formatted() -> None:
    (sheet,) = _sheets(await written("xlsx", report()))
    assert [sheet.cell(row, 1).value for row in (1, 2, 3)] == [
        "残高試算表 (Trial balance)",
        "2026年4月1日 〜 2026年4月30日",
        "根拠: 会社法 432条",
    ]
    assert (sheet.cell(5, 1).value, sheet.cell(5, 2).value) == ("供託額 (Deposit)", "12,000,000円")
    assert [cell.value for cell in sheet[7]][:4] == ["勘定科目", "名称", "資産", "残高"]
    assert [cell.value for cell in sheet[8]] == [
        "1110",
        "普通預金",
        "JPY",
        1_234_567,
        12,
        "0.10",
        _midnight(),
        _clock(),
    ]
    assert (sheet.cell(9, 4).value, sheet.cell(10, 4).value) == (-1_234_567, 0.0001)
    assert sheet.cell(9, 4).number_format == '#,##0;[Red]"△"#,##0'
    assert sheet.cell(10, 4).number_format.startswith("#,##0.00000000;")
    assert [cell.value for cell in sheet[11]][:4] == ["", "合計", "JPY", 0]
    assert sheet.cell(11, 4).font.bold
    assert sheet.freeze_panes == "A8"


def _midnight() -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day)  # noqa: DTZ001  (Excel knows no zones)


def _clock() -> datetime:
    return datetime(2026, 5, 1, 0, 0, 1)  # noqa: DTZ001


async def test_excel_runs_no_formula_and_follows_no_link() -> None:
    rows: list[Row] = [("=1+1",), ("https://example.com",)]
    (sheet,) = _sheets(await written("xlsx", report(rows, columns=TEXT)))
    assert [(sheet.cell(row, 1).value, sheet.cell(row, 1).data_type) for row in (8, 9)] == [
        ("=1+1", "s"),
        ("https://example.com", "s"),
    ]


async def test_excel_keeps_amounts_that_floating_point_would_round() -> None:
    money = (Column(name="amount", title="Amount", title_ja="金額", kind=Kind.MONEY, asset="BTC"),)
    (sheet,) = _sheets(await written("xlsx", report([(2_100_000_000_000_001,), (999_999_999_999_999,)], columns=money)))
    assert (sheet.cell(8, 1).value, sheet.cell(9, 1).value) == ("21000000.00000001", 9999999.99999999)


def test_excel_goes_on_in_a_further_sheet_when_one_is_full() -> None:
    out = io.BytesIO()
    pen = WorkbookPen(report(columns=TEXT), out, rows_max=10)
    pen.rows([(f"row {n}",) for n in range(6)])
    pen.close()
    sheets = _sheets(out.getvalue())
    assert [sheet.title for sheet in sheets] == ["残高試算表", "残高試算表 2"]
    assert [sheet.cell(row, 1).value for sheet in sheets for row in (8, 9, 10)] == [f"row {n}" for n in range(6)]


async def test_excel_names_the_reports_day_as_its_own() -> None:
    book = import_module("openpyxl").load_workbook(io.BytesIO(await written("xlsx", report())))
    assert book.properties.created == datetime(2026, 4, 30, 15)  # noqa: DTZ001


# -- PDF ------------------------------------------------------------------------------------------------------------


async def test_pdf_has_title_period_basis_signature_boxes_and_every_figure() -> None:
    pdf = pypdf.PdfReader(io.BytesIO(await written("pdf", report())))
    text = pdf.pages[0].extract_text()
    for each in ("残高試算表", "2026年4月1日 〜 2026年4月30日", "会社法 432条", "作成者", "確認者", "承認者"):
        assert each in text
    for each in ("普通預金", "1,234,567", "△1,234,567", "0.00010000", "2026/04/30", "2026/05/01 00:00:01", "合計"):
        assert each in text
    assert pdf.metadata is not None
    assert pdf.metadata.title == "残高試算表 2026年4月1日 〜 2026年4月30日"
    assert pdf.metadata.creation_date is not None
    assert pdf.metadata.creation_date.isoformat() == "2026-05-01T00:00:00+09:00"


async def test_pdf_repeats_titles_and_numbers_its_pages() -> None:
    rows: list[Row] = [(f"行 {n}",) for n in range(120)]
    pdf = pypdf.PdfReader(io.BytesIO(await written("pdf", report(rows, columns=TEXT, chunk=7))))
    texts = [page.extract_text() for page in pdf.pages]
    assert len(texts) == 4
    assert all("文字" in text for text in texts)
    found = [line for text in texts for line in text.splitlines() if line.startswith("行 ")]
    assert found == [f"行 {n}" for n in range(120)]
    assert ["1" in texts[0].splitlines()[-1] or "1 " in texts[0], "2 " in texts[1]] == [True, True]
    assert b"/ 4" in _form_of(pdf)


def _form_of(pdf: pypdf.PdfReader) -> bytes:
    """The number of all pages, which each page shows from one place."""
    resources: Any = pdf.pages[0]["/Resources"]
    (form,) = [each.get_object() for each in resources["/XObject"].values()]
    return form.get_data().replace(b"\\000", b"").replace(b"\0", b"")


async def test_pdf_breaks_long_texts_and_loses_nothing() -> None:
    long = "摘要" * 200
    columns = tuple(replace(TEXT[0], name=f"c{n}") for n in range(4))
    pdf = pypdf.PdfReader(io.BytesIO(await written("pdf", report([(long, "短い", "", "")], columns=columns))))
    text = "".join(page.extract_text() for page in pdf.pages)
    assert text.replace("\n", "").count("摘要") >= 190
    assert text.count("摘") == text.count("要") == 200


async def test_a_pdf_of_more_rows_than_anybody_signs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_pdf, "ROWS_MAX", 2)
    with pytest.raises(Refused, match="report_too_large"):
        await written("pdf", report())


# -- Parquet --------------------------------------------------------------------------------------------------------


def _table(document: bytes) -> Any:
    """The file as pyarrow reads it; it comes without types."""
    return import_module("pyarrow.parquet").read_table(io.BytesIO(document))


async def test_parquet_holds_minor_units_as_int64_and_what_the_report_is() -> None:
    table = _table(await written("parquet", report()))
    assert table.column("balance").to_pylist() == [1_234_567, -1_234_567, 10_000]
    assert table.column("name").to_pylist() == ["普通預金", "預り金", "暗号資産"]
    assert table.column("day").to_pylist() == [DAY, DAY, None]
    assert table.column("at").to_pylist() == [AT, None, AT]
    assert str(table.schema.field("balance").type) == "int64"
    assert table.schema.field("balance").metadata[b"title_ja"].decode() == "残高"
    about = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert about["kessai.until"] == "2026-04-30"
    assert json.loads(about["kessai.totals"]) == [["", "合計", "JPY", 0, 16, None, None, None]]


def test_parquet_is_written_in_row_groups() -> None:
    out = io.BytesIO()
    pen = ParquetPen(report(columns=TEXT), out, group_rows=4)
    pen.rows([(f"row {n}",) for n in range(10)])
    pen.close()
    file = import_module("pyarrow.parquet").ParquetFile(io.BytesIO(out.getvalue()))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [4, 4, 2]
    assert file.read().column("text").to_pylist() == [f"row {n}" for n in range(10)]


# -- many rows ------------------------------------------------------------------------------------------------------


class _Counter(io.RawIOBase):
    """Takes bytes and keeps none, as a file does."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: Any, /) -> int:
        self.size += len(data)
        return len(data)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing waits."""


def _many() -> Report:
    async def chunks() -> AsyncIterator[list[Row]]:
        for at in range(0, BIG, 2_000):
            yield [(f"名称 {n}", n) for n in range(at, at + 2_000)]

    money = Column(name="amount", title="Amount", title_ja="金額", kind=Kind.MONEY)
    return replace(report(columns=(*TEXT, money)), chunks=chunks())


@pytest.mark.parametrize("form", ["json", "csv", "csv_cp932", "parquet", "xlsx"])
async def test_a_hundred_thousand_rows_take_bounded_memory(form: str) -> None:
    out: Any = _Counter()
    tracemalloc.start()
    try:
        assert await write(FORMS[form], _many(), out) == BIG
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert out.size > 100_000
    assert peak < MEMORY_MAX


async def test_whoever_waits_is_told_how_far_it_is() -> None:
    told: list[int] = []
    await write(FORMS["csv"], report(), io.BytesIO(), told.append)
    assert told == [2, 3]


def test_a_files_name_says_what_it_is() -> None:
    assert file_name(FORMS["pdf"], report()) == "trial_balance_2026-04-01_2026-04-30.pdf"
    assert file_name(FORMS["csv"], replace(report(), since=date(2026, 4, 30))) == "trial_balance_2026-04-30.csv"


@pytest.mark.parametrize("form", FORMS)
async def test_a_report_that_breaks_off_leaves_nothing_behind(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chunks() -> AsyncIterator[list[Row]]:
        yield ROWS
        raise RuntimeError("the database went away")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="went away"):
        await written(form, replace(report(), chunks=chunks()))
    gc.collect()  # what was left open would warn now
    assert _left_in(tmp_path) == []


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize("form", ["csv", "csv_bom", "csv_cp932", "xlsx", "pdf"])
async def test_an_asset_that_nobody_knows_is_refused_where_amounts_are_printed(form: str) -> None:
    columns = (
        Column(name="asset", title="Asset", title_ja="資産"),
        Column(name="balance", title="Balance", title_ja="残高", kind=Kind.MONEY),
    )
    with pytest.raises(Refused) as caught:
        await written(form, replace(report([("ZZZ", 100)]), columns=columns, totals=()))
    assert (caught.value.code, caught.value.details) == ("asset_out_of_form", {"asset": "ZZZ"})


@pytest.mark.parametrize("form", ["csv", "xlsx", "pdf", "parquet"])
async def test_a_column_in_an_asset_that_nobody_knows_is_refused(form: str) -> None:
    columns = (Column(name="balance", title="Balance", title_ja="残高", kind=Kind.MONEY, asset="ZZZ"),)
    with pytest.raises(Refused) as caught:
        await written(form, replace(report([(100,)]), columns=columns, totals=()))
    assert caught.value.code == "asset_out_of_form"
