"""A report as Parquet: row group after row group; amounts are int64 of minor units, totals and facts in the footer."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any, BinaryIO

import msgspec

from kessai.foundation.errors import Refused
from kessai.services.books.domain.table import Cell, Column, Kind, Report, Row
from kessai.services.books.service.forms import Pen
from kessai.services.books.service.forms.cells import exponent_of

GROUP_ROWS = 65_536


class ParquetPen(Pen):
    """Rows gather until they fill a row group."""

    def __init__(self, report: Report, out: BinaryIO, *, group_rows: int = GROUP_ROWS) -> None:
        # pyarrow comes without types.
        self._arrow: Any = import_module("pyarrow")
        self._columns = report.columns
        self._group_rows = group_rows
        self._waiting: list[Row] = []
        self._schema = self._arrow.schema([self._field(each) for each in report.columns], metadata=_about(report))
        writer = import_module("pyarrow.parquet").ParquetWriter
        self._writer: Any = writer(out, self._schema, compression="zstd", store_schema=True)

    def rows(self, rows: list[Row]) -> None:
        """Write some rows."""
        self._waiting += rows
        while len(self._waiting) >= self._group_rows:
            self._group(self._waiting[: self._group_rows])
            del self._waiting[: self._group_rows]

    def close(self) -> None:
        """Write what still waits, and the footer."""
        if self._waiting:
            self._group(self._waiting)
        self._writer.close()

    def abandon(self) -> None:
        """Leave it unfinished."""
        self._writer.is_open = False  # else it would write a footer when it is collected

    def _group(self, rows: list[Row]) -> None:
        try:
            arrays = [
                self._arrow.array([_value(row[i]) for row in rows], type=self._schema.field(i).type)
                for i in range(len(self._columns))
            ]
        except OverflowError as error:
            raise Refused("amount_out_of_form", "An amount does not fit into 64 bits.") from error
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema), len(rows))

    def _field(self, column: Column) -> Any:
        arrow = self._arrow
        kinds = {
            Kind.TEXT: arrow.string(),
            Kind.RATE: arrow.string(),
            Kind.MONEY: arrow.int64(),
            Kind.INTEGER: arrow.int64(),
            Kind.DATE: arrow.date32(),
            Kind.INSTANT: arrow.timestamp("us", tz="UTC"),
        }
        about = {"title": column.title, "title_ja": column.title_ja, "kind": column.kind.value}
        if column.kind is Kind.MONEY:
            about |= {"asset": column.asset, "exponent": str(exponent_of(column.asset))}
        if column.asset_in:
            about |= {"asset_in": column.asset_in}
        return arrow.field(column.name, kinds[column.kind], metadata=about)


def _value(cell: Cell) -> Cell:
    return cell.astimezone(UTC) if isinstance(cell, datetime) else cell


def _about(report: Report) -> dict[str, str]:
    """What the footer says of the whole: names, days, totals and facts as JSON."""
    head = {
        "name": report.name,
        "title": report.title,
        "title_ja": report.title_ja,
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "basis": report.basis,
        "totals": msgspec.json.encode(report.totals).decode(),
        "facts": msgspec.json.encode(report.facts).decode(),
    }
    return {f"kessai.{name}": value for name, value in head.items()}
