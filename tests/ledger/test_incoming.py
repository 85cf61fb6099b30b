"""What held exchanges may still bring to an account counts towards its retention cap (滞留上限) and is never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Refused

from .book import Another, Book, account_id

CAP = 1_000_000


async def _code(work: Awaitable[object]) -> str:
    try:
        await work
    except PaymentError as refusal:
        return refusal.code
    return "done"


async def _incoming(database: Database, account: str) -> int:
    (row,) = await database.fetch(
        None, "SELECT incoming FROM ledger.account WHERE account_id = $1", account_id(account)[4:]
    )
    return row["incoming"]


async def test_holds_together_cannot_pass_the_cap(book: Book, database: Database) -> None:
    await book.open("cus:1/funds")
    await book.hold("bank/deposit 900_000 > cus:1/funds 900_000", name="first")
    with pytest.raises(Refused, match="retention_cap_exceeded"):
        await book.hold("bank/deposit 100_001 > cus:1/funds 100_001")
    await book.hold("bank/deposit 100_000 > cus:1/funds 100_000", name="second")
    await book.capture("first")
    await book.capture("second")
    await book.shows("cus:1/funds", balance=CAP)
    assert await verify(database.dsn) == []


@pytest.mark.parametrize("leg", ["cus:1/funds 100_001", "acc"], ids=["by-owner", "plain"])
async def test_credit_at_once_counts_what_is_held_for_the_account(book: Book, leg: str) -> None:
    await book.open("cus:1/funds", "bank/deposit")
    await book.hold("bank/deposit 900_000 > cus:1/funds 900_000", name="held")
    source = "bank/deposit" if leg != "acc" else account_id("bank/deposit")
    target = leg if leg != "acc" else f"{account_id('cus:1/funds')} 100_001"
    assert await _code(book.move(f"{source} 100_001 > {target}")) == "retention_cap_exceeded"
    await book.capture("held")
    await book.shows("cus:1/funds", balance=900_000)


ENDS: dict[str, tuple[Callable[[Book], Awaitable[object]], int, int]] = {
    "void": (lambda b: b.void("held"), 0, 0),
    "expiry": (lambda b: _lapse(b), 0, 0),
    "capture": (lambda b: b.capture("held"), 900_000, 0),
    "capture-of-a-part": (lambda b: b.capture("held", 300_000), 300_000, 0),
    "capture-of-a-part-and-more-to-come": (lambda b: b.capture("held", 300_000, final=False), 300_000, 600_000),
    "capture-in-parts-then-void": (lambda b: _in_parts(b), 300_000, 0),
}


async def _lapse(book: Book) -> None:
    book.clock.advance(days=8)
    await book.run("expire_exchanges")


async def _in_parts(book: Book) -> None:
    await book.capture("held", 300_000, final=False)
    await book.void("held")


@pytest.mark.parametrize("end", ENDS)
async def test_what_a_hold_does_not_bring_any_more_may_come_otherwise(
    book: Book, another: Another, database: Database, end: str
) -> None:
    await book.open("cus:1/funds")
    await book.hold("bank/deposit 900_000 > cus:1/funds 900_000", name="held")
    work, balance, left = ENDS[end]
    await work(book)
    await book.shows("cus:1/funds", balance=balance)
    assert await _incoming(database, "cus:1/funds") == left
    room = CAP - balance - left
    for each in (book, await another()):
        assert await _code(each.give(f"cus:1/funds {room + 1}")) == "retention_cap_exceeded"
    await book.give(f"cus:1/funds {room}")
    assert await verify(database.dsn) == []


async def test_holds_in_several_processes_at_once_stay_below_the_cap(
    book: Book, another: Another, database: Database
) -> None:
    await book.open("cus:1/funds")
    books = [book, await another(), await another()]
    request = "bank/deposit 300_000 > cus:1/funds 300_000"
    told = await asyncio.gather(*[_code(each.hold(request)) for each in books for _ in range(3)])
    assert sorted(told) == ["done"] * 3 + ["retention_cap_exceeded"] * 6
    assert await _incoming(database, "cus:1/funds") == 900_000
    assert await verify(database.dsn) == []


async def test_returns_land_although_holds_fill_the_cap(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 500_000")
    await book.move("cus:1/funds 500_000 > mer:1/unsettled_sales 500_000", name="paid")
    await book.hold(f"bank/deposit {CAP} > cus:1/funds {CAP}", name="held")
    await book.reverse("paid")
    await book.capture("held")
    await book.shows("cus:1/funds", balance=CAP + 500_000)


async def test_hold_of_a_chain_that_is_undone_counts_no_longer(book: Book, database: Database) -> None:
    await book.open("cus:1/funds")
    held = book.request(f"bank/deposit {CAP} > cus:1/funds {CAP}", capture=False, linked=True)
    refused = book.request("cus:2/funds 1 > cus:1/funds 1")
    assert await book.batch(held, refused) == ["linked_exchange_failed", "account_not_found"]
    assert await _incoming(database, "cus:1/funds") == 0
    await book.give(f"cus:1/funds {CAP}")
    assert await verify(database.dsn) == []


async def test_hold_for_an_account_that_it_opens_is_counted(book: Book, database: Database) -> None:
    await book.hold("bank/point_cost 500 > cus:1/free_points 500", name="held")
    assert await _incoming(database, "cus:1/free_points") == 500
    await book.capture("held")
    assert await _incoming(database, "cus:1/free_points") == 0
    assert await verify(database.dsn) == []


async def test_account_that_tells_of_other_holds_than_there_are_is_found(book: Book, database: Database) -> None:
    await book.open("cus:1/funds")
    await book.hold("bank/deposit 300 > cus:1/funds 300")
    await database.fetch(None, "UPDATE ledger.account SET incoming = 299 WHERE incoming = 300")
    (finding,) = await verify(database.dsn)
    assert finding.invariant == "what is to come to an account is what held exchanges may bring it"
