"""Reports of the crypto-asset books (暗号資産交換業): diary, customers' ledgers, order slips, what is kept apart."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from kessai.foundation.db import Database
from kessai.foundation.money import format_amount
from kessai.services.books.domain.statutory.figures import BPS, ColdShare, Safekeeping, cold_share
from kessai.services.books.domain.statutory.rules import StatutoryConfig, StatutoryRules
from kessai.services.books.domain.table import Cell, Report, Row
from kessai.services.books.service.asked import Asked, Offer, Offers
from kessai.services.books.service.statutory.sheets import (
    Fact,
    as_rows,
    day_column,
    instant,
    law_of,
    rate,
    require_made,
    retention,
    text,
    yen,
    yes,
)
from kessai.services.books.store import statutory_books, statutory_records
from kessai.services.books.store.statutory_records import Price
from kessai.services.ledger.api import account_id_of

BOOK = "crypto_asset"
YEN = "JPY"

DIARY_COLUMNS = (
    day_column(),
    day_column("event_on", "Day of the trade", "取引日"),
    instant("executed_at", "Time", "約定日時"),
    text("customer", "Customer", "顧客"),
    text("capacity", "Own or agency", "自己・委託の別"),
    text("side", "Buy, sell or swap", "売付・買付・交換の別"),
    text("asset", "Asset", "暗号資産"),
    yen("quantity", "Quantity", "数量"),
    rate("unit_price", "Price", "単価"),
    text("price_asset", "Price in", "対価の種類"),
    yen("amount", "Amount", "金額", asset_in="price_asset"),
    text("counterparty", "Counterparty (agency)", "相手方 (委託の場合)"),
    yen("fee", "Fee", "手数料", asset_in="price_asset"),
    text("exchange_id", "Trade", "取引番号"),
    text("reverses", "Undoes", "取消対象"),
)
LEDGER_COLUMNS = (
    text("customer", "Customer", "顧客"),
    text("account_id", "Account", "口座"),
    day_column(),
    day_column("event_on", "Day of the transaction", "取引日"),
    instant("ordered_at", "Time of the order", "受注日時"),
    instant("executed_at", "Time of execution", "約定・受払日時"),
    text("category", "Category", "区分"),
    text("side", "Buy, sell or swap", "売付・買付・交換の別"),
    text("traded_asset", "Asset", "暗号資産"),
    yen("traded_quantity", "Quantity", "数量", asset_in="traded_asset"),
    rate("unit_price", "Price", "単価"),
    text("price_asset", "Price in", "対価の種類"),
    yen("fee", "Fee", "手数料", asset_in="price_asset"),
    text("asset", "Money or crypto-asset moved", "受払の種類"),
    yen("received", "In", "受入"),
    yen("paid", "Out", "払出"),
    yen("balance", "Balance", "差引残高"),
    text("exchange_id", "Exchange", "取引番号"),
)
SLIP_COLUMNS = (
    day_column(),
    text("slip", "Slip", "伝票番号"),
    instant("ordered_at", "Time of the order", "受注日時"),
    text("customer", "Customer", "顧客"),
    text("capacity", "Own or agency", "自己・委託の別"),
    text("side", "Buy, sell or swap", "売付・買付・交換の別"),
    text("asset", "Asset", "暗号資産"),
    yen("ordered", "Quantity ordered", "受注数量"),
    text("order_kind", "Market or limit", "成行・指値の別"),
    rate("limit_price", "Limit", "指値"),
    yen("executed", "Quantity executed", "約定数量"),
    instant("executed_at", "Time of execution", "約定日時"),
    rate("unit_price", "Price of execution", "約定単価"),
    text("price_asset", "Price in", "対価の種類"),
    text("reverses", "Undoes", "取消対象"),
)
SEGREGATION_COLUMNS = (
    text("customer", "Customer", "利用者"),
    text("account_id", "Account", "口座"),
    text("account_type", "Account type", "口座種別"),
    text("asset", "Money or crypto-asset", "金銭・暗号資産の種類"),
    yen("quantity", "Quantity of the customer", "個別利用者区分管理量"),
    day_column("moved_on", "Last moved", "最終異動日"),
)


class CryptoBooks:
    """Builds the reports of the crypto-asset books."""

    def __init__(self, database: Database, config: StatutoryConfig) -> None:
        self._database = database
        self._config = config
        self._types = config.types_of(BOOK)

    @property
    def offers(self) -> Offers:
        """By name."""
        return {
            "crypto_diary": Offer(build=self.diary),
            "crypto_customer_ledger": Offer(build=self.customer_ledger, optional=("customer",)),
            "crypto_order_slips": Offer(build=self.order_slips),
            "crypto_segregation": Offer(build=self.segregation),
        }

    async def diary(self, asked: Asked) -> Report:
        """取引日記帳: every trade in the order of its execution."""
        return Report(
            name="crypto_diary",
            title="Transaction diary",
            title_ja="取引日記帳 (暗号資産)",
            since=asked.since,
            until=asked.until,
            columns=DIARY_COLUMNS,
            chunks=as_rows(self._trades("diary_after", asked), len(DIARY_COLUMNS)),
            facts=(await self._retention("crypto_diary", asked),),
            basis="暗号資産交換業者に関する内閣府令 第33条・第34条",
        )

    async def order_slips(self, asked: Asked) -> Report:
        """注文伝票: what was ordered, and what was executed of it."""
        return Report(
            name="crypto_order_slips",
            title="Order slips",
            title_ja="注文伝票 (暗号資産)",
            since=asked.since,
            until=asked.until,
            columns=SLIP_COLUMNS,
            chunks=as_rows(self._trades("slips_after", asked), len(SLIP_COLUMNS)),
            facts=(await self._retention("crypto_order_slips", asked),),
            basis="暗号資産交換業者に関する内閣府令 第33条・第34条",
        )

    async def customer_ledger(self, asked: Asked) -> Report:
        """顧客勘定元帳: money and crypto-assets in and out with running balances, and the trades they came from."""
        return Report(
            name="crypto_customer_ledger",
            title="Customer ledger",
            title_ja="顧客勘定元帳 (暗号資産)",
            since=asked.since,
            until=asked.until,
            columns=LEDGER_COLUMNS,
            chunks=as_rows(self._lines(asked), len(LEDGER_COLUMNS)),
            facts=(await self._retention("crypto_customer_ledger", asked),),
            basis="暗号資産交換業者に関する内閣府令 第33条・第34条",
        )

    async def _lines(self, asked: Asked) -> statutory_books.Pages:
        if (customer := asked.filters.get("customer")) is None:
            async for page in statutory_books.lines(
                self._database, "crypto_lines_after", asked.since, asked.until, self._types
            ):
                yield page
            return
        for account_type in self._types:
            account_id = account_id_of(customer, account_type)[4:]
            async for page in statutory_books.lines_of_account(
                self._database, "crypto_lines_of_account", account_id, asked.since, asked.until
            ):
                yield page

    async def segregation(self, asked: Asked) -> Report:
        """個別利用者区分管理量 at the end of the range's last day, and 利用者区分管理必要量 with where it is kept.

        Raises NotFound `statutory_day_not_made`.
        """
        day = asked.until
        await require_made(self._database, day)
        totals, facts = await self._kept_apart(day)
        return Report(
            name="crypto_segregation",
            title="Customers' money and crypto-assets to be kept apart",
            title_ja="利用者区分管理",
            since=day,
            until=day,
            columns=SEGREGATION_COLUMNS,
            chunks=as_rows(self._balances(day), len(SEGREGATION_COLUMNS)),
            totals=totals,
            facts=facts,
            basis="資金決済に関する法律 第63条の11; 暗号資産交換業者に関する内閣府令 第33条・第34条",
        )

    async def _retention(self, name: str, asked: Asked) -> Fact:
        return retention(await law_of(self._database, self._config, asked.until), name)

    def _trades(self, name: str, asked: Asked) -> statutory_books.Pages:
        return statutory_books.trades(self._database, name, asked.since, asked.until)

    async def _balances(self, day: date) -> statutory_books.Pages:
        for account_type in self._types:
            async for page in statutory_books.balances(self._database, day, account_type):
                yield page

    async def _kept_apart(self, day: date) -> tuple[tuple[Row, ...], tuple[Fact, ...]]:
        closings = [book for _, book in await statutory_books.book_days(self._database, day, day, self._types)]
        totals = tuple(("", "", each.account_type, each.asset, each.closing, None) for each in closings)
        required: dict[str, int] = {}
        for each in closings:
            if each.asset != YEN:
                required[each.asset] = required.get(each.asset, 0) + each.closing
        prices = await statutory_records.prices_on(self._database, day, list(required))
        kept = await self._safekeepings(day, required, prices)
        facts: list[Fact] = []
        for each in kept:
            facts += _asset_facts(each, prices.get(each.asset))
        law = await law_of(self._database, self._config, day)
        facts += _share_facts(cold_share(kept, law.crypto_asset.off_cold_max_bps), law)
        return totals, (*facts, retention(law, "crypto_segregation"))

    async def _safekeepings(self, day: date, required: dict[str, int], prices: dict[str, Price]) -> list[Safekeeping]:
        wallets = await statutory_records.wallets_on(self._database, day)
        return [
            Safekeeping(
                asset=asset,
                required=quantity,
                cold=sum(each.quantity for each in wallets if each.asset == asset and each.cold),
                hot=sum(each.quantity for each in wallets if each.asset == asset and not each.cold),
                unit_price=Decimal(prices[asset].unit_price) if asset in prices else None,
            )
            for asset, quantity in required.items()
        ]


def _asset_facts(each: Safekeeping, price: Price | None) -> list[Fact]:
    asset = each.asset
    return [
        (f"To be kept apart, {asset}", f"利用者区分管理必要量 {asset}", format_amount(each.required, asset)),
        (f"In cold wallets, {asset}", f"コールドウォレット {asset}", format_amount(each.cold, asset)),
        (f"In hot wallets, {asset}", f"ホットウォレット {asset}", format_amount(each.hot, asset)),
        (f"Off cold storage, {asset}", f"コールド外の必要量 {asset}", format_amount(each.off_cold, asset)),
        (f"In no wallet, {asset}", f"不足量 {asset}", format_amount(each.missing, asset)),
        (f"Price, {asset}", f"単価 {asset}", None if price is None else price.unit_price),
        (f"Price from, {asset}", f"単価の出所 {asset}", None if price is None else price.source),
        (f"Price of, {asset}", f"単価の日 {asset}", None if price is None else price.price_on),
    ]


def _share_facts(share: ColdShare, rules: StatutoryRules) -> list[Fact]:
    within: Cell = None if share.within is None else yes(share.within)
    allowed = rules.crypto_asset.off_cold_max_bps
    return [
        ("To be kept apart, in yen", "利用者区分管理必要量 (円換算)", share.required_value),
        ("Off cold storage, in yen", "コールド外 (円換算)", share.off_cold_value),
        ("Allowed off cold storage", "コールド外の上限", f"{allowed * 100 / BPS:g}%"),
        ("Within what is allowed", "上限以内", within),
    ]
