"""Reports of the prepaid books (前払式支払手段): per instrument rolled forward, and what base dates ask for."""

from __future__ import annotations

from datetime import date

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.db import Database
from kessai.services.books.domain.calendar import PREPAID_BASE_DATES, is_base_date
from kessai.services.books.domain.statutory.figures import base_date_of, is_exempt, prepaid_deposit
from kessai.services.books.domain.statutory.rules import StatutoryConfig, StatutoryRules
from kessai.services.books.domain.table import Report, Row
from kessai.services.books.service.asked import Asked, Offer, Offers
from kessai.services.books.service.statutory.sheets import (
    Fact,
    chunks_of,
    day_column,
    law_of,
    laws_of,
    require_made,
    retention,
    text,
    whole,
    yen,
    yes,
)
from kessai.services.books.store import statutory_books, statutory_records

BOOK = "prepaid"
OPEN_DENOMINATION = "金額任意"
"""Of an instrument that is issued in whatever amount is paid for it."""

LEDGER_COLUMNS = (
    day_column(),
    text("base_date", "Base date", "基準日"),
    text("instrument", "Instrument", "前払式支払手段の種類"),
    text("denomination", "Denomination", "券面額"),
    yen("opening", "Unused the day before", "前日未使用残高"),
    whole("issued_count", "Issued (number)", "発行件数"),
    yen("issued", "Issued", "発行額"),
    whole("redeemed_count", "Redeemed (number)", "回収件数"),
    yen("redeemed", "Redeemed", "回収額"),
    yen("expired", "Expired", "失効額"),
    yen("repaid", "Repaid", "払戻額"),
    yen("closing", "Unused", "未使用残高"),
    yen("told", "Sum of customers' balances", "利用者残高合計"),
    yen("difference", "Difference", "差額"),
)
BASE_DATE_COLUMNS = (
    day_column("base_date", "Base date", "基準日"),
    text("instrument", "Instrument", "前払式支払手段の種類"),
    whole("valid_months", "Valid for (months)", "有効期間 (月)"),
    text("exempt", "Exempt", "適用除外"),
    yen("unused", "Unused on the base date", "基準日未使用残高"),
)


class PrepaidBooks:
    """Builds the reports of the prepaid books."""

    def __init__(self, database: Database, config: StatutoryConfig) -> None:
        self._database = database
        self._config = config
        self._types = config.types_of(BOOK)

    @property
    def offers(self) -> Offers:
        """By name."""
        return {
            "prepaid_ledger": Offer(build=self.ledger),
            "prepaid_base_date": Offer(build=self.base_dates),
        }

    async def ledger(self, asked: Asked) -> Report:
        """Issued, redeemed, expired, repaid, and what is left unused: a row a day and instrument."""
        types, laws = self._types, await laws_of(self._database, self._config, asked.since, asked.until)
        moved = await statutory_books.categories(self._database, asked.since, asked.until, types)
        rows: list[Row] = []
        for day, book in await statutory_books.book_days(self._database, asked.since, asked.until, types):
            parts = moved.get((day, book.account_type), {})
            amounts = {name: each.amount for name, each in parts.items()}
            counts = {name: each.lines for name, each in parts.items()}
            closing = book.opening + sum(amounts.values())
            rows.append(
                (
                    day,
                    yes(is_base_date(day, PREPAID_BASE_DATES)),
                    (laws.on(day).types.get(book.account_type) or self._config.types[book.account_type]).name_ja,
                    OPEN_DENOMINATION,
                    book.opening,
                    counts.get("ISSUE", 0),
                    amounts.get("ISSUE", 0),
                    counts.get("REDEMPTION", 0),
                    -amounts.get("REDEMPTION", 0),
                    -amounts.get("EXPIRY", 0),
                    -amounts.get("REPAYMENT", 0),
                    closing,
                    book.told,
                    closing - book.told,
                )
            )
        return Report(
            name="prepaid_ledger",
            title="Prepaid instruments",
            title_ja="前払式支払手段 発行・回収・未使用残高",
            since=asked.since,
            until=asked.until,
            columns=LEDGER_COLUMNS,
            chunks=chunks_of(rows),
            facts=(retention(laws.on(asked.until), "prepaid_ledger"),),
            basis="資金決済に関する法律 第22条; 前払式支払手段に関する内閣府令 第46条",
        )

    async def base_dates(self, asked: Asked) -> Report:
        """Unused balances on the base date that counts at the end of the range, and the deposit it asks for.

        Raises NotFound `statutory_day_not_made`.
        """
        base_date = base_date_of(asked.until)
        await require_made(self._database, base_date, asked.until)
        law = await law_of(self._database, self._config, base_date)
        unused = dict(await self._unused(base_date))
        rows: list[Row] = []
        for name, each in law.types_of(BOOK).items():
            exempt = is_exempt(each.valid_months, law.prepaid)
            rows.append((base_date, each.name_ja, each.valid_months, yes(exempt), unused.get(name, 0)))
        return Report(
            name="prepaid_base_date",
            title="Unused balances on the base date",
            title_ja="基準日未使用残高・発行保証金",
            since=base_date,
            until=base_date,
            columns=BASE_DATE_COLUMNS,
            chunks=chunks_of(rows),
            facts=await self._deposit_facts(law, base_date, unused, asked.until),
            basis="資金決済に関する法律 第3条第2項・第4条第2号・第14条",
        )

    async def _unused(self, base_date: date) -> list[tuple[str, int]]:
        days = await statutory_books.book_days(self._database, base_date, base_date, self._types)
        return [(book.account_type, book.closing) for _, book in days]

    async def _deposit_facts(
        self, law: StatutoryRules, base_date: date, unused: dict[str, int], day: date
    ) -> tuple[Fact, ...]:  # fmt: skip
        rules, types = law.prepaid, law.types_of(BOOK)
        counting = sum(unused.get(name, 0) for name, each in types.items() if not is_exempt(each.valid_months, rules))
        deposit = prepaid_deposit(base_date, counting, rules)
        safeguards = await statutory_records.safeguards(self._database, BOOK, day)
        secured = sum(each.amount for each, _ in safeguards if each.effective_on <= deposit.due_on)
        before = base_date_of(base_date - ONE_DAY)
        return (
            ("Unused, not exempt", "基準日未使用残高 (適用除外を除く)", deposit.unused),
            ("Deposit from above", "供託基準額", rules.deposit_over_minor),
            ("Required deposit", "要供託額", deposit.required),
            ("Due", "供託期限", deposit.due_on),
            ("Secured when due", "供託・保全・信託", secured),
            ("Shortfall", "不足額", max(deposit.required - secured, 0)),
            ("Base date before", "前回基準日", before),
            retention(law, "prepaid_base_date"),
        )
