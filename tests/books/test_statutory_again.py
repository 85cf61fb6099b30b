"""Whatever a made day states is bound: altered behind the platform, the day is named with what is wrong of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date

import pytest

from kessai.foundation.db import Database
from kessai.services.books.api.statutory import (
    AssetPrice,
    RecordPrices,
    RecordSafeguard,
    RecordWallets,
    SafeguardMeans,
    WalletCount,
)
from kessai.services.books.service.statutory.again import differing_days

from .statutory_world import World, at, rules_of, world_of

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 4, number) for number in (6, 7, 8, 9))
RICH = 2_000_000


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Two days with something of everything in them, made."""
    async with world_of(database, at(MONDAY)) as made:
        await made.book.open("cus:rich/funds", "cus:1/btc")
        await made.book.move(f"bank/deposit {RICH} > cus:rich/funds {RICH} returning", kind="refund")
        await made.give("cus:1/paid_points 3000", kind="points_sale")
        await made.give("cus:1/trading_funds 300000", kind="exchange_in")
        await made.book.move("cus:1/trading_funds 200000 > cus:1/btc 2000000", kind="trade", rate="10000000")
        await made.heard()
        await recorded(made)
        made.go_to(TUESDAY)
        await made.give("cus:1/funds 10000", metadata={"payment_id": "top_1"})
        await made.heard()
        made.go_to(WEDNESDAY)
        await made.made(TUESDAY)
        yield made


async def recorded(world: World) -> None:
    """A deposit, a count and a price of today."""
    deposit = RecordSafeguard(
        book="funds_transfer",
        reference="certificate",
        means=SafeguardMeans.DEPOSIT,
        amount_minor=12_000_000,
        effective_on=world.today,
        place="Tokyo",
    )
    await world.desk.record_safeguard(deposit)
    count = WalletCount(wallet="vault", asset="BTC", cold=True, quantity=2_000_000)
    await world.desk.record_wallets(RecordWallets(day=world.today, wallets=[count]))
    prices = [AssetPrice(asset="BTC", unit_price="10500000")]
    await world.desk.record_prices(RecordPrices(day=world.today, source="market", prices=prices))


async def found(world: World) -> list[tuple[date, str]]:
    connection = await world.database.connect(None)
    try:
        return await differing_days(connection, world.rules)
    finally:
        await connection.close()


async def test_of_days_that_nobody_altered_nothing_differs(world: World) -> None:
    assert await found(world) == []


async def test_figures_of_the_law_that_changed_since_say_nothing_against_a_day(world: World) -> None:
    world.rules = rules_of(("retention_cap_minor = 1_000_000", "retention_cap_minor = 5_000"), ("= 500 ", "= 700 "))
    assert await found(world) == []


LINES = ("owner", "counterparty", "kind", "action", "exchange_id", "payment_id", "processing_id")
TRADES = ("owner", "capacity = 'AGENCY'", "unit_price", "counterparty", "order_kind", "limit_price", "reverses")
ALTERED = [
    *((f"UPDATE books.statement_line SET {name} = 'zzz'", MONDAY) for name in LINES),
    ("UPDATE books.statement_line SET balance = balance + 1", MONDAY),
    ("UPDATE books.statement_line SET occurred_at = occurred_at + interval '1 second'", MONDAY),
    ("UPDATE books.statement_line SET event_on = event_on - 1", MONDAY),
    ("UPDATE books.statement_line SET book_on = '2026-04-01', event_on = '2026-04-01'", date(2026, 4, 1)),
    *((f"UPDATE books.crypto_trade SET {name if '=' in name else name + chr(32) + '= chr(122)'}", MONDAY)
      for name in TRADES),
    ("UPDATE books.crypto_trade SET ordered_at = ordered_at - interval '1 hour'", MONDAY),
    ("UPDATE books.crypto_trade SET amount = amount + 1", MONDAY),
    ("DELETE FROM books.crypto_trade", MONDAY),
    ("INSERT INTO books.crypto_trade SELECT 'exc_0', owner, capacity, side, asset, quantity, price_asset, unit_price,"
     " amount, fee, counterparty, order_kind, limit_price, ordered, ordered_at, executed_at, reverses, '2020-01-01',"
     " '2020-01-01' FROM books.crypto_trade", MONDAY),
    ("DELETE FROM books.statutory_account", MONDAY),
    ("UPDATE books.statutory_account SET owner = 'cus:other' WHERE account_type = 'funds'", MONDAY),
    ("UPDATE books.security_day SET required = 1", MONDAY),
    ("UPDATE books.over_cap_day SET since = '2026-01-01' WHERE book_on = '2026-04-07'", TUESDAY),
    ("DELETE FROM books.over_cap_day WHERE book_on = '2026-04-07'", TUESDAY),
    ("INSERT INTO books.over_cap_day SELECT book_on, gen_random_uuid(), 'funds', 'cus:x', 2000000, 1000000, book_on"
     " FROM books.statutory_day WHERE book_on = '2026-04-07'", TUESDAY),
    ("UPDATE books.account_day SET told = told + 1", MONDAY),
    ("UPDATE books.statutory_day SET digest = 'x' WHERE book_on = '2026-04-07'", TUESDAY),
    ("UPDATE books.statutory_day SET lines = lines + 1 WHERE book_on = '2026-04-07'", TUESDAY),
    ("UPDATE books.statutory_day SET rules = '{}' WHERE book_on = '2026-04-07'", TUESDAY),
    ("UPDATE books.statutory_day SET rules = replace(rules, '10000000', '10000001')", MONDAY),
    ("UPDATE books.safeguard SET amount = amount * 2", MONDAY),
    ("DELETE FROM books.safeguard", MONDAY),
    ("UPDATE books.wallet_count SET quantity = quantity + 1", MONDAY),
    ("UPDATE books.wallet_count SET book_on = '2026-04-07'", MONDAY),
    ("UPDATE books.asset_price SET unit_price = '1'", MONDAY),
    ("UPDATE books.asset_price SET book_on = '2026-04-07'", TUESDAY),
    ("DELETE FROM books.statement_line WHERE book_on = '2026-04-07'", TUESDAY),
    ("DELETE FROM books.statutory_day WHERE book_on = '2026-04-06'", TUESDAY),
]  # fmt: skip


async def test_day_of_which_anything_was_altered_is_named(world: World) -> None:
    connection = await world.database.connect(None)
    try:
        for tampering, day in ALTERED:
            altering = connection.transaction()
            await altering.start()
            await connection.execute(tampering)
            days = {each for each, _ in await differing_days(connection, world.rules)}
            await altering.rollback()
            assert day in days, tampering
    finally:
        await connection.close()


async def test_lines_and_rows_that_were_altered_together_are_found(world: World) -> None:
    for table in ("statement_line", "book_day_category"):
        await world.database.fetch(None, f"UPDATE books.{table} SET category = 'RETURN' WHERE category = 'RECEIPT'")
    days = {each for each, _ in await found(world)}
    assert days == {MONDAY, TUESDAY}


async def test_rows_of_a_day_that_nobody_made_are_found(world: World) -> None:
    await world.database.fetch(None, "INSERT INTO books.security_day VALUES ('2026-04-09', 2, true, 0, 0, 1)")
    assert await found(world) == [(THURSDAY, "1 rows of security_day stand in no day that was made")]


async def test_category_that_a_book_does_not_know_is_told(world: World) -> None:
    await world.database.fetch(None, "UPDATE books.book_day_category SET category = 'GIFT' WHERE book_on = $1", TUESDAY)
    assert (TUESDAY, "funds has GIFT, which its book does not know") in await found(world)
