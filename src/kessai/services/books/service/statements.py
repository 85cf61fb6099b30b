"""What the running totals say: trial balance, balance sheet, income statement, consumption tax. No entry is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid
from kessai.services.books.api.statements import (
    AssetSum,
    BalanceLine,
    BalanceSheet,
    ConsumptionTax,
    GetBalanceSheet,
    GetConsumptionTax,
    GetIncomeStatement,
    GetTrialBalance,
    IncomeStatement,
    SheetLine,
    TaxLine,
    TrialBalance,
)
from kessai.services.books.domain import sheets, tax
from kessai.services.books.domain.accruals import Closing
from kessai.services.books.domain.chart import Account, Section
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.periods import month_end
from kessai.services.books.domain.posting import YEN
from kessai.services.books.domain.sheets import AccountSum, Line
from kessai.services.books.service.periods import month_named, require_months
from kessai.services.books.store import ROLE, totals


class StatementDesk:
    """Reads the totals, each statement in one transaction."""

    def __init__(self, database: Database, books: BooksConfig, closing: Closing) -> None:
        self._database = database
        self._accounts = books.chart.accounts
        self._rules = books.rules
        self._year = closing.fiscal_year

    async def trial_balance(self, request: GetTrialBalance) -> TrialBalance:
        """The trial balance of a month or of some days."""
        since, until = _days_of(request)
        rows = await self.balances(since, until)
        sums = sheets.sums_of(rows)
        return TrialBalance(
            since=since, until=until, lines=[self._balance(row) for row in rows], sums=[_sum(each) for each in sums]
        )

    async def balances(self, since: date, until: date) -> list[AccountSum]:
        """The rows of a trial balance."""
        year = self._year

        async def read(connection: Connection) -> list[AccountSum]:
            return await totals.account_sums(connection, since, until, year.start_of(since))

        sums = await self._database.transaction(ROLE, read)
        return sheets.trial_balance(sums, self._accounts, year.retained_earnings)

    async def ends(
        self, connection: Connection, account: str, asset: str, since: date, until: date
    ) -> tuple[int, int]:  # fmt: skip
        """An account's balance before some days and after them, as their trial balance has it; debit positive."""
        year, asked = self._year, [account]
        if account == year.retained_earnings:
            asked += sheets.yearly(self._accounts)
        found = await totals.account_ends(connection, asked, asset, since, until, year.start_of(since))
        return sheets.ends_of(account, found, self._accounts, year.retained_earnings)

    def named(self, account: str) -> tuple[str, str, str]:
        """Name, Japanese name and section of an account, also of one that has left the chart."""
        known = self._accounts.get(account)
        return (account, account, "") if known is None else (known.name, known.name_ja, known.section.value)

    def account(self, code: str) -> Account | None:
        """The account of a code, if it ever was in the chart."""
        return self._accounts.get(code)

    async def balance_sheet(self, request: GetBalanceSheet) -> BalanceSheet:
        """Balance sheets at months' ends."""
        months = _months_of(request)
        lines = await self.sheet(months, request.asset)
        return BalanceSheet(
            asset=request.asset,
            days=[month_end(month) for month in months],
            lines=[_shown(line) for line in lines],
            assets_minor=sheets.total_of(lines, Section.ASSET, len(months)),
            liabilities_minor=sheets.total_of(lines, Section.LIABILITY, len(months)),
            equity_minor=sheets.total_of(lines, Section.EQUITY, len(months)),
        )

    async def sheet(self, months: Sequence[date], asset: str) -> list[Line]:
        """The lines of balance sheets at some months' ends."""
        movements = await self._movements(month_end(months[-1]), asset)
        return sheets.balance_sheet(movements, self._accounts, self._year, months)

    async def income_statement(self, request: GetIncomeStatement) -> IncomeStatement:
        """Income by month."""
        months = _months_of(request)
        lines = await self.income(months, request.asset)
        income = sheets.total_of(lines, Section.INCOME, len(months))
        expense = sheets.total_of(lines, Section.EXPENSE, len(months))
        return IncomeStatement(
            asset=request.asset,
            months=[f"{month:%Y-%m}" for month in months],
            lines=[_shown(line) for line in lines],
            income_minor=income,
            expense_minor=expense,
            profit_minor=[earned - spent for earned, spent in zip(income, expense, strict=True)],
        )

    async def income(self, months: Sequence[date], asset: str) -> list[Line]:
        """The lines of income statements of some months."""
        movements = await self._movements(month_end(months[-1]), asset)
        return sheets.income_statement(movements, self._accounts, months)

    async def _movements(self, until: date, asset: str) -> list[tuple[str, date, int]]:
        return await self._database.transaction(ROLE, lambda connection: totals.month_sums(connection, until, asset))

    async def consumption_tax(self, request: GetConsumptionTax) -> ConsumptionTax:
        """Consumption tax by code and rate."""
        require_days(request.since, request.until)
        sums = await self.taxes(request.since, request.until)
        output, taken = tax.total_of(sums, "output"), tax.total_of(sums, "input")
        return ConsumptionTax(
            since=request.since,
            until=request.until,
            lines=[
                TaxLine(
                    tax_code=each.code.code,
                    name_ja=each.code.name_ja,
                    direction=each.code.direction,
                    rate=tax.rate_of(each.code),
                    net_minor=each.net,
                    tax_minor=each.tax,
                    gross_minor=each.gross,
                )
                for each in sums
            ],
            output_tax_minor=output,
            input_tax_minor=taken,
            payable_minor=output - taken,
        )

    async def taxes(self, since: date, until: date) -> list[tax.TaxSum]:
        """What stands under each tax code in yen, the only money that consumption tax is counted in."""
        sums = await self._database.transaction(ROLE, lambda connection: totals.tax_sums(connection, since, until, YEN))
        return tax.consumption_tax(sums, self._rules.tax_codes, tax.tax_accounts(self._rules))

    def _balance(self, row: AccountSum) -> BalanceLine:
        name, name_ja, section = self.named(row.account)
        return BalanceLine(
            account=row.account,
            name=name,
            name_ja=name_ja,
            section=section,
            asset=row.asset,
            opening_minor=row.opening,
            debit_minor=row.debit,
            credit_minor=row.credit,
            closing_minor=row.closing,
        )


def require_days(since: date, until: date) -> None:
    """Raises Invalid `range_reversed`."""
    if until < since:
        raise Invalid("range_reversed", "The range ends before it begins.")


def _days_of(request: GetTrialBalance) -> tuple[date, date]:
    if request.month is not None and request.since is None and request.until is None:
        month = month_named(request.month)
        return month, month_end(month)
    if request.month is not None or request.since is None or request.until is None:
        raise Invalid("range_required", "Name either a month, or both `since` and `until`.")
    require_days(request.since, request.until)
    return request.since, request.until


def _months_of(request: GetBalanceSheet | GetIncomeStatement) -> list[date]:
    return require_months(month_named(request.since), month_named(request.until or request.since))


def _sum(each: AccountSum) -> AssetSum:
    return AssetSum(
        asset=each.asset,
        opening_minor=each.opening,
        debit_minor=each.debit,
        credit_minor=each.credit,
        closing_minor=each.closing,
    )


def _shown(line: Line) -> SheetLine:
    return SheetLine(
        account=line.account,
        name=line.name,
        name_ja=line.name_ja,
        section=line.section.value,
        amounts_minor=list(line.amounts),
    )
