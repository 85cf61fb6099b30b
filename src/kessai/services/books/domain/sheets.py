"""Trial balance, balance sheet and income statement from sums of the accounts.

Incomes and expenses begin each fiscal year at zero; what earlier years earned stands in retained earnings
(繰越利益剰余金), computed, not booked. So on any day debits equal credits, and assets equal liabilities and equity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from kessai.services.books.domain.accruals import FiscalYear
from kessai.services.books.domain.chart import Account, Section

PROFIT_OF_THE_YEAR = ("Profit of the year", "当期純利益")

Accounts = Mapping[str, Account]
"""By code: every account that was ever in the chart."""
Movements = Sequence[tuple[str, date, int]]
"""Account, month, what that month added to it (debit positive), in one asset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSum:
    """One account in one asset over some days; balances are positive on the debit side."""

    account: str
    asset: str
    opening: int
    earlier: int = 0
    """Of `opening`, what was booked before the fiscal year."""
    debit: int = 0
    credit: int = 0

    @property
    def closing(self) -> int:
        """At the end of the days."""
        return self.opening + self.debit - self.credit


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a sheet: an amount a month, positive on its section's own side. Without account: computed."""

    account: str
    name: str
    name_ja: str
    section: Section
    amounts: tuple[int, ...]


def trial_balance(sums: Iterable[AccountSum], chart: Accounts, retained: str) -> list[AccountSum]:
    """The sums by code and asset, earlier years' incomes and expenses carried to retained earnings; none that is zero.

    An account that has left the chart is taken as it stands in its books: nothing is carried.
    """
    rows: dict[tuple[str, str], AccountSum] = {}
    carried: defaultdict[str, int] = defaultdict(int)
    for each in sums:
        row = each
        if _is_yearly(chart, each.account):
            carried[each.asset] += each.earlier
            row = replace(each, opening=each.opening - each.earlier, earlier=0)
        rows[each.account, each.asset] = row
    for asset, amount in carried.items():
        before = rows.get((retained, asset), AccountSum(account=retained, asset=asset, opening=0))
        rows[retained, asset] = replace(before, opening=before.opening + amount)
    return [rows[key] for key in sorted(rows) if rows[key].opening or rows[key].debit or rows[key].credit]


def yearly(chart: Accounts) -> list[str]:
    """Incomes and expenses: they begin each fiscal year at zero."""
    return [code for code in chart if _is_yearly(chart, code)]


def ends_of(
    account: str, found: Mapping[str, tuple[int, int, int]], chart: Accounts, retained: str
) -> tuple[int, int]:  # fmt: skip
    """An account's balance before some days and after them, as a trial balance of these days has it.

    `found`: balances before the fiscal year, before the days and after them; for `retained` of all `yearly` ones, too.
    """
    earlier, opening, closing = found.get(account, (0, 0, 0))
    if _is_yearly(chart, account):
        return opening - earlier, closing - earlier
    carried = sum(each[0] for code, each in found.items() if code != account) if account == retained else 0
    return opening + carried, closing + carried


def _is_yearly(chart: Accounts, account: str) -> bool:
    return account in chart and not chart[account].section.on_balance_sheet


def sums_of(rows: Iterable[AccountSum]) -> list[AccountSum]:
    """One sum an asset; `account` is empty."""
    found: dict[str, AccountSum] = {}
    for each in rows:
        had = found.get(each.asset, AccountSum(account="", asset=each.asset, opening=0))
        found[each.asset] = replace(
            had, opening=had.opening + each.opening, debit=had.debit + each.debit, credit=had.credit + each.credit
        )
    return [found[asset] for asset in sorted(found)]


def balance_sheet(movements: Movements, chart: Accounts, year: FiscalYear, months: Sequence[date]) -> list[Line]:
    """Assets, liabilities and equity at the end of each month; the last line is the current year's profit so far.

    `movements` begin with the books; `months` are consecutive.
    """
    standing: dict[str, list[int]] = {}
    retained, profit = [0] * len(months), [0] * len(months)
    for account, booked, amount in movements:
        if _is_yearly(chart, account):
            for number, month in enumerate(months):
                if booked <= month:
                    into = profit if booked >= year.start_of(month) else retained
                    into[number] -= amount
            continue
        amounts = standing.setdefault(account, [0] * len(months))
        for number, month in enumerate(months):
            if booked <= month:
                amounts[number] += amount
    kept = standing.setdefault(year.retained_earnings, [0] * len(months))
    standing[year.retained_earnings] = [had - earned for had, earned in zip(kept, retained, strict=True)]
    name, name_ja = PROFIT_OF_THE_YEAR
    computed = Line(account="", name=name, name_ja=name_ja, section=Section.EQUITY, amounts=tuple(profit))
    return [*_lines(standing, chart), computed]


def income_statement(movements: Movements, chart: Accounts, months: Sequence[date]) -> list[Line]:
    """Incomes and expenses of each month."""
    places = {month: number for number, month in enumerate(months)}
    found: dict[str, list[int]] = {}
    for account, month, amount in movements:
        if month in places and _is_yearly(chart, account):
            found.setdefault(account, [0] * len(months))[places[month]] += amount
    return _lines(found, chart)


def _lines(amounts: Mapping[str, Sequence[int]], chart: Accounts) -> list[Line]:
    lines = [_line(account, amounts[account], chart) for account in amounts if any(amounts[account])]
    return sorted(lines, key=lambda line: (list(Section).index(line.section), line.account))


def _line(account: str, amounts: Sequence[int], chart: Accounts) -> Line:
    """What has left the chart is shown among the assets, under its code: it must not vanish."""
    known = chart.get(account)
    section = Section.ASSET if known is None else known.section
    sign = 1 if section.debit_side else -1
    return Line(
        account=account,
        name=account if known is None else known.name,
        name_ja=account if known is None else known.name_ja,
        section=section,
        amounts=tuple(sign * amount for amount in amounts),
    )


def total_of(lines: Iterable[Line], section: Section, months: int) -> list[int]:
    """The sum of a section, a month each."""
    totals = [0] * months
    for line in lines:
        if line.section is section:
            totals = [had + amount for had, amount in zip(totals, line.amounts, strict=True)]
    return totals
