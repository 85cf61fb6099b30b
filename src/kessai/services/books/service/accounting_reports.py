"""The accounting desk's reports: journal, general ledger, trial balance, statements, consumption tax, points."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import date
from uuid import UUID

from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, NotFound
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.api.accounting import Journal, JournalLine, Side
from kessai.services.books.domain import sheets, tax
from kessai.services.books.domain.accruals import Accrual, Closing
from kessai.services.books.domain.chart import Section
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.periods import month_end, month_of
from kessai.services.books.domain.sheets import Line
from kessai.services.books.domain.table import Column, Kind, Report, Row
from kessai.services.books.service.asked import Asked, Offer, Offers
from kessai.services.books.service.periods import require_months
from kessai.services.books.service.statements import StatementDesk
from kessai.services.books.store import ROLE, reading, totals

PAGE = 2_000
"""Journals, or entries, that are read at a time."""
SUNDRY = "sundry"
COMPANIES_ACT = "会社法432条, 会社計算規則"
TAX_ACT = "消費税法30条・45条"
SECTIONS_JA = {
    Section.ASSET: "資産",
    Section.LIABILITY: "負債",
    Section.EQUITY: "純資産",
    Section.INCOME: "収益",
    Section.EXPENSE: "費用",
}


def _text(name: str, title: str, title_ja: str) -> Column:
    return Column(name=name, title=title, title_ja=title_ja)


def _money(name: str, title: str, title_ja: str) -> Column:
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.MONEY)


def _date(name: str, title: str, title_ja: str) -> Column:
    return Column(name=name, title=title, title_ja=title_ja, kind=Kind.DATE)


JOURNAL_COLUMNS = (
    _date("booked_on", "Day", "日付"),
    _text("journal_id", "Journal", "伝票番号"),
    Column(name="line", title="Line", title_ja="行", kind=Kind.INTEGER),
    _text("account", "Account", "科目コード"),
    _text("account_name", "Name", "勘定科目"),
    _text("asset", "Asset", "資産"),
    _money("debit", "Debit", "借方金額"),
    _money("credit", "Credit", "貸方金額"),
    _text("tax_code", "Tax", "税区分"),
    _text("description", "Description", "摘要"),
    _date("event_on", "Event's day", "発生日"),
    _text("source", "Source", "起票元"),
    _text("kind", "Kind", "取引種別"),
    _text("merchant", "Merchant", "加盟店"),
    _text("product", "Product", "サービス"),
    _text("owner", "Owner", "補助"),
    _text("payment_id", "Payment", "決済ID"),
    _text("exchange_id", "Exchange", "台帳取引ID"),
    _text("reverses", "Reverses", "訂正元伝票"),
    _text("posted_by", "Posted by", "起票者"),
)
LEDGER_COLUMNS = (
    _date("booked_on", "Day", "日付"),
    _text("journal_id", "Journal", "伝票番号"),
    Column(name="line", title="Line", title_ja="行", kind=Kind.INTEGER),
    _text("description", "Description", "摘要"),
    _text("against", "Against", "相手勘定"),
    _text("tax_code", "Tax", "税区分"),
    _text("asset", "Asset", "資産"),
    _money("debit", "Debit", "借方"),
    _money("credit", "Credit", "貸方"),
    _money("balance", "Balance (debit positive)", "残高 (借方が正)"),
)
TRIAL_COLUMNS = (
    _text("account", "Account", "科目コード"),
    _text("account_name", "Name", "勘定科目"),
    _text("section", "Section", "区分"),
    _text("asset", "Asset", "資産"),
    _money("opening", "Opening (debit positive)", "前残高 (借方が正)"),
    _money("debit", "Debit", "借方"),
    _money("credit", "Credit", "貸方"),
    _money("closing", "Closing (debit positive)", "残高 (借方が正)"),
)
TAX_COLUMNS = (
    _text("tax_code", "Tax code", "税区分コード"),
    _text("tax_name", "Name", "税区分"),
    _text("direction", "Direction", "売上・仕入"),
    Column(name="rate", title="Rate", title_ja="税率", kind=Kind.RATE),
    _money("net", "Net", "税抜金額"),
    _money("tax", "Tax", "消費税額"),
    _money("gross", "Gross", "税込金額"),
)
POINT_COLUMNS = (
    _text("account_type", "Account type", "ポイント種別"),
    _text("asset", "Asset", "資産"),
    _text("kind", "Kind", "増減の種別"),
    _money("opening", "Before", "前残高"),
    _money("added", "Added", "増加"),
    _money("taken", "Taken", "減少"),
    _money("closing", "Unexpired", "未失効残高"),
)


class AccountingReports:
    """Builds them."""

    def __init__(self, database: Database, books: BooksConfig, closing: Closing, statements: StatementDesk) -> None:
        self._database = database
        self._books = books
        self._closing = closing
        self._statements = statements

    def offers(self) -> Offers:
        """What this desk offers."""
        return {
            "journal": Offer(build=self._journal),
            "general_ledger": Offer(build=self._general_ledger, required=("account",), optional=("asset",)),
            "trial_balance": Offer(build=self._trial_balance),
            "balance_sheet": Offer(build=self._balance_sheet, optional=("asset",)),
            "income_statement": Offer(build=self._income_statement, optional=("asset",)),
            "consumption_tax": Offer(build=self._consumption_tax),
            "points_outstanding": Offer(build=self._points_outstanding),
        }

    # -- entries --------------------------------------------------------------------------------------------------

    async def _journal(self, asked: Asked) -> Report:
        return Report(
            name=asked.name,
            title="Journal",
            title_ja="仕訳帳",
            since=asked.since,
            until=asked.until,
            columns=JOURNAL_COLUMNS,
            chunks=self._journal_rows(asked.since, asked.until),
            basis=COMPANIES_ACT,
        )

    async def _journal_rows(self, since: date, until: date) -> AsyncIterator[list[Row]]:
        day, after = since, reading.BEFORE_ALL
        while True:

            async def read(connection: Connection, day: date = day, after: UUID = after) -> list[Journal]:
                return await reading.journals_by_day(connection, day, until, after=after, limit=PAGE)

            journals = await self._database.transaction(ROLE, read)
            if journals:
                yield [self._journal_row(journal, line) for journal in journals for line in journal.lines]
            if len(journals) < PAGE:
                return
            day, after = journals[-1].booked_on, UUID(journals[-1].journal_id[4:])

    def _journal_row(self, journal: Journal, line: JournalLine) -> Row:
        debit, credit = _sides(line.amount_minor if line.side is Side.DEBIT else -line.amount_minor)
        return (
            journal.booked_on, journal.journal_id, line.line, line.account, self._statements.named(line.account)[1],
            line.asset, debit, credit, line.tax_code, journal.description, journal.event_on, journal.source,
            journal.kind, journal.merchant, journal.product, line.owner, journal.payment_id, journal.exchange_id,
            journal.reverses, journal.posted_by,
        )  # fmt: skip

    async def _general_ledger(self, asked: Asked) -> Report:
        account, asset = asked.filters["account"], _asset_of(asked)
        if self._statements.account(account) is None:
            raise NotFound("account_not_found", f"There is no account {account} in the chart.", account=account)
        opening, closing = await self._ends(account, asset, asked)
        name, name_ja, _ = self._statements.named(account)
        return Report(
            name=asked.name,
            title=f"General ledger: {account} {name}",
            title_ja=f"総勘定元帳 {account} {name_ja}",
            since=asked.since,
            until=asked.until,
            columns=LEDGER_COLUMNS,
            chunks=self._ledger_rows(account, asset, asked, opening),
            totals=((None, "", None, "次期繰越", "", "", asset, None, None, closing),),
            facts=(("Opening balance", "前期繰越", opening), ("Closing balance", "次期繰越", closing)),
            basis=COMPANIES_ACT,
        )

    async def _ends(self, account: str, asset: str, asked: Asked) -> tuple[int, int]:
        """The account's balance before and after the days."""

        async def read(connection: Connection) -> tuple[int, int]:
            return await self._statements.ends(connection, account, asset, asked.since, asked.until)

        return await self._database.transaction(ROLE, read)

    async def _ledger_rows(self, account: str, asset: str, asked: Asked, balance: int) -> AsyncIterator[list[Row]]:
        day, after = asked.since, (reading.BEFORE_ALL, 0)
        while True:

            async def read(
                connection: Connection, day: date = day, after: tuple[UUID, int] = after
            ) -> tuple[list[reading.EntryRow], dict[UUID, list[JournalLine]]]:
                entries = await reading.entries_of_account(
                    connection, account, asset, day, asked.until, after=after, limit=PAGE
                )
                return entries, await reading.lines_of(connection, list({each.journal_id for each in entries}))

            entries, lines = await self._database.transaction(ROLE, read)
            rows: list[Row] = []
            for each in entries:
                balance += each.amount
                against = _shown_against(each, lines[each.journal_id])
                journal_id = f"jnl_{each.journal_id.hex}"
                debit, credit = _sides(each.amount)
                rows.append(
                    (each.booked_on, journal_id, each.line, each.description, against, each.tax_code, asset, debit,
                     credit, balance)
                )  # fmt: skip
            if rows:
                yield rows
            if len(entries) < PAGE:
                return
            day, after = entries[-1].booked_on, (entries[-1].journal_id, entries[-1].line)

    # -- totals ---------------------------------------------------------------------------------------------------

    async def _trial_balance(self, asked: Asked) -> Report:
        rows = await self._statements.balances(asked.since, asked.until)
        body: list[Row] = []
        for row in rows:
            _, name_ja, section = self._statements.named(row.account)
            where = SECTIONS_JA[Section(section)] if section else ""
            body.append((row.account, name_ja, where, row.asset, row.opening, row.debit, row.credit, row.closing))
        sums = sheets.sums_of(rows)
        return Report(
            name=asked.name,
            title="Trial balance",
            title_ja="合計残高試算表",
            since=asked.since,
            until=asked.until,
            columns=TRIAL_COLUMNS,
            chunks=_once(body),
            totals=tuple(("", "合計", "", s.asset, s.opening, s.debit, s.credit, s.closing) for s in sums),
            basis=COMPANIES_ACT,
        )

    async def _balance_sheet(self, asked: Asked) -> Report:
        months, asset = require_months(month_of(asked.since), month_of(asked.until)), _asset_of(asked)
        lines = await self._statements.sheet(months, asset)
        return Report(
            name=asked.name,
            title="Balance sheet",
            title_ja="貸借対照表 (月次)",
            since=asked.since,
            until=month_end(months[-1]),
            columns=_sheet_columns(months, asset),
            chunks=_once(_sheet_rows(lines)),
            totals=tuple(
                _total_row(lines, section, months) for section in (Section.ASSET, Section.LIABILITY, Section.EQUITY)
            ),
            basis=COMPANIES_ACT,
        )

    async def _income_statement(self, asked: Asked) -> Report:
        months, asset = require_months(month_of(asked.since), month_of(asked.until)), _asset_of(asked)
        lines = await self._statements.income(months, asset)
        income = sheets.total_of(lines, Section.INCOME, len(months))
        expense = sheets.total_of(lines, Section.EXPENSE, len(months))
        profit = [earned - spent for earned, spent in zip(income, expense, strict=True)]
        return Report(
            name=asked.name,
            title="Income statement",
            title_ja="損益計算書 (月次)",
            since=asked.since,
            until=month_end(months[-1]),
            columns=(
                *_sheet_columns(months, asset),
                Column(name="sum", title="Sum", title_ja="計", kind=Kind.MONEY, asset=asset),
            ),
            chunks=_once([(*row, sum(line.amounts)) for row, line in zip(_sheet_rows(lines), lines, strict=True)]),
            totals=(
                (*_total_row(lines, Section.INCOME, months), sum(income)),
                (*_total_row(lines, Section.EXPENSE, months), sum(expense)),
                ("", "当期純利益", "", *profit, sum(profit)),
            ),
            basis=COMPANIES_ACT,
        )

    async def _consumption_tax(self, asked: Asked) -> Report:
        sums = await self._statements.taxes(asked.since, asked.until)
        output, taken = tax.total_of(sums, "output"), tax.total_of(sums, "input")
        ja = {"output": "課税売上", "input": "課税仕入"}
        return Report(
            name=asked.name,
            title="Consumption tax by rate",
            title_ja="消費税集計表 (税率別)",
            since=asked.since,
            until=asked.until,
            columns=TAX_COLUMNS,
            chunks=_once(
                [
                    (s.code.code, s.code.name_ja, ja[s.code.direction], tax.rate_of(s.code), s.net, s.tax, s.gross)
                    for s in sums
                ]
            ),
            facts=(
                ("Output tax", "仮受消費税額", output),
                ("Input tax", "仮払消費税額", taken),
                ("To be paid (negative: got back)", "差引納付税額 (負は還付)", output - taken),
            ),
            basis=TAX_ACT,
        )

    async def _points_outstanding(self, asked: Asked) -> Report:
        """By type and kind, what came and went; what is left are points that have not expired."""
        types, yearly = self._closing.points.account_types, sheets.yearly(self._books.chart.accounts)
        year_start = self._closing.fiscal_year.start_of(asked.until)

        async def read(connection: Connection) -> tuple[list[totals.TypeSum], dict[tuple[str, str], int]]:
            held = [each.account for each in self._on_points(asked.until)]
            sums = await totals.type_sums(connection, types, asked.since, asked.until)
            return sums, await totals.balances_of(connection, held, asked.until, year_start, yearly)

        sums, held = await self._database.transaction(ROLE, read)
        rows: list[Row] = [
            (s.account_type, s.asset, s.kind, s.opening, s.credit, s.debit, s.opening + s.credit - s.debit)
            for s in sums
        ]
        return Report(
            name=asked.name,
            title="Unexpired points by type",
            title_ja="未失効ポイント残高",
            since=asked.since,
            until=asked.until,
            columns=POINT_COLUMNS,
            chunks=_once(rows),
            totals=tuple(_points_total(each, sums) for each in types),
            facts=tuple(
                (each.name, each.name_ja, -held.get((each.account, "JPY"), 0)) for each in self._on_points(asked.until)
            ),
            basis="収益認識に関する会計基準の適用指針",
        )

    def _on_points(self, day: date) -> list[Accrual]:
        """The accruals that are made of points, as they hold on a day."""
        types = set(self._closing.points.account_types)
        stand = {account for version in self._books.rules for account, kind in version.control.items() if kind in types}
        return [each for each in self._closing.accruals if each.holds_on(day) and stand.intersection(each.of)]


def against_of(entry: reading.EntryRow, lines: Sequence[JournalLine]) -> str:
    """The account on the other side; `sundry` where there are several."""
    side = Side.CREDIT if entry.amount > 0 else Side.DEBIT
    others = {line.account for line in lines if line.side is side and line.line != entry.line}
    return next(iter(others)) if len(others) == 1 else SUNDRY


def _shown_against(entry: reading.EntryRow, lines: Sequence[JournalLine]) -> str:
    """The same as a report has it."""
    against = against_of(entry, lines)
    return f"諸口 ({SUNDRY})" if against == SUNDRY else against


def _asset_of(asked: Asked) -> str:
    asset = asked.filters.get("asset", "JPY")
    if asset not in ASSET_EXPONENTS:
        raise Invalid("asset_unknown", f"There is no asset {asset}.", asset=asset)
    return asset


def _sides(amount: int) -> tuple[int | None, int | None]:
    return (amount, None) if amount > 0 else (None, -amount)


def _sheet_columns(months: Sequence[date], asset: str) -> tuple[Column, ...]:
    by_month = (
        Column(
            name=f"m{month:%Y_%m}", title=f"{month:%Y-%m}", title_ja=f"{month:%Y年%m月}", kind=Kind.MONEY, asset=asset
        )
        for month in months
    )
    return (
        _text("account", "Account", "科目コード"),
        _text("account_name", "Name", "勘定科目"),
        _text("section", "Section", "区分"),
        *by_month,
    )


def _sheet_rows(lines: Iterable[Line]) -> list[Row]:
    return [(line.account, line.name_ja, SECTIONS_JA[line.section], *line.amounts) for line in lines]


def _total_row(lines: Iterable[Line], section: Section, months: Sequence[date]) -> Row:
    return ("", f"{SECTIONS_JA[section]}合計", "", *sheets.total_of(lines, section, len(months)))


def _points_total(account_type: str, sums: Iterable[totals.TypeSum]) -> Row:
    mine = [each for each in sums if each.account_type == account_type]
    opening, added, taken = (sum(getattr(each, name) for each in mine) for name in ("opening", "credit", "debit"))
    return (account_type, mine[0].asset if mine else "JPY", "計", opening, added, taken, opening + added - taken)


async def _once(rows: list[Row]) -> AsyncIterator[list[Row]]:
    if rows:
        yield rows
