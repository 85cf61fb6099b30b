"""Files for the simulated bank, and a bank whose time is told by the test."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from kessai.sdk import zengin
from kessai.simulators.bank import Books
from kessai.simulators.bank.books import CLIENT_BALANCE
from kessai.simulators.bank.lines import Account
from tests.sdk.zengin.samples import header, line

TOKYO = ZoneInfo("Asia/Tokyo")
DAY = date(2026, 4, 30)
SENT = datetime(2026, 4, 28, 10, tzinfo=TOKYO)
OPEN = datetime(2026, 4, 30, 9, tzinfo=TOKYO)
HOLDER = "ﾔﾏﾀﾞ ﾀﾛｳ"


class Hours:
    """The bank's clock."""

    def __init__(self) -> None:
        self.at = SENT

    def __call__(self) -> datetime:
        return self.at

    def to(self, day: date, hour: int = 9) -> None:
        """It is that hour of that day in Tokyo."""
        self.at = datetime(day.year, day.month, day.day, hour, tzinfo=TOKYO)

    def pass_(self, **words: float) -> None:
        """Time goes by."""
        self.at += timedelta(**words)


def account(number: str) -> Account:
    """An account at a bank, ordinary and Mr Yamada's."""
    return Account(bank_code="0009", branch_code="123", deposit_type="ordinary", number=number, holder=HOLDER)


def payments(*numbers: str, amount: int = 1_000, **other: Any) -> bytes:
    """A file with one line for each account; the first pays `amount`, the next one more yen."""
    lines = [
        line(account_number=number, amount=amount + n, customer_code_1=f"{n + 1:010d}")
        for n, number in enumerate(numbers)
    ]
    return zengin.write(header(**other), lines)


def debits(*numbers: str, amount: int = 1_000) -> bytes:
    """A debit file with one line for each account."""
    return payments(*numbers, amount=amount, kind=zengin.Kind.DEBIT)


def opened(hours: Hours, *numbers: str, path: Path | None = None) -> Books:
    """Books with these accounts, each with a mandate."""
    books = Books(hours, path)
    for number in numbers:
        books.check(account(number))
        books.agree(f"mandate of {number}", account(number))
    return books


def require_kept(books: Books) -> None:
    """The bank has neither lost nor made money, and its statement says so, day by day."""
    assert books.total == CLIENT_BALANCE + books.brought_in
    assert books.client_balance == CLIENT_BALANCE + sum(each.amount for each in books.statement())
    closing = CLIENT_BALANCE
    for day in sorted({each.date for each in books.statement()}):
        assert books.opening(day) == closing
        closing += books.moved(day)
    assert closing == books.client_balance
