"""How a cell is written: plainly for programs, or as people read it; and what a form knows of a report's columns."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal

from kessai.foundation.clock import TOKYO
from kessai.foundation.errors import Refused
from kessai.foundation.money import ASSET_EXPONENTS, format_amount
from kessai.services.books.domain.table import Cell, Kind, Report, Row

NEGATIVE = "△"
"""How Japanese accounts print what is below zero."""
_NUMBER = re.compile(r"[+-]?\d[\d,.]*%?\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Layout:
    """A report's columns, and the asset in which each amount of a row stands."""

    def __init__(self, report: Report) -> None:
        self.columns = report.columns
        names = [column.name for column in report.columns]
        own = names.index("asset") if "asset" in names else None
        self._asset_at = [names.index(each.asset_in) if each.asset_in else own for each in report.columns]

    def asset(self, row: Row, index: int) -> str:
        """The asset of an amount: that of its row where the row names one, else that of its column."""
        at = self._asset_at[index]
        named = None if at is None else row[at]
        return named if named and isinstance(named, str) else self.columns[index].asset

    def plain(self, row: Row) -> list[str]:
        """A row's texts for programs."""
        return [plain(cell, self.columns[i].kind, self.asset(row, i)) for i, cell in enumerate(row)]

    def shown(self, row: Row) -> list[str]:
        """A row's texts for people."""
        return [shown(cell, self.columns[i].kind, self.asset(row, i)) for i, cell in enumerate(row)]


def plain(cell: Cell, kind: Kind, asset: str) -> str:
    """A cell for programs: `-1234.50`, `2026-04-01`, `2026-04-01T09:30:00+09:00`; nothing for None."""
    match cell:
        case None:
            return ""
        case int() if kind is Kind.MONEY:
            return decimal_text(cell, asset)
        case datetime():
            return cell.astimezone(TOKYO).isoformat()
        case date():
            return cell.isoformat()
        case _:
            return str(cell)


def shown(cell: Cell, kind: Kind, asset: str) -> str:
    """A cell for people: `△1,234.50`, `2026/04/01`, `2026/04/01 09:30:00`; nothing for None."""
    match cell:
        case None:
            return ""
        case int() if kind is Kind.MONEY:
            exponent_of(asset)
            return NEGATIVE * (cell < 0) + format_amount(abs(cell), asset)
        case int():
            return f"{NEGATIVE * (cell < 0)}{abs(cell):,}"
        case datetime():
            return f"{cell.astimezone(TOKYO):%Y/%m/%d %H:%M:%S}"
        case date():
            return f"{cell:%Y/%m/%d}"
        case str():
            return cell


def decimal_text(amount_minor: int, asset: str) -> str:
    """An amount as a decimal without grouping: `0.00010000` for 10,000 satoshi."""
    exponent = exponent_of(asset)
    return str(amount_minor) if exponent == 0 else f"{Decimal(amount_minor).scaleb(-exponent):.{exponent}f}"


def exponent_of(asset: str) -> int:
    """How many decimals an asset has; Refused `asset_out_of_form` of one that the platform does not know."""
    exponent = ASSET_EXPONENTS.get(asset)
    if exponent is None:
        raise Refused("asset_out_of_form", f"How many decimals {asset} has is not known.", asset=asset)
    return exponent


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would take a text for a formula; a number is none."""
    return text.startswith(_FORMULA) and not _NUMBER.match(text)


def period(report: Report) -> str:
    """The days a report covers, as its head names them."""
    since, until = (f"{day.year}年{day.month}月{day.day}日" for day in (report.since, report.until))
    return f"{until}現在" if report.since == report.until else f"{since} 〜 {until}"


def made_at(report: Report) -> datetime:
    """The instant that files name as their own: the end of the report's last day in Tokyo, whenever they are made."""
    return datetime(report.until.year, report.until.month, report.until.day, tzinfo=TOKYO) + timedelta(days=1)


def fact_text(cell: Cell) -> str:
    """A fact's figure for people: an int is yen."""
    return shown(cell, Kind.MONEY, "JPY") + ("円" if isinstance(cell, int) else "")
