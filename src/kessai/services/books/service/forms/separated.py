"""A report as CSV: UTF-8 for programs, UTF-8 with a mark for spreadsheets, cp932 for Japanese accounting packages.

What a spreadsheet would take for a formula is written with an apostrophe before it, in every one of them.
"""

from __future__ import annotations

import csv
import io
from typing import BinaryIO

from kessai.services.books.domain.table import Report, Row
from kessai.services.books.service.forms import Pen
from kessai.services.books.service.forms.cells import Layout, is_formula

MISSING = "〓"
"""What stands for a character that cp932 does not have (the printers' geta)."""
_ALIKE = str.maketrans("〜−–—‖¢£¬\xa0", "～－－―∥￠￡￢ ")
"""Characters that cp932 has under another code point."""


class CsvPen(Pen):
    """Header, rows, and for people the totals; records end with CR LF (RFC 4180)."""

    def __init__(self, report: Report, out: BinaryIO, *, encoding: str, for_people: bool) -> None:
        self._out, self._encoding = out, encoding
        self._layout = Layout(report)
        self._totals = report.totals if for_people else ()
        out.write(b"\xef\xbb\xbf" if for_people and encoding == "utf-8" else b"")
        self._write([[column.title_ja if for_people else column.name for column in report.columns]])

    def rows(self, rows: list[Row]) -> None:
        """Write some rows."""
        self._write([self._layout.plain(row) for row in rows])

    def close(self) -> None:
        """End with the totals, where people read it."""
        self.rows(list(self._totals))

    def _write(self, rows: list[list[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([[harmless(cell) for cell in row] for row in rows])
        self._out.write(encoded(text.getvalue(), self._encoding))


def plain_csv(report: Report, out: BinaryIO) -> CsvPen:
    """For programs: UTF-8, columns by their names, no totals."""
    return CsvPen(report, out, encoding="utf-8", for_people=False)


def marked_csv(report: Report, out: BinaryIO) -> CsvPen:
    """For spreadsheets: UTF-8 with a byte order mark, Japanese titles, totals."""
    return CsvPen(report, out, encoding="utf-8", for_people=True)


def cp932_csv(report: Report, out: BinaryIO) -> CsvPen:
    """For Japanese accounting packages: cp932 (Windows' Shift_JIS), Japanese titles, totals."""
    return CsvPen(report, out, encoding="cp932", for_people=True)


def harmless(text: str) -> str:
    """A text that no spreadsheet runs."""
    return f"'{text}" if is_formula(text) else text


def encoded(text: str, encoding: str) -> bytes:
    """A text's bytes; in cp932 look-alikes take the place of what it lacks, then the geta."""
    if encoding != "cp932":
        return text.encode(encoding)
    text = text.translate(_ALIKE)
    try:
        return text.encode("cp932")
    except UnicodeEncodeError:
        return b"".join(_character(each) for each in text)


def _character(each: str) -> bytes:
    try:
        return each.encode("cp932")
    except UnicodeEncodeError:
        return MISSING.encode("cp932")
