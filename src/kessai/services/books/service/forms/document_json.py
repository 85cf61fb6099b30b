"""A report as one JSON document, row after row: what a page or a program needs to show it."""

from __future__ import annotations

from typing import BinaryIO

import msgspec

from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.domain.table import Cell, Kind, Report, Row
from kessai.services.books.service.forms import Pen


class JsonPen(Pen):
    """Rows are arrays in the order of `columns`; amounts are whole minor units, `exponents` says how many decimals."""

    def __init__(self, report: Report, out: BinaryIO) -> None:
        self._out = out
        self._encode = msgspec.json.Encoder(decimal_format="string").encode
        self._first = True
        head = self._encode(_head(report))
        self._tail = self._encode({"totals": report.totals, "facts": [_fact(*each) for each in report.facts]})
        out.write(head[:-1] + b',"rows":[')

    def rows(self, rows: list[Row]) -> None:
        """Write some rows."""
        if rows:
            text = self._encode(rows)[1:-1]
            self._out.write(text if self._first else b"," + text)
            self._first = False

    def close(self) -> None:
        """End the document with totals and facts."""
        self._out.write(b"]," + self._tail[1:] + b"\n")


def _head(report: Report) -> dict[str, object]:
    return {
        "name": report.name,
        "title": report.title,
        "title_ja": report.title_ja,
        "since": report.since,
        "until": report.until,
        "basis": report.basis,
        "exponents": ASSET_EXPONENTS,
        "columns": [
            {"name": c.name, "title": c.title, "title_ja": c.title_ja, "kind": c.kind}
            | ({"asset": c.asset} if c.kind is Kind.MONEY else {})
            | ({"asset_in": c.asset_in} if c.asset_in else {})
            for c in report.columns
        ],
    }


def _fact(label: str, label_ja: str, value: Cell) -> dict[str, object]:
    return {"label": label, "label_ja": label_ja, "value": value}
