"""A report as PDF to be signed: title, period, basis in law, boxes for three signatures, titles on every page.

Japanese is set in one of the faces that every viewer brings for Adobe-Japan1 (平成角ゴシック); no font file is needed.
Latin letters and figures are half as wide as kanji in it, so that columns of figures stand.
"""

from __future__ import annotations

import hashlib
import unicodedata
from importlib import import_module
from typing import Any, BinaryIO

from kessai.foundation.errors import Refused
from kessai.services.books.domain.table import Kind, Report, Row
from kessai.services.books.service.forms import Pen
from kessai.services.books.service.forms.cells import Layout, fact_text, made_at, period

ROWS_MAX = 200_000
"""Pages are kept in memory until the file is written: a report with more rows is no document for signature."""
SIGNERS = ("作成者", "確認者", "承認者")
FACE = "HeiseiKakuGo-W5"
MISSING = "〓"
_A4, _A3 = (841.89, 595.28), (1190.55, 841.89)  # landscape, in points
_A4_COLUMNS_MAX = 10
_MARGIN, _FOOT = 36.0, 40.0
_SIZE, _LINE, _PADDING = 7.5, 10.0, 3.0
_BOX, _BOX_HEIGHT, _LABEL_HEIGHT = 64.0, 62.0, 14.0
_LINES_MAX = 40
_MEASURED_ROWS = 200
"""By so many rows the columns are measured before the first page is drawn."""
_RIGHT = (Kind.MONEY, Kind.INTEGER, Kind.RATE)


class PdfPen(Pen):
    """Draws rows from the top of a page to its foot, then goes on with the next."""

    def __init__(self, report: Report, out: BinaryIO) -> None:
        self._report, self._layout = report, Layout(report)
        self._rows = self._pages = 0
        self._width, self._height = _A4 if len(report.columns) <= _A4_COLUMNS_MAX else _A3
        self._canvas = _canvas(report, out, (self._width, self._height))
        self._titles = [column.title_ja for column in report.columns]
        self._edges: list[float] = []
        self._waiting: list[list[str]] = []

    def rows(self, rows: list[Row]) -> None:
        """Draw some rows; Refused `report_too_large` past what a document for signature may hold."""
        self._rows += len(rows)
        if self._rows > ROWS_MAX:
            raise Refused("report_too_large", f"A PDF takes {ROWS_MAX:,} rows at most; take CSV, Excel or Parquet.")
        self._waiting += [self._layout.shown(row) for row in rows]
        if len(self._waiting) >= _MEASURED_ROWS or self._edges:
            self._draw_waiting()

    def close(self) -> None:
        """Draw the totals, number the pages and write the file."""
        self._draw_waiting()
        for row in self._report.totals:
            self._draw(self._layout.shown(row), shade=0.93)
        self._canvas.line(_MARGIN, self._y, self._width - _MARGIN, self._y)
        self._canvas.showPage()
        self._canvas.beginForm("pages")
        self._font(_SIZE)
        self._canvas.drawString(self._width / 2, _FOOT - 18, f"/ {self._pages}")
        self._canvas.endForm()
        self._canvas.save()

    def _draw_waiting(self) -> None:
        if not self._edges:
            totals = [self._layout.shown(row) for row in self._report.totals]
            self._edges = _edges([self._titles, *self._waiting[:_MEASURED_ROWS], *totals], self._width)
            self._begin_page()
        for texts in self._waiting:
            self._draw(texts)
        self._waiting.clear()

    # -- pages --------------------------------------------------------------------------------------------------

    def _begin_page(self) -> None:
        self._pages += 1
        self._y = self._height - _MARGIN
        if self._pages == 1:
            self._head()
        else:
            self._text(_MARGIN, self._y - 8, f"{self._report.title_ja} {period(self._report)}", _SIZE)
            self._y -= 14
        self._foot()
        self._draw(self._titles, shade=0.88)

    def _head(self) -> None:
        report, top = self._report, self._y
        self._text(_MARGIN, top - 16, report.title_ja, 16)
        self._text(_MARGIN, top - 30, report.title, 9)
        lines = [f"期間  {period(report)}"] + ([f"根拠  {report.basis}"] if report.basis else [])
        lines += [f"{label_ja}  {fact_text(value)}" for _, label_ja, value in report.facts]
        y = top - 46
        for line in lines:
            self._text(_MARGIN, y, line, 9)
            y -= 13
        self._signatures(top)
        self._y = min(y, top - _BOX_HEIGHT - _LABEL_HEIGHT) - 6

    def _signatures(self, top: float) -> None:
        for index, signer in enumerate(SIGNERS):
            x = self._width - _MARGIN - _BOX * (len(SIGNERS) - index)
            self._canvas.rect(x, top - _LABEL_HEIGHT, _BOX, _LABEL_HEIGHT)
            self._canvas.rect(x, top - _LABEL_HEIGHT - _BOX_HEIGHT, _BOX, _BOX_HEIGHT)
            self._text(x + (_BOX - _wide(signer, 8)) / 2, top - _LABEL_HEIGHT + 4, signer, 8)

    def _foot(self) -> None:
        page = f"{self._pages} "
        self._text(self._width / 2 - _wide(page, _SIZE), _FOOT - 18, page, _SIZE)
        self._canvas.doForm("pages")  # the number of all pages, which is known at the end

    # -- rows ---------------------------------------------------------------------------------------------------

    def _draw(self, texts: list[str], shade: float | None = None) -> None:
        widths = [right - left - 2 * _PADDING for left, right in zip(self._edges, self._edges[1:], strict=False)]
        cells = [_wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
        height = max(len(each) for each in cells) * _LINE + _PADDING
        if self._y - height < _FOOT:
            self._canvas.showPage()
            self._begin_page()
        if shade is not None:
            self._canvas.setFillGray(shade)
            self._canvas.rect(_MARGIN, self._y - height, self._width - 2 * _MARGIN, height, stroke=0, fill=1)
            self._canvas.setFillGray(0)
        self._canvas.line(_MARGIN, self._y, self._width - _MARGIN, self._y)
        self._font(_SIZE)
        for index, lines in enumerate(cells):
            self._cell(index, lines)
        self._y -= height

    def _cell(self, index: int, lines: list[str]) -> None:
        left, right = self._edges[index], self._edges[index + 1]
        flush_right = self._layout.columns[index].kind in _RIGHT
        for number, line in enumerate(lines):
            if line:
                x = right - _PADDING - _wide(line, _SIZE) if flush_right else left + _PADDING
                self._canvas.drawString(x, self._y - _LINE * (number + 1) + 1.5, line)

    def _text(self, x: float, y: float, text: str, size: float) -> None:
        self._font(size)
        self._canvas.drawString(x, y, _drawable(text))

    def _font(self, size: float) -> None:
        self._canvas.setFont(FACE, size)


def _canvas(report: Report, out: BinaryIO, page: tuple[float, float]) -> Any:
    # reportlab comes without types.
    metrics, fonts = import_module("reportlab.pdfbase.pdfmetrics"), import_module("reportlab.pdfbase.cidfonts")
    if FACE not in metrics.getRegisteredFontNames():
        metrics.registerFont(fonts.UnicodeCIDFont(FACE, isHalfWidth=True))
    canvas: Any = import_module("reportlab.pdfgen.canvas").Canvas(out, pagesize=page, invariant=1)
    canvas.setTitle(f"{report.title_ja} {period(report)}")
    canvas.setSubject(report.basis or report.title)
    canvas.setAuthor("kessai")
    canvas.setCreator("kessai")
    canvas.setLineWidth(0.4)
    made = made_at(report)
    document = canvas._doc  # the library takes a file's date and identity from its own clock
    document.signature = hashlib.sha256(f"{report.name} {made.isoformat()}".encode())
    stamp = document._timeStamp
    stamp.t, stamp.lt, stamp.YMDhms = made.timestamp(), made.timetuple(), made.timetuple()[:6]
    stamp.dhh, stamp.dmm, stamp.tzname = 9, 0, "JST"
    return canvas


def _edges(rows: list[list[str]], width: float) -> list[float]:
    """Where columns begin and end, from the left margin to the right: as wide as their texts, if they all fit."""
    needs = [max(_wide(text, _SIZE) for text in texts) + 2 * _PADDING + 1 for texts in zip(*rows, strict=True)]
    room = width - 2 * _MARGIN
    widest = _widest(needs, room)
    widths = [min(need, widest) for need in needs]
    edges = [_MARGIN]
    for each in widths:
        edges.append(edges[-1] + each * room / sum(widths))
    return edges


def _widest(needs: list[float], room: float) -> float:
    """How wide a column may be at most so that all have room: narrow ones keep theirs, wide ones share the rest."""
    for taken, need in enumerate(sorted(needs)):
        share = room / (len(needs) - taken)
        if need > share:
            return share
        room -= need
    return max(needs)


def _wide(text: str, size: float) -> float:
    """How wide a text is: half the size for a Latin letter, the whole for a kanji."""
    if text.isascii():
        return len(text) * size / 2
    return sum(_half(each) for each in text) * size / 2


def _half(each: str) -> int:
    return 2 if unicodedata.east_asian_width(each) in "WFA" else 1


def _wrapped(text: str, width: float) -> list[str]:
    """A text in lines that fit; nothing is left out unless it takes more lines than half a page has."""
    text = _drawable(text)
    if _wide(text, _SIZE) <= width:
        return [text]
    lines, line, used, room = list[str](), "", 0.0, max(width, _SIZE)
    for each in text:
        step = _half(each) * _SIZE / 2
        if used + step > room:
            lines, line, used = [*lines, line], "", 0.0
        line, used = line + each, used + step
    lines.append(line)
    return lines if len(lines) <= _LINES_MAX else [*lines[: _LINES_MAX - 1], "…"]


def _drawable(text: str) -> str:
    """A text of one line in the characters of the face's encoding (UCS-2)."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(" " if not each.isprintable() else each if ord(each) < 0x10000 else MISSING for each in text)
