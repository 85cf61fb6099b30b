"""Memory is bounded, and what it does not hold, or holds in part, is looked up when it matters."""

from __future__ import annotations

import asyncio

import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.services.ledger.api import Exchange
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import recorder

from .book import Another, Book, FakeClock, start

CUSTOMERS = 30
OF_A_PAGE = 3
"""Accounts that the last page may have brought on top."""


@pytest.fixture
async def fresh(book: Book, another: Another) -> Book:
    """A ledger that knows none of the customers' accounts; each has 10 and then 5 yen, in two lots."""
    for customer in range(CUSTOMERS):
        await book.open(f"cus:{customer}/funds")
        await book.give(f"cus:{customer}/funds 10")
        await book.give(f"cus:{customer}/funds 5")
    return await another()


async def test_account_that_was_only_paid_into_spends_its_oldest_lot_first(fresh: Book, database: Database) -> None:
    await fresh.give("cus:1/funds 7")
    paid = await fresh.move("cus:1/funds 12 > cus:2/funds 12")
    assert [each.amount_minor for each in paid.legs[0].lots] == [-10, -2]
    assert [amount for amount, _ in await fresh.remaining("cus:1/funds")] == [3, 7]
    assert await verify(database.dsn) == []


async def test_what_is_paid_in_may_be_spent_while_it_is_still_being_written(fresh: Book, database: Database) -> None:
    told = await asyncio.gather(
        *(fresh.give(f"cus:{customer}/funds 7", name=f"in {customer}") for customer in range(CUSTOMERS)),
        *(fresh.move(f"cus:{n}/funds 20 > cus:{n + 1}/funds 20", name=f"out {n}") for n in range(CUSTOMERS - 1)),
    )
    assert all(isinstance(each, Exchange) for each in told)
    await fresh.shows("cus:0/funds", balance=2)
    await fresh.shows(f"cus:{CUSTOMERS - 1}/funds", balance=42)
    assert await verify(database.dsn) == []


async def test_memory_keeps_to_its_bound(database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "ACCOUNTS_MAX", 10)
    service, book = await start(database, clock, load_account_types(None))
    try:
        await book.open("cus:0/funds")
        for customer in range(1, CUSTOMERS):
            await book.open(f"cus:{customer}/funds")
            await book.give(f"cus:{customer}/funds 10")
            await book.move(f"cus:{customer}/funds 1 > cus:{customer // 2}/funds 1")
        assert service.recorder.cached <= 10 + OF_A_PAGE
        await book.shows("cus:1/funds", balance=11)
    finally:
        await service.close()
    assert await verify(database.dsn) == []
