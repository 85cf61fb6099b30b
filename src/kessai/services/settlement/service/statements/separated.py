"""A statement as CSV: UTF-8 with a byte order mark, as spreadsheets in Japan expect it."""

from __future__ import annotations

import csv
import io

from kessai.services.settlement.api.statements import ClaimInvoice, Statement
from kessai.services.settlement.service.statements import words

BYTE_ORDER_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def csv_text(of: Statement | ClaimInvoice) -> str:
    """Heading, figures, taxes, then the days."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    statement = of if isinstance(of, Statement) else None
    writer.writerow([words.INVOICE if statement is None else words.STATEMENT])
    for name, value in [*words.heading(of), *words.figures(of)]:
        writer.writerow([name, _safe(value)])
    if statement is not None:
        writer.writerows(_table(words.TAXES, words.tax_rows(statement)))
        if statement.returns:
            writer.writerows(_table(words.RETURNS, words.return_rows(statement)))
        writer.writerows(_table(words.LINES, words.lines(statement)))
    return BYTE_ORDER_MARK + out.getvalue()


def _table(titles: tuple[str, ...], rows: list[list[words.Cell]]) -> list[list[str | int]]:
    return [[], [*titles], *([_safe(cell) for cell in row] for row in rows)]


def _safe(cell: words.Cell) -> str | int:
    """A text that a spreadsheet would take for a formula begins with an apostrophe."""
    if isinstance(cell, int):
        return cell
    text = str(cell)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text[:1].isspace() else text
