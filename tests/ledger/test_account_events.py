"""The ledger tells of every account before anything that the account is in."""

from __future__ import annotations

import msgspec

from kessai.foundation.db import Database
from kessai.services.ledger import api
from kessai.services.ledger.api import AccountOpened

from .book import Book, account_id


async def _published(database: Database) -> list[tuple[str, list[dict[str, object]]]]:
    rows = await database.fetch(
        None, "SELECT topic, payload FROM ledger.outbox WHERE topic LIKE 'ledger.%' ORDER BY outbox_id"
    )
    return [(row["topic"], msgspec.json.decode(row["payload"])) for row in rows]


async def test_an_account_is_told_of_before_the_exchange_that_opens_it(book: Book, database: Database) -> None:
    await book.move("bank/deposit 5 > cus:1/free_points 5")
    (first, opened), (second, _) = await _published(database)
    assert (first, second) == ("ledger.account", "ledger.exchange")
    told = [msgspec.convert(each, AccountOpened) for each in opened]
    assert {(each.account_id, each.owner, each.account_type) for each in told} == {
        (account_id("bank/deposit"), "bank", "deposit"),
        (account_id("cus:1/free_points"), "cus:1", "free_points"),
    }
    assert {each.opened_at for each in told} == {(await book.account("cus:1/free_points")).opened_at}


async def test_an_account_is_told_of_once(book: Book, database: Database) -> None:
    for _ in range(2):
        await book.open("cus:1/funds")
        await book.give("cus:1/funds 5")
    told = [
        each["account_id"]
        for topic, events in await _published(database)
        if topic == "ledger.account"
        for each in events
    ]
    assert sorted(told, key=str) == sorted([account_id("bank/deposit"), account_id("cus:1/funds")])


async def test_a_refused_exchange_tells_of_no_account(book: Book, database: Database) -> None:
    await book.open("cus:1/funds")
    answers = await book.batch(book.request("cus:1/funds 5 > mer:1/unsettled_sales 5"))
    assert answers == ["insufficient_funds"]
    assert [len(events) for _, events in await _published(database)] == [1]


async def test_every_account_is_exported_with_its_owner_and_type(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/btc")
    await book.give("cus:1/funds 5")
    found = {each.account_id: each async for each in book.ledger.export_accounts(api.ExportAccounts())}
    assert list(found) == sorted(found)
    assert {(each.owner, each.account_type) for each in found.values()} == {
        ("cus:1", "funds"), ("cus:2", "btc"), ("bank", "deposit"),
    }  # fmt: skip
    one = found[account_id("cus:1/funds")]
    assert one.opened_at == (await book.account("cus:1/funds")).opened_at
