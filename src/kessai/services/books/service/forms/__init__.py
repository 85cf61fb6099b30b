"""Reports and journals as files: each form is written chunk by chunk, and gives the same bytes for the same report.

What a form is made of is loaded when it is first asked for: the libraries behind them are large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol

from kessai.services.books.domain.table import Report, Row


class Pen(Protocol):
    """A form that is being written. It has written its head when it is made."""

    def rows(self, rows: list[Row]) -> None:
        """Write some rows, in order."""
        ...

    def close(self) -> None:
        """Write what comes after the rows."""
        ...

    def abandon(self) -> None:
        """Leave it unfinished, and nothing behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form a report may take."""

    name: str
    """What it is asked for by."""
    suffix: str
    media_type: str
    maker: str
    """`module:function` of what makes its pen."""
    text: bool = False
    """Whether it is UTF-8 text; otherwise a door carries it as base64."""

    def open(self, report: Report, out: BinaryIO) -> Pen:
        """Begin to write a report."""
        module, _, name = self.maker.partition(":")
        make: Callable[[Report, BinaryIO], Pen] = getattr(import_module(f"{__name__}.{module}"), name)
        return make(report, out)


_CSV = "text/csv; charset="
_PARQUET = "application/vnd.apache.parquet"
_EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form(name="json", suffix=".json", media_type="application/json", maker="document_json:JsonPen", text=True),
        Form(name="csv", suffix=".csv", media_type=f"{_CSV}utf-8", maker="separated:plain_csv", text=True),
        Form(name="csv_bom", suffix=".csv", media_type=f"{_CSV}utf-8", maker="separated:marked_csv"),
        Form(name="csv_cp932", suffix=".csv", media_type=f"{_CSV}windows-31j", maker="separated:cp932_csv"),
        Form(name="xlsx", suffix=".xlsx", media_type=_EXCEL, maker="workbook:WorkbookPen"),
        Form(name="pdf", suffix=".pdf", media_type="application/pdf", maker="signed_pdf:PdfPen"),
        Form(name="parquet", suffix=".parquet", media_type=_PARQUET, maker="columnar:ParquetPen"),
    )
}  # fmt: skip


async def write(form: Form, report: Report, out: BinaryIO, told: Callable[[int], None] | None = None) -> int:
    """Write a report, beside the event loop; gives the number of rows. `told` hears of it after each chunk."""
    pen, count = await asyncio.to_thread(form.open, report, out), 0
    try:
        async for chunk in report.chunks:
            await asyncio.to_thread(pen.rows, chunk)
            count += len(chunk)
            if told is not None:
                told(count)
        await asyncio.to_thread(pen.close)
    except BaseException:
        pen.abandon()
        raise
    return count


def file_name(form: Form, report: Report) -> str:
    """A file's name: `trial_balance_2026-04-01_2026-04-30.pdf`."""
    days = str(report.until) if report.since == report.until else f"{report.since}_{report.until}"
    return f"{report.name}_{days}{form.suffix}"
