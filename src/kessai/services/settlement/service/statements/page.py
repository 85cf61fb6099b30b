"""A statement or invoice as PDF, on A4 pages, drawn with a face that every viewer brings for Japanese.

The same statement gives the same bytes: the file's date is the day it was issued.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from datetime import UTC, datetime, time
from importlib import import_module
from typing import Any

from kessai.services.settlement.api.statements import ClaimInvoice, Statement
from kessai.services.settlement.service.statements import words

FACE = "HeiseiKakuGo-W5"
MISSING = "〓"
_WIDTH, _HEIGHT = 595.28, 841.89
_MARGIN, _FOOT = 40.0, 46.0
_SIZE, _LINE = 7.5, 11.0
_FIGURES_WIDTH = 300.0
_LINE_WIDTHS = (46, 92, 46, 52, 46, 48, 46, 42, 54, 26, 17)
_TAX_WIDTHS = (60, 80, 80, 80)
_RETURN_WIDTHS = (60, 60, 60, 60, 110, 110)


def pdf_bytes(of: Statement | ClaimInvoice) -> bytes:
    """The file."""
    out = io.BytesIO()
    page = _Page(of, out)
    page.head()
    page.pairs(words.figures(of), _FIGURES_WIDTH)
    if isinstance(of, Statement):
        page.table(words.TAXES, words.tax_rows(of), _TAX_WIDTHS)
        if of.returns:
            page.table(words.RETURNS, words.return_rows(of), _RETURN_WIDTHS)
        page.table(words.LINES, words.lines(of), _LINE_WIDTHS)
    page.close()
    return out.getvalue()


class _Page:
    """Draws from the top of a page to its foot, then goes on with the next."""

    def __init__(self, of: Statement | ClaimInvoice, out: io.BytesIO) -> None:
        self._of = of
        self._title = words.STATEMENT if isinstance(of, Statement) else words.INVOICE
        self._canvas = _canvas(self._title, of, out)
        self._y, self._pages = _HEIGHT - _MARGIN, 1

    def head(self) -> None:
        """Title, issuer, recipient, days."""
        self._text(_MARGIN, self._y - 14, self._title, 15)
        self._y -= 30
        self.pairs(words.heading(self._of), _FIGURES_WIDTH)

    def pairs(self, rows: list[tuple[str, words.Cell]], width: float) -> None:
        """Names and what belongs to them; amounts to the right."""
        for name, value in rows:
            self._room(_LINE)
            self._text(_MARGIN, self._y - 8, name, 8.5)
            shown = _shown(value)
            left = _MARGIN + 110
            x = _MARGIN + width - _wide(shown, 8.5) if isinstance(value, int) else left
            self._text(x, self._y - 8, shown, 8.5)
            self._y -= _LINE + 1
        self._y -= 8

    def table(self, titles: tuple[str, ...], rows: list[list[words.Cell]], widths: tuple[int, ...]) -> None:
        """A table, its titles again on each page."""
        self._row(list(titles), widths, shade=0.88)
        for row in rows:
            if self._y - _LINE < _FOOT:
                self._next()
                self._row(list(titles), widths, shade=0.88)
            self._row(row, widths)
        self._canvas.line(_MARGIN, self._y, _MARGIN + sum(widths), self._y)
        self._y -= 10

    def close(self) -> None:
        """Number the last page and write the file."""
        self._number()
        self._canvas.showPage()
        self._canvas.save()

    def _row(self, cells: list[words.Cell], widths: tuple[int, ...], shade: float | None = None) -> None:
        self._room(_LINE)
        if shade is not None:
            self._canvas.setFillGray(shade)
            self._canvas.rect(_MARGIN, self._y - _LINE, sum(widths), _LINE, stroke=0, fill=1)
            self._canvas.setFillGray(0)
        self._canvas.line(_MARGIN, self._y, _MARGIN + sum(widths), self._y)
        x = _MARGIN
        for cell, width in zip(cells, widths, strict=True):
            shown = _fitted(_shown(cell), width - 4)
            left = x + width - 2 - _wide(shown, _SIZE) if isinstance(cell, int) else x + 2
            self._text(left, self._y - _LINE + 3, shown, _SIZE)
            x += width
        self._y -= _LINE

    def _room(self, height: float) -> None:
        if self._y - height < _FOOT:
            self._next()

    def _next(self) -> None:
        self._number()
        self._canvas.showPage()
        self._pages += 1
        self._y = _HEIGHT - _MARGIN
        self._text(_MARGIN, self._y - 8, f"{self._title} {self._of.first_day} – {self._of.last_day}", _SIZE)
        self._y -= 16

    def _number(self) -> None:
        self._text(_WIDTH / 2 - 6, _FOOT - 22, f"- {self._pages} -", _SIZE)

    def _text(self, x: float, y: float, text: str, size: float) -> None:
        self._canvas.setFont(FACE, size)
        self._canvas.drawString(x, y, _drawable(text))


def _canvas(title: str, of: Statement | ClaimInvoice, out: io.BytesIO) -> Any:
    # reportlab comes without types.
    metrics, fonts = import_module("reportlab.pdfbase.pdfmetrics"), import_module("reportlab.pdfbase.cidfonts")
    if FACE not in metrics.getRegisteredFontNames():
        metrics.registerFont(fonts.UnicodeCIDFont(FACE, isHalfWidth=True))
    canvas: Any = import_module("reportlab.pdfgen.canvas").Canvas(out, pagesize=(_WIDTH, _HEIGHT), invariant=1)
    canvas.setTitle(f"{title} {of.first_day} – {of.last_day}")
    canvas.setAuthor(of.issuer.name)
    canvas.setCreator("kessai")
    canvas.setLineWidth(0.3)
    issued = datetime.combine(of.issued_on, time(), UTC)
    document = canvas._doc  # the library takes a file's date and identity from its own clock
    version = of.version if isinstance(of, Statement) else 1
    document.signature = hashlib.sha256(f"{of.cycle_id} {issued.isoformat()} {version}".encode())
    stamp = document._timeStamp
    stamp.t, stamp.lt, stamp.YMDhms = issued.timestamp(), issued.timetuple(), issued.timetuple()[:6]
    stamp.dhh, stamp.dmm, stamp.tzname = 9, 0, "JST"
    return canvas


def _shown(cell: words.Cell) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _fitted(text: str, width: float) -> str:
    while text and _wide(text, _SIZE) > width:
        text = text[:-2] + "…" if len(text) > 1 else ""
    return text


def _wide(text: str, size: float) -> float:
    """How wide a text is: half the size for a Latin letter, the whole for a kanji."""
    return sum(2 if unicodedata.east_asian_width(each) in "WFA" else 1 for each in text) * size / 2


def _drawable(text: str) -> str:
    """A text of one line in the characters of the face's encoding (UCS-2)."""
    return "".join(" " if not each.isprintable() else each if ord(each) < 0x10000 else MISSING for each in text)
