"""Two ledgers on one database, as two processes would be: nothing is lost, doubled or overdrawn between them."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Refused, Unavailable
from kessai.foundation.lease import DatabaseTime
from kessai.services.ledger.api import Exchange
from kessai.services.ledger.domain.types import load_account_types

from .book import FIRST_INSTANT, Another, Book, FakeClock, start
from .invariants import broken

CUSTOMERS = 6
ROUNDS = 40


@pytest.fixture
async def two(book: Book, another: Another) -> list[Book]:
    """Two ledgers that know the same customers."""
    for customer in range(CUSTOMERS):
        await book.open(f"cus:{customer}/funds")
        await book.give(f"cus:{customer}/funds 10000")
    return [book, await another()]


async def _pay(book: Book, chance: random.Random, name: str) -> Exchange | PaymentError:
    payer, payee = chance.sample(range(CUSTOMERS), 2)
    amount = chance.randint(1, 4_000)
    while True:
        try:
            return await book.move(f"cus:{payer}/funds {amount} > cus:{payee}/funds {amount}", name=name)
        except Refused as refusal:
            return refusal
        except Unavailable:
            await asyncio.sleep(0.01)


async def test_transfers_from_both_sides_lose_and_double_nothing(two: list[Book], database: Database) -> None:
    chance = random.Random(7)
    told: list[Exchange | PaymentError] = []
    for number in range(ROUNDS // 4):
        told += await asyncio.gather(
            *[_pay(book, chance, f"{number}-{side}-{n}") for side, book in enumerate(two) for n in range(6)]
        )
    expected = dict.fromkeys((f"cus:{customer}/funds" for customer in range(CUSTOMERS)), 10_000)
    by_id = {(await two[0].account(account)).account_id: account for account in expected}
    for exchange in told:
        if isinstance(exchange, Exchange):
            for leg in exchange.legs:
                expected[by_id[leg.account_id]] += leg.amount_minor
    for account, balance in expected.items():
        for book in two:
            await book.shows(account, balance=balance)
    assert sum(isinstance(each, Exchange) for each in told) > len(told) // 4
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_last_yen_is_spent_once(two: list[Book], database: Database) -> None:
    await two[0].open("cus:9/funds")
    for number in range(10):
        await two[number % 2].give("cus:9/funds 1")
        answers = await asyncio.gather(
            *[book.move("cus:9/funds 1 > mer:1/unsettled_sales 1") for book in two for _ in range(4)],
            return_exceptions=True,
        )
        assert sum(isinstance(answer, Exchange) for answer in answers) == 1
        assert {answer.code for answer in answers if isinstance(answer, PaymentError)} == {"insufficient_funds"}
    await two[0].shows("cus:9/funds", balance=0)
    await two[1].shows("mer:1/unsettled_sales", balance=10)
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_hold_is_ended_once_by_capture_void_or_expiry(two: list[Book], database: Database) -> None:
    for number in range(8):
        name = f"order-{number}"
        await two[0].hold("cus:1/funds 10 > mer:1/unsettled_sales 10", name=name)
        answers = await asyncio.gather(
            two[0].capture(name), two[1].capture(name), two[0].void(name), two[1].void(name), return_exceptions=True
        )
        assert sum(isinstance(answer, Exchange) for answer in answers) == 1
        codes = {answer.code for answer in answers if isinstance(answer, PaymentError)}
        assert codes == {"exchange_not_authorized"}
    await two[0].shows("cus:1/funds", held=0)
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_refunds_from_both_sides_never_pass_what_was_paid(two: list[Book], database: Database) -> None:
    await two[0].move("cus:1/funds 100 > mer:1/unsettled_sales 100", name="order")
    answers = await asyncio.gather(
        *[book.reverse("order", 30) for book in two for _ in range(4)], return_exceptions=True
    )
    assert sum(isinstance(answer, Exchange) for answer in answers) == 3
    assert {answer.code for answer in answers if isinstance(answer, PaymentError)} == {"reversal_above_captured"}
    await two[1].shows("cus:1/funds", balance=9_990)
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_account_is_born_once_when_both_credit_it_first(two: list[Book], database: Database) -> None:
    answers = await asyncio.gather(*[book.give("cus:77/sales 5") for book in two for _ in range(6)])
    assert len(answers) == 12
    await two[1].shows("cus:77/sales", balance=60)
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_log_only_account_takes_from_both_at_once(two: list[Book], database: Database) -> None:
    await asyncio.gather(
        *[
            book.move(f"cus:{number % CUSTOMERS}/funds 1 > mer:1/unsettled_sales 1")
            for number in range(ROUNDS)
            for book in two
        ]
    )
    await two[0].run("roll_up")
    for book in two:
        await book.shows("mer:1/unsettled_sales", balance=2 * ROUNDS)
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_sweep_and_spend_at_once_do_not_take_a_lot_twice(two: list[Book], database: Database) -> None:
    for customer in range(CUSTOMERS):
        await two[0].give(f"cus:{customer}/free_points 10 expires=5d")
        await two[0].give(f"cus:{customer}/free_points 10 expires=50d")
    two[0].clock.advance(days=6)
    spend = [
        book.move(f"cus:{customer}/free_points 5 > mer:1/unsettled_sales 5")
        for customer in range(CUSTOMERS)
        for book in two
    ]
    await asyncio.gather(two[0].run("expire_lots"), two[1].run("expire_lots"), *spend)
    for customer in range(CUSTOMERS):
        await two[0].shows(f"cus:{customer}/free_points", balance=0)
    assert (await two[0].totals())["expiry_breakage"] == 10 * CUSTOMERS
    assert await broken(database) == []
    assert await verify(database.dsn) == []


async def test_process_that_joins_with_a_slow_clock_is_counted(database: Database, clock: FakeClock) -> None:
    ahead = FakeClock(clock.now() + timedelta(milliseconds=200))
    first, fast = await start(database, ahead, load_account_types(None))
    beside = Database(database.dsn)
    try:
        await fast.open("cus:1/funds")
        await fast.give("cus:1/funds 1_000")
        ahead.advance(seconds=1)
        await fast.run("roll_up")
        clock.advance(seconds=1)
        second, slow = await start(beside, clock, load_account_types(None))
        await slow.give("cus:1/funds 500")
        ahead.advance(seconds=10)
        clock.advance(seconds=10)
        for book in (fast, slow):
            assert await book.balance("bank/deposit") == -1_500
        await slow.run("roll_up")
        await fast.run("roll_up")
        assert (await fast.totals())["deposit"] == -1_500
        assert await verify(database.dsn) == []
        await second.close()
    finally:
        await first.close()
        await beside.close()


async def test_process_keeps_its_own_slot_however_its_clock_stood_still(
    book: Book, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stood_still(_: object) -> datetime:
        return FIRST_INSTANT  # what a machine that has slept takes for the database's time

    await book.open("cus:1/funds")
    monkeypatch.setattr(DatabaseTime, "now", stood_still)
    before = await database.fetch(None, "SELECT slot, epoch FROM ledger.writer ORDER BY slot")
    for _ in range(3):
        book.clock.advance(seconds=5)
        await book.run("roll_up")
        await book.give("cus:1/funds 1")
    assert await database.fetch(None, "SELECT slot, epoch FROM ledger.writer ORDER BY slot") == before
