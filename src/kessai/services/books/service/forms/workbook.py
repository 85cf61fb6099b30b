"""A report as an Excel workbook: head, frozen titles, number formats, totals; written row by row, in bounded memory.

Excel counts in floating point with 15 digits: an amount with more is written as text, and so loses nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from importlib import import_module
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, BinaryIO

from kessai.foundation.clock import TOKYO
from kessai.services.books.domain.table import Cell, Kind, Report, Row
from kessai.services.books.service.forms import Pen
from kessai.services.books.service.forms.cells import (
    NEGATIVE,
    Layout,
    decimal_text,
    exponent_of,
    fact_text,
    made_at,
    period,
)

ROWS_MAX = 1_048_576
"""What a sheet holds; a further sheet is begun past it."""
EXACT = 10**15
"""Whole numbers below this are exact in Excel."""
_WIDTHS = {Kind.TEXT: 22, Kind.MONEY: 18, Kind.INTEGER: 12, Kind.RATE: 12, Kind.DATE: 12, Kind.INSTANT: 20}
_TITLE_WIDTH_MAX = 40
_NOT_IN_NAMES = str.maketrans("[]:*?/\\'", "        ")
_NAME_MAX = 24
_HEAD = {"bold": True, "bg_color": "#D9E1F2", "border": 1, "align": "center", "valign": "vcenter", "text_wrap": True}
_TOTAL = {"bold": True, "top": 6, "bg_color": "#F2F2F2"}
_FONT = {"font_name": "Yu Gothic", "font_size": 10}


class WorkbookPen(Pen):
    """Sheets of one workbook, one after another; nothing of them stays in memory."""

    def __init__(self, report: Report, out: BinaryIO, *, rows_max: int = ROWS_MAX) -> None:
        self._report, self._rows_max = report, rows_max
        self._layout = Layout(report)
        # xlsxwriter comes without types.
        self._folder = mkdtemp(prefix="kessai-")  # rows wait in files of their own until the workbook is put together
        options = {"constant_memory": True, "tmpdir": self._folder}
        self._book: Any = import_module("xlsxwriter").Workbook(out, options)
        made = made_at(report).astimezone(UTC)
        self._book.set_properties({"title": report.title_ja, "subject": report.basis, "created": made})
        self._formats: dict[tuple[str, bool, bool], Any] = {}
        self._heading = self._book.add_format({**_FONT, **_HEAD})
        self._sheets = 0
        self._begin()

    def rows(self, rows: list[Row]) -> None:
        """Write some rows."""
        for row in rows:
            self._row(row, total=False)

    def close(self) -> None:
        """End with the totals, and put the workbook together."""
        for row in self._report.totals:
            self._row(row, total=True)
        self._end_sheet()
        self._book.close()
        rmtree(self._folder)

    def abandon(self) -> None:
        """Leave it unfinished: the files in which rows wait are removed."""
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()
        self._book.fileclosed = True  # else it would complain when it is collected
        rmtree(self._folder, ignore_errors=True)

    # -- sheets -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        report = self._report
        self._sheets += 1
        name = report.title_ja.translate(_NOT_IN_NAMES).strip()[:_NAME_MAX]
        self._sheet = self._book.add_worksheet(name if self._sheets == 1 else f"{name} {self._sheets}")
        self._at = 0
        for index, column in enumerate(report.columns):
            self._sheet.set_column(index, index, max(_WIDTHS[column.kind], _width(column.title_ja) + 2))
        self._head()
        self._print_settings()

    def _head(self) -> None:
        report = self._report
        strong = self._format("@", strong=True)
        self._line([f"{report.title_ja} ({report.title})"], strong)
        self._line([period(report)], self._format("@"))
        if report.basis:
            self._line([f"根拠: {report.basis}"], self._format("@"))
        for label, label_ja, value in report.facts:
            self._line([f"{label_ja} ({label})", fact_text(value)], self._format("@"))
        self._at += 1
        self._title_row = self._at
        self._line([column.title_ja for column in report.columns], self._heading)
        self._sheet.freeze_panes(self._at, 0)

    def _print_settings(self) -> None:
        sheet = self._sheet
        sheet.set_paper(9)  # A4
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(self._title_row)
        sheet.set_footer("&C&P / &N")

    def _line(self, texts: list[str], form: Any) -> None:
        for index, text in enumerate(texts):
            self._sheet.write_string(self._at, index, text, form)
        self._at += 1

    def _end_sheet(self) -> None:
        self._sheet.autofilter(self._title_row, 0, max(self._at - 1, self._title_row), len(self._report.columns) - 1)

    # -- rows ---------------------------------------------------------------------------------------------------

    def _row(self, row: Row, *, total: bool) -> None:
        if self._at >= self._rows_max:
            self._end_sheet()
            self._begin()
        for index, cell in enumerate(row):
            if cell is not None or total:
                self._cell(index, cell, self._layout.asset(row, index), total=total)
        self._at += 1

    def _cell(self, index: int, cell: Cell, asset: str, *, total: bool) -> None:
        sheet, at, kind = self._sheet, self._at, self._layout.columns[index].kind
        match cell:
            case None:
                sheet.write_blank(at, index, None, self._format("@", total=total))
            case int() if abs(cell) >= EXACT:
                text = decimal_text(cell, asset) if kind is Kind.MONEY else str(cell)
                sheet.write_string(at, index, text, self._format("@", total=total))
            case int() if kind is Kind.MONEY:
                exponent = exponent_of(asset)
                value = cell if exponent == 0 else Decimal(cell).scaleb(-exponent)
                sheet.write_number(at, index, value, self._format(_money_format(exponent), total=total))
            case int():
                sheet.write_number(at, index, cell, self._format("#,##0", total=total))
            case datetime():
                local = cell.astimezone(TOKYO).replace(tzinfo=None)
                sheet.write_datetime(at, index, local, self._format("yyyy/mm/dd hh:mm:ss", total=total))
            case date():
                sheet.write_datetime(at, index, cell, self._format("yyyy/mm/dd", total=total))
            case str():
                sheet.write_string(at, index, cell, self._format("@", total=total))

    def _format(self, number: str, *, total: bool = False, strong: bool = False) -> Any:
        key = (number, total, strong)
        if key not in self._formats:
            more = _TOTAL if total else {"bold": True, "font_size": 14} if strong else {}
            self._formats[key] = self._book.add_format({**_FONT, "num_format": number, **more})
        return self._formats[key]


def _money_format(exponent: int) -> str:
    digits = "#,##0" + ("." + "0" * exponent if exponent else "")
    return f'{digits};[Red]"{NEGATIVE}"{digits}'


def _width(text: str) -> int:
    """In Excel's characters: a Japanese one takes two."""
    return min(sum(1 if each.isascii() else 2 for each in text), _TITLE_WIDTH_MAX)
