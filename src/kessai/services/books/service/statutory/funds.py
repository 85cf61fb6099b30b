"""Reports of the funds transfer books (資金移動業): 未達債務, what secures it, customers' ledgers, 滞留."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import partial

from kessai.foundation.calendar import is_business_day
from kessai.foundation.db import Database
from kessai.services.books.domain.calendar import FUNDS_TRANSFER_BASE_DATES, PERIOD_DAYS_MAX, is_base_date
from kessai.services.books.domain.statutory.figures import (
    DepositPeriod,
    Requirement,
    RollForward,
    deposit_periods,
    roll_forward,
)
from kessai.services.books.domain.statutory.rules import DepositTerms, StatutoryConfig, StatutoryRules
from kessai.services.books.domain.table import Report, Row
from kessai.services.books.service.asked import Asked, Offer, Offers
from kessai.services.books.service.statutory.sheets import (
    Fact,
    Laws,
    as_rows,
    chunks_of,
    day_column,
    instant,
    law_of,
    laws_of,
    require_made,
    retention,
    text,
    whole,
    yen,
    yes,
)
from kessai.services.books.store import statutory_books, statutory_days, statutory_records
from kessai.services.books.store.statutory_records import Safeguard
from kessai.services.ledger.api import account_id_of

BOOK = "funds_transfer"

DAY_COLUMNS = (
    day_column(),
    text("business_day", "Business day", "営業日"),
    text("base_date", "Base date", "報告基準日"),
    text("account_type", "Account type", "口座種別"),
    yen("opening", "Outstanding the day before (Z-1)", "前日未達債務 (Z-1)"),
    yen("receipts", "Receipts", "受入額"),
    yen("fees", "Fees", "手数料"),
    yen("increase", "Receipts less fees (X)", "増加額 (X)"),
    yen("payouts", "Payouts", "支払額"),
    yen("returns", "Returns", "返還額"),
    yen("decrease", "Payouts and returns (Y)", "減少額 (Y)"),
    yen("closing", "Outstanding (Z)", "未達債務 (Z)"),
    yen("told", "Sum of customers' balances", "利用者残高合計"),
    yen("difference", "Difference", "差額"),
    whole("customers", "Customers", "利用者数"),
    whole("late_lines", "Lines of earlier days", "前日以前分の件数"),
)
SECURITY_COLUMNS = (
    day_column(),
    text("business_day", "Business day", "営業日"),
    text("base_date", "Base date", "報告基準日"),
    text("transfer_type", "Type of funds transfer", "資金移動業の種別"),
    yen("obligation", "Outstanding obligations", "未達債務"),
    yen("procedure_cost", "Cost of the return procedure", "還付手続費用"),
    yen("required", "Required security", "要履行保証額"),
)
DEPOSIT_COLUMNS = (
    text("transfer_type", "Type of funds transfer", "資金移動業の種別"),
    day_column("since", "Period from", "算定期間 始期"),
    day_column("until", "Base date", "基準日 (算定期間 終期)"),
    text("complete", "All days made", "全日確定"),
    yen("required", "Required deposit", "要供託額"),
    day_column("required_on", "Day of the largest requirement", "最大額の日"),
    day_column("due_on", "Due", "供託期限"),
    yen("deposited", "Deposits when due", "供託"),
    yen("guaranteed", "Guarantees when due", "保全契約"),
    yen("entrusted", "Trusts when due", "信託"),
    yen("shortfall", "Shortfall", "不足額"),
)
LEDGER_COLUMNS = (
    text("customer", "Customer", "利用者"),
    text("account_id", "Account", "口座"),
    day_column(),
    day_column("event_on", "Day of the transaction", "取引日"),
    instant("occurred_at", "Time", "取引日時"),
    text("kind", "Kind", "取引の種類"),
    text("action", "Action", "処理"),
    text("category", "Category", "区分"),
    text("counterparty", "Counterparty", "相手方"),
    yen("received", "Received", "受入"),
    yen("paid", "Paid", "払出"),
    yen("balance", "Balance", "残高"),
    text("exchange_id", "Exchange", "取引番号"),
    text("payment_id", "Payment", "決済番号"),
)
RETENTION_COLUMNS = (
    text("customer", "Customer", "利用者"),
    text("account_id", "Account", "口座"),
    text("account_type", "Account type", "口座種別"),
    yen("balance", "Balance", "残高"),
    yen("cap", "Cap", "滞留上限"),
    yen("over", "Above the cap", "超過額"),
    day_column("over_since", "Above the cap since", "超過開始日"),
    whole("days", "Days", "超過日数"),
)

SAFEGUARD_COLUMNS = (
    day_column(),
    day_column("effective_on", "Takes effect", "効力発生日"),
    text("book", "Book", "帳簿"),
    text("subject", "Type of funds transfer", "資金移動業の種別"),
    text("means", "Means", "保全の方法"),
    yen("amount", "Amount (a release is negative)", "金額 (取戻しは負)"),
    text("place", "Where", "供託所・相手方"),
    text("reference", "Reference", "番号"),
)


class FundsBooks:
    """Builds the reports of the funds transfer books."""

    def __init__(self, database: Database, config: StatutoryConfig) -> None:
        self._database = database
        self._config = config
        self._types = config.types_of(BOOK)

    @property
    def offers(self) -> Offers:
        """By name."""
        return {
            "funds_transfer_day": Offer(build=self.day),
            "funds_transfer_security": Offer(build=self.security),
            "funds_transfer_deposit": Offer(build=self.deposit),
            "funds_customer_ledger": Offer(build=self.customer_ledger, optional=("customer",)),
            "retention_check": Offer(build=self.retention_check),
            "safeguards": Offer(build=self.safeguards),
        }

    async def day(self, asked: Asked) -> Report:
        """未達債務日計: each day rolled forward, a row a day and account type."""
        moved = await statutory_books.categories(self._database, asked.since, asked.until, self._types)
        rows: list[Row] = []
        for day, book in await statutory_books.book_days(self._database, asked.since, asked.until, self._types):
            parts = moved.get((day, book.account_type), {})
            rolled = roll_forward(book.opening, {name: each.amount for name, each in parts.items()})
            late = sum(each.late_lines for each in parts.values())
            told = (book.told, rolled.closing - book.told, book.accounts, late)
            rows.append((*_of_day(day), book.account_type, *_rolled(rolled), *told))
        return Report(
            name="funds_transfer_day",
            title="Outstanding obligations by day",
            title_ja="未達債務日計表",
            since=asked.since,
            until=asked.until,
            columns=DAY_COLUMNS,
            chunks=chunks_of(rows),
            facts=(await self._retention("funds_transfer_day", asked),),
            basis="資金決済に関する法律 第43条・第52条; 資金移動業者に関する内閣府令 第33条",
        )

    async def security(self, asked: Asked) -> Report:
        """要履行保証額 of each day and type of funds transfer; what counts for deposits is that of business days."""
        laws = await laws_of(self._database, self._config, asked.since, asked.until)
        found = await statutory_books.securities(self._database, asked.since, asked.until)
        rows: list[Row] = [
            (
                *_of_day(day),
                _name_of(laws.on(day), each.transfer_type),
                each.obligation,
                each.procedure_cost,
                each.required,
            )
            for day, each in found
        ]
        return Report(
            name="funds_transfer_security",
            title="Required security by day",
            title_ja="要履行保証額計算表",
            since=asked.since,
            until=asked.until,
            columns=SECURITY_COLUMNS,
            chunks=chunks_of(rows),
            facts=(
                *_floors(laws, sorted({day for day, _ in found}) or [asked.until]),
                retention(laws.on(asked.until), "funds_transfer_security"),
            ),
            basis="資金決済に関する法律 第43条; 資金移動業者に関する内閣府令 第33条",
        )

    async def deposit(self, asked: Asked) -> Report:
        """要供託額 of each period that ends or runs in the range, with what secures it when it is due.

        It knows what the books knew at the end of the range's last day.
        """
        around = timedelta(days=PERIOD_DAYS_MAX)
        since, until = max(asked.since, date.min + around) - around, asked.until
        made = await statutory_days.days_kept(self._database, since, until)
        last = made[-1].book_on if made else None
        required = await statutory_books.securities(self._database, since, until)
        safeguards = [each for each, _ in await statutory_records.safeguards(self._database, BOOK, until)]
        laws = await laws_of(self._database, self._config, since, until)
        rows: list[Row] = []
        for number in sorted({each.transfer_type for _, each in required}):
            days = [
                Requirement(day, one.required, one.business_day) for day, one in required if one.transfer_type == number
            ]
            for period in deposit_periods(days, partial(_deposit_terms, laws, str(number))):
                if period.period.until >= asked.since:
                    secured = [each for each in safeguards if each.effective_on <= period.due_on]
                    complete = last is not None and last >= period.period.until
                    rows.append(_deposit_row(str(number), period, secured, complete=complete))
        return Report(
            name="funds_transfer_deposit",
            title="Required deposits by period",
            title_ja="要供託額計算表",
            since=asked.since,
            until=asked.until,
            columns=DEPOSIT_COLUMNS,
            chunks=chunks_of(rows),
            facts=(retention(laws.on(until), "funds_transfer_deposit"),),
            basis="資金決済に関する法律 第43条から第45条; 資金移動業者に関する内閣府令 第33条",
        )

    async def customer_ledger(self, asked: Asked) -> Report:
        """顧客勘定元帳: every line, day by day and account by account, or one customer's from first to last."""
        return Report(
            name="funds_customer_ledger",
            title="Customer ledger",
            title_ja="顧客勘定元帳 (資金移動業)",
            since=asked.since,
            until=asked.until,
            columns=LEDGER_COLUMNS,
            chunks=as_rows(self._lines(asked), len(LEDGER_COLUMNS)),
            facts=(await self._retention("funds_customer_ledger", asked),),
            basis="資金移動業者に関する内閣府令 第33条",
        )

    async def _lines(self, asked: Asked) -> statutory_books.Pages:
        if (customer := asked.filters.get("customer")) is None:
            async for page in statutory_books.lines(
                self._database, "lines_after", asked.since, asked.until, self._types
            ):
                yield page
            return
        for account_type in self._types:
            account_id = account_id_of(customer, account_type)[4:]
            async for page in statutory_books.lines_of_account(
                self._database, "lines_of_account", account_id, asked.since, asked.until
            ):
                yield page

    async def retention_check(self, asked: Asked) -> Report:
        """Customers above the cap at the end of the range's last day: what is not meant for transfer goes back.

        Raises NotFound `statutory_day_not_made`.
        """
        await require_made(self._database, asked.until)
        count = await statutory_books.count_over_cap(self._database, asked.until)
        law = await law_of(self._database, self._config, asked.until)
        caps: list[Fact] = []
        for each in law.funds_transfer.transfer_types.values():
            caps.append((f"Cap, {each.name_ja}", f"滞留上限 {each.name_ja}", each.retention_cap_minor))
            caps.append((f"Largest transfer, {each.name_ja}", f"送金上限 {each.name_ja}", each.transfer_max_minor))
        return Report(
            name="retention_check",
            title="Customers above the retention cap",
            title_ja="滞留資金確認一覧",
            since=asked.until,
            until=asked.until,
            columns=RETENTION_COLUMNS,
            chunks=as_rows(statutory_books.over_cap(self._database, asked.until), len(RETENTION_COLUMNS)),
            facts=(("Customers", "該当利用者数", str(count)), *caps, retention(law, "retention_check")),
            basis="資金決済に関する法律 第51条 (滞留規制)",
        )

    async def safeguards(self, asked: Asked) -> Report:
        """What was deposited, guaranteed, entrusted or released, of funds transfer and of prepaid instruments."""
        rows: list[Row] = [
            (day, each.effective_on, book, each.subject, each.means, each.amount, each.place, each.reference)
            for book in (BOOK, "prepaid")
            for each, day in await statutory_records.safeguards(self._database, book, asked.until)
            if day >= asked.since
        ]
        return Report(
            name="safeguards",
            title="Deposits, guarantees and trusts",
            title_ja="供託・保全契約・信託の記録",
            since=asked.since,
            until=asked.until,
            columns=SAFEGUARD_COLUMNS,
            chunks=chunks_of(rows),
            facts=(await self._retention("safeguards", asked),),
            basis="資金決済に関する法律 第14条から第16条・第43条から第45条",
        )

    async def _retention(self, name: str, asked: Asked) -> Fact:
        return retention(await law_of(self._database, self._config, asked.until), name)


def _name_of(law: StatutoryRules, transfer_type: int) -> str:
    found = law.funds_transfer.transfer_types.get(str(transfer_type))
    return str(transfer_type) if found is None else found.name_ja


def _deposit_terms(laws: Laws, number: str, day: date) -> DepositTerms:
    return laws.on(day).funds_transfer.deposit_terms(number)


def _floors(laws: Laws, days: Sequence[date]) -> Iterator[Fact]:
    """The floor of some days, and where it changed within them, each with the first day on which it held."""
    floors = [(day, laws.on(day).funds_transfer.floor_minor) for day in days]
    changes = [
        each for each, before in zip(floors, [None, *floors], strict=False) if not before or each[1] != before[1]
    ]
    for day, floor in changes:
        since, since_ja = (f" from {day}", f" ({day} から)") if len(changes) > 1 else ("", "")
        yield f"Floor{since}", f"最低要履行保証額{since_ja}", floor


def _of_day(day: date) -> tuple[date, str, str]:
    return day, yes(is_business_day(day)), yes(is_base_date(day, FUNDS_TRANSFER_BASE_DATES))


def _rolled(each: RollForward) -> tuple[int, ...]:
    """The columns from opening to closing."""
    return (
        each.opening,
        each.receipts,
        each.fees,
        each.receipts - each.fees,
        each.payouts,
        each.returns,
        each.payouts + each.returns,
        each.closing,
    )


def _deposit_row(
    number: str, period: DepositPeriod, secured: list[Safeguard], *, complete: bool
) -> Row:  # fmt: skip
    mine = [each for each in secured if each.subject == number]
    by_means = [sum(each.amount for each in mine if each.means == means) for means in ("DEPOSIT", "GUARANTEE", "TRUST")]
    return (
        period.name_ja,
        period.period.since,
        period.period.until,
        yes(complete),
        period.required,
        period.required_on,
        period.due_on,
        *by_means,
        max(period.required - sum(by_means), 0),
    )
