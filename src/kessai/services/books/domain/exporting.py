"""Journals on their way out of the books: what the journal forms (弥生, Beancount, hledger) are written from."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeAlias

Balances: TypeAlias = dict[tuple[str, str], int]
"""By account and asset, debit (借方) positive."""

ROOTS = {
    "asset": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expense": "Expenses",
}
"""What plain-text accounting calls the sections of a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedAccount:
    """An account of the chart, by its names."""

    code: str
    name: str
    name_ja: str
    section: str
    """One of ROOTS."""

    @property
    def is_yearly(self) -> bool:
        """Whether it begins each fiscal year at zero."""
        return self.section in ("income", "expense")

    @property
    def path(self) -> str:
        """Its place in a hierarchy, in ASCII: `Assets:1110-Ordinary-Deposit`."""
        words = re.findall(r"[A-Za-z0-9]+", f"{self.code} {self.name}")
        return f"{ROOTS[self.section]}:{'-'.join(word[0].upper() + word[1:] for word in words)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoucherLine:
    """One entry; `amount` is signed, debit positive."""

    account: str
    asset: str
    amount: int
    tax_code: str
    account_type: str
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """One journal (仕訳) with its lines."""

    journal_id: str
    source: str
    kind: str
    booked_on: date
    event_on: date
    description: str
    merchant: str | None
    product: str | None
    payment_id: str | None
    processing_id: str | None
    exchange_id: str | None
    reverses: str | None
    lines: tuple[VoucherLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalBook:
    """The journals of some days, read once, and what the running totals say beside them."""

    since: date
    until: date
    accounts: tuple[ExportedAccount, ...]
    """Those with a balance or a movement, by code."""
    opening: Balances
    """Before the first day, earlier fiscal years' incomes and expenses carried to retained earnings."""
    standings: tuple[tuple[date, Balances], ...]
    """At the end of each month in the range, and of its last day: from the running totals, not from the journals."""
    chunks: AsyncIterator[list[Voucher]]


def month_ends(since: date, until: date) -> list[date]:
    """The last days of the months in a range, and its own last day."""
    days: list[date] = []
    day = since
    while day < until:
        last = day.replace(day=monthrange(day.year, day.month)[1])
        days.append(min(last, until))
        day = last + timedelta(days=1)
    return days if days and days[-1] == until else [*days, until]
