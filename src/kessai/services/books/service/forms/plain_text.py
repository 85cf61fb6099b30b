"""Plain-text journals: one transaction a journal, and at each month's end the balances that must have come of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import date, timedelta
from typing import BinaryIO

from kessai.services.books.domain.exporting import Balances, JournalBook, Voucher


class PlainTextPen(ABC):
    """Writes journals in their order, and the balances from the running totals, for whoever reads to check."""

    left_out = 0

    def __init__(self, book: JournalBook, out: BinaryIO) -> None:
        self._out, self._book = out, book
        self._paths = {account.code: account.path for account in book.accounts}
        self._standings = list(book.standings)
        self._write(self._head())

    @property
    def assets(self) -> list[str]:
        """Those that the book knows, in order."""
        known = [*self._book.standings, (None, self._book.opening)]
        return sorted({asset for _, balances in known for _, asset in balances})

    def vouchers(self, vouchers: list[Voucher]) -> None:
        """Write some journals; before the first of a month, the balances at the end of the one before."""
        lines: list[str] = []
        for voucher in vouchers:
            lines += self._asserted(voucher.booked_on)
            lines += self._transaction(voucher)
        self._write(lines)

    def close(self) -> None:
        """Write the balances that are still to be asserted."""
        self._write(self._asserted(self._book.until + timedelta(days=1)))

    def _asserted(self, before: date) -> list[str]:
        lines: list[str] = []
        while self._standings and self._standings[0][0] < before:
            lines += self._balances(*self._standings.pop(0))
        return lines

    def _write(self, lines: Iterable[str]) -> None:
        self._out.write("".join(f"{line}\n" for line in lines).encode())

    @abstractmethod
    def _head(self) -> Iterable[str]: ...

    @abstractmethod
    def _transaction(self, voucher: Voucher) -> Iterable[str]: ...

    @abstractmethod
    def _balances(self, day: date, balances: Balances) -> Iterable[str]:
        """What must stand at the end of a day."""
