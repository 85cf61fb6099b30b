"""Messages of what the running totals and the accounts say: trial balance, statements, ledgers of accounts, tax.

Amounts are whole minor units of their asset; a balance is positive on the debit side (借方) unless it says otherwise.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec

from kessai.foundation.contract import Asset, Message, PageLimit

MONTHS_MAX = 36

Month = Annotated[
    str, msgspec.Meta(pattern=r"^(19|20|21)[0-9]{2}-(0[1-9]|1[0-2])$", description="a month, e.g. 2026-11")
]
AccountCode = Annotated[str, msgspec.Meta(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z_.-]+$")]
Cursor = Annotated[str, msgspec.Meta(max_length=512)]


class GetTrialBalance(Message):
    """A trial balance (合計残高試算表) of a month, or of a range of days."""

    month: Month | None = None
    since: date | None = None
    until: date | None = None


class BalanceLine(Message):
    """One account in one asset. `closing = opening + debit − credit`."""

    account: str
    name: str
    name_ja: str
    section: str
    """asset, liability, equity, income or expense."""
    asset: str
    opening_minor: int
    """Of incomes and expenses: since the fiscal year began."""
    debit_minor: int
    credit_minor: int
    closing_minor: int


class AssetSum(Message):
    """The sums of all accounts in one asset; opening and closing are zero, debit and credit equal."""

    asset: str
    opening_minor: int
    debit_minor: int
    credit_minor: int
    closing_minor: int


class TrialBalance(Message):
    """Accounts with a balance or a movement, by code; earlier years' profits stand in retained earnings."""

    since: date
    until: date
    lines: list[BalanceLine]
    sums: list[AssetSum]


class GetAccountLedger(Message):
    """The general ledger (総勘定元帳) of one account in one asset; `cursor` comes from the page before."""

    account: AccountCode
    since: date
    until: date
    asset: Asset = "JPY"
    limit: PageLimit = 100
    cursor: Cursor | None = None


class LedgerLine(Message):
    """One entry, and the account's balance after it."""

    journal_id: str
    line: int
    booked_on: date
    event_on: date
    source: str
    kind: str
    description: str
    against: str
    """The other account; `sundry` (諸口) where there are several."""
    tax_code: str
    debit_minor: int
    credit_minor: int
    balance_minor: int


class AccountLedger(Message):
    """A page of an account's entries; `next_cursor` is None on the last one."""

    account: str
    name: str
    name_ja: str
    section: str
    asset: str
    opening_minor: int
    """Before the range, as the trial balance of the same days opens."""
    closing_minor: int
    """At the end of the range."""
    lines: list[LedgerLine]
    next_cursor: str | None = None


class GetBalanceSheet(Message):
    """A balance sheet (貸借対照表) at the end of each of some months."""

    since: Month
    until: Month | None = None
    """None: `since` alone."""
    asset: Asset = "JPY"


class GetIncomeStatement(Message):
    """An income statement (損益計算書) of each of some months."""

    since: Month
    until: Month | None = None
    asset: Asset = "JPY"


class SheetLine(Message):
    """One account, an amount a month; positive on its section's own side."""

    account: str
    """Empty: what is computed, not booked (the current year's profit)."""
    name: str
    name_ja: str
    section: str
    amounts_minor: list[int]


class BalanceSheet(Message):
    """Assets = liabilities + equity, in every month."""

    asset: str
    days: list[date]
    """The last day of each month."""
    lines: list[SheetLine]
    assets_minor: list[int]
    liabilities_minor: list[int]
    equity_minor: list[int]


class IncomeStatement(Message):
    """Incomes less expenses, in every month."""

    asset: str
    months: list[str]
    lines: list[SheetLine]
    income_minor: list[int]
    expense_minor: list[int]
    profit_minor: list[int]


class GetConsumptionTax(Message):
    """Consumption tax by code over some days."""

    since: date
    until: date


class TaxLine(Message):
    """One tax code: what was sold (課税売上) or bought (課税仕入) under it, less what was taken back."""

    tax_code: str
    name_ja: str
    direction: str
    """output (売上) or input (仕入)."""
    rate: str
    net_minor: int
    """Without the tax."""
    tax_minor: int
    gross_minor: int


class ConsumptionTax(Message):
    """By tax code; what is to be paid is the output tax less the input tax."""

    since: date
    until: date
    lines: list[TaxLine]
    output_tax_minor: int
    input_tax_minor: int
    payable_minor: int
