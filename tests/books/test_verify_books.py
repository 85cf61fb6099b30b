"""A verification proves the books row by row: what was booked, what was written by hand, and what payments told."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import pytest

from kessai.apps.verify.books import check_books
from kessai.apps.verify.books_again import check_again
from kessai.apps.verify.books_seals import check_seals
from kessai.apps.verify.finding import Finding, Report
from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.api.accounting import NewLine, PostJournal, ReverseJournal, Side
from kessai.services.books.api.statutory import (
    AssetPrice,
    RecordPrices,
    RecordSafeguard,
    RecordWallets,
    SafeguardMeans,
    WalletCount,
)
from tests.books.office import Office, asked, office
from tests.books.statutory_world import at, world_of
from tests.books.town import config
from tests.journeys.town import Town, opened

A_CHARGE = "(SELECT journal_id FROM books.journal WHERE kind = 'charge' AND source = 'ledger' ORDER BY 1 LIMIT 1)"
CORRECTIONS = "(SELECT journal_id FROM books.journal WHERE source = 'correction')"
BY_HAND = "(SELECT journal_id FROM books.journal WHERE source = 'manual')"
OF_TRANSFERS = {"table": "payment_step", "where": "kind = 'transfer'"}
TOTALS = (
    "DELETE FROM books.day_total",
    "INSERT INTO books.day_total (account, booked_on, event_on, asset, account_type, kind, tax_code, debit, credit,"
    " entries) SELECT e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code,"
    " coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0), coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0),"
    " count(*) FROM books.entry AS e JOIN books.journal AS j ON j.journal_id = e.journal_id"
    " GROUP BY 1, 2, 3, 4, 5, 6, 7",
)
"""Totals as entries are: who alters those covers it up."""


def _set(
    column: str, value: str, *, table: str = "journal", where: str = f"journal_id = {A_CHARGE}"
) -> tuple[str, ...]:
    return (f"UPDATE books.{table} SET {column} = {value} WHERE {where}",)


ALTERATIONS: dict[str, tuple[str, ...]] = {
    **{f"the {each} of a booked event": _set(each, "'zzz'") for each in (
        "merchant", "product", "description", "posted_by", "rule", "processing_id", "payment_id", "action", "event_id",
    )},
    "the rule's version of a booked event": _set("rule_version", "99"),
    "the owner of an entry": _set("owner", "'mer:other'", table="entry", where=f"journal_id = {A_CHARGE} AND line = 2"),
    "a tax that is not included in its amount": (
        "UPDATE books.entry SET amount = amount + 1 WHERE tax_code <> '' AND account = '2310'",
        "UPDATE books.entry SET amount = amount - 1 WHERE tax_code <> '' AND account <> '2310'",
        *TOTALS,
    ),
    "a journal by hand is altered": (
        f"UPDATE books.entry SET amount = amount * 2 WHERE journal_id IN {BY_HAND}",
        *TOTALS,
    ),
    "a journal by hand tells another story": _set("description", "'zzz'", where=f"journal_id IN {BY_HAND}"),
    "a journal by hand is deleted": (
        f"DELETE FROM books.entry WHERE journal_id IN {BY_HAND}",
        "DELETE FROM books.journal WHERE source = 'manual'",
        *TOTALS,
    ),
    "a journal by hand is doubled": (
        "INSERT INTO books.journal SELECT 'f0ffffff-0000-4000-8000-000000000000', source, event_id, kind, action, rule,"
        " rule_version, booked_on, event_on, occurred_at, recorded_at, exchange_id, payment_id, processing_id,"
        " merchant, product, reverses, description, posted_by FROM books.journal WHERE source = 'manual'",
        "INSERT INTO books.entry SELECT 'f0ffffff-0000-4000-8000-000000000000', line, account, asset, amount, tax_code,"
        f" account_type, owner, booked_on FROM books.entry WHERE journal_id IN {BY_HAND}",
        *TOTALS,
    ),
    "a correction is deleted": (
        f"DELETE FROM books.entry WHERE journal_id IN {CORRECTIONS}",
        "DELETE FROM books.journal WHERE source = 'correction'",
        *TOTALS,
    ),
    "a journal by hand and its seal are deleted": (
        "DELETE FROM books.seal WHERE chain = 'journal' AND number = 1",
        f"DELETE FROM books.entry WHERE journal_id IN {BY_HAND}",
        "DELETE FROM books.journal WHERE source = 'manual'",
        *TOTALS,
    ),
    "the last seal is deleted": ("DELETE FROM books.seal WHERE chain = 'asset_price'", "DELETE FROM books.asset_price"),
    "a safeguard": _set("amount", "amount * 2", table="safeguard", where="true"),
    "the day of a safeguard": _set("effective_on", "effective_on - 1", table="safeguard", where="true"),
    "a wallet's count": _set("quantity", "quantity + 1", table="wallet_count", where="true"),
    "a price": _set("unit_price", "'1'", table="asset_price", where="true"),
    **{f"the {each} of a payment's step": _set(each, "'zzz'", **OF_TRANSFERS) for each in (
        "payer_id", "payee_id", "beneficiary_id", "exchange_id", "refund_id", "processing_id", "asset",
    )},
    "the fee of a payment's step": _set("fee_minor", "fee_minor + 1", **OF_TRANSFERS),
    "the instant of a payment's step": _set(
        "recorded_at", "recorded_at - interval '1 minute'", **OF_TRANSFERS
    ),
}  # fmt: skip


async def write_by_hand(town: Town, day: date) -> None:
    """One of each that somebody writes."""
    books = town.platform.books
    lines = [
        NewLine(account="5230", side=Side.DEBIT, amount_minor=100),
        NewLine(account="2330", side=Side.CREDIT, amount_minor=100),
    ]
    with asked("one"):
        first = await books.accounting.post_journal(PostJournal(booked_on=day, description="by hand", lines=lines))
        await books.accounting.reverse_journal(ReverseJournal(journal_id=first.journal_id, reason="wrong"))
        await books.statutory.record_safeguard(
            RecordSafeguard(
                book="funds_transfer", reference="r", means=SafeguardMeans.DEPOSIT, amount_minor=5, effective_on=day,
                place="Tokyo",
            )
        )  # fmt: skip
        await books.statutory.record_wallets(
            RecordWallets(day=day, wallets=[WalletCount(wallet="w", asset="BTC", cold=True, quantity=7)])
        )
        await books.statutory.record_prices(
            RecordPrices(day=day, source="exchange", prices=[AssetPrice(asset="BTC", unit_price="10000000")])
        )


async def test_whatever_is_altered_is_found(database_url: str, tmp_path: Path) -> None:
    async with opened(database_url, tmp_path) as town:
        await town.played()
        admin = await asyncpg.connect(database_url)
        try:
            await write_by_hand(town, business_date(town.platform.clock.now()))
            async with asyncio.timeout(60):
                while findings := await town.findings():
                    print(findings[:3])
                    await asyncio.sleep(0.5)
            for name, statements in ALTERATIONS.items():
                assert await found_of(admin, town, name, statements), name
            assert await found_of(admin, town, "nothing", ()) == []
        finally:
            await admin.close()


async def found_of(admin: asyncpg.Connection, town: Town, name: str, statements: tuple[str, ...]) -> list[Finding]:
    """What a verification of the books finds after an alteration, which is undone."""
    report, altering = Report(), admin.transaction()
    await altering.start()
    try:
        for statement in statements:
            assert not (await admin.execute(statement)).endswith(" 0"), name
        await check_books(admin, town.platform.books.config, report)
    finally:
        await altering.rollback()
    return report.findings


# -- books that came about in odd ways ------------------------------------------------------------------------------


async def proved(o: Office) -> list[str]:
    """What posting everything anew, and following the seals, finds."""
    sql, report = load_queries("kessai.apps.verify", file="sql/books.sql"), Report()

    async def work(connection: Connection) -> None:
        await check_again(connection, sql, config(), report)
        await check_seals(connection, sql, report)

    await o.town.database.transaction(None, work)
    return [f"{each.table} {each.key}: {each.sentence}" for each in report.findings]


async def test_late_events_parts_given_back_and_what_stood_unposted_are_as_they_were_posted(database: Database) -> None:
    async with office(database, at=datetime(2026, 4, 20, tzinfo=UTC)) as o:
        book, clock = o.town.book, o.town.clock
        await o.topped_up(9_999)
        withdrawal = "cus:1/funds 1_032 > internal:bank/bank_in_transit 1_000 + internal:withdrawal_fee/fee_income 32"
        await book.move(withdrawal, name="out", kind="withdrawal")
        await o.town.heard()
        for _ in range(3):
            await book.reverse("out", legs={0: 8, 2: 8})
            clock.advance(seconds=1)
        await book.move("cus:1/funds 10 > mer:1/unsettled_sales 10", name="odd", kind="windfall")
        await book.reverse("odd", 4)
        await o.post(date(2026, 4, 20), "1110 100 | 4910 100")
        clock.advance(days=20)
        await o.close("2026-04")
        await o.town.heard()
        assert {text.split()[0] for text in (await o.town.unposted()).values()} == {"no_rule", "original_unposted"}
        assert await proved(o) == []


async def test_a_journal_on_a_day_that_was_not_the_one_to_book_it_on_is_found(database: Database) -> None:
    async with office(database) as o:
        await o.topped_up(500)
        assert await proved(o) == []
        for table in ("journal", "entry", "day_total"):
            await o.town.database.fetch(None, f"UPDATE books.{table} SET booked_on = '2026-06-01'")
        await o.town.database.fetch(None, "UPDATE books.journal SET description = description || ' (2026-05-10 分)'")
        assert [text.split(": ")[1][:17] for text in await proved(o)] == ["it is of 2026-05-"]


async def test_an_event_that_was_heard_and_is_not_in_the_books_is_found(database: Database) -> None:
    async with office(database) as o:
        await o.topped_up(500)
        for table in ("entry", "journal"):
            await o.town.database.fetch(None, f"DELETE FROM books.{table}")
        (text,) = await proved(o)
        assert text.endswith("was heard, and is neither booked nor stands unposted")
        await o.town.database.fetch(None, "UPDATE books.subscription_cursor SET position = 0, handled = 0")
        assert await proved(o) == []


# -- orders of crypto-assets ----------------------------------------------------------------------------------------

ORDERS = {
    "a price": (
        "UPDATE books.crypto_order SET ordered = replace(ordered, '10000000', '1')", "it is not what its event says"
    ),
    "one that was taken away": ("DELETE FROM books.crypto_order", "it is missing, though"),
    "one of nothing": (
        "INSERT INTO books.crypto_order VALUES ('exc_' || repeat('0', 32), '[]')", "no event tells of it"
    ),
}  # fmt: skip


@pytest.mark.parametrize("altered", ORDERS)
async def test_an_order_is_remembered_as_its_event_says_it(database: Database, altered: str) -> None:
    statement, sentence = ORDERS[altered]
    async with world_of(database, at(date(2026, 4, 3))) as world:
        await world.give("cus:1/trading_funds 300000", kind="exchange_in")
        await world.book.open("cus:1/btc")
        order = "cus:1/trading_funds 200000 > cus:1/btc 2000000"
        await world.book.hold(order, kind="trade", rate="10000000", name="buy", metadata={"capacity": "agency"})
        await world.book.capture("buy")
        await world.heard()
        assert await found_of_orders(database) == []
        await database.fetch(None, statement)
        (told,) = await found_of_orders(database)
        assert told.startswith(sentence)


async def found_of_orders(database: Database) -> list[str]:
    """What posting everything anew finds of orders."""
    sql, report = load_queries("kessai.apps.verify", file="sql/books.sql"), Report()
    await database.transaction(None, lambda connection: check_again(connection, sql, config(), report))
    return [each.sentence for each in report.findings if each.table == "books.crypto_order"]
