"""Batches: many exchanges in one flush, each alone, all or none, or linked in chains."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kessai.foundation.db import Database
from kessai.services.ledger import api

from .book import Book
from .rows import picture


@pytest.fixture
async def funded(book: Book) -> Book:
    """Three customers with ¥100 each."""
    for customer in (1, 2, 3):
        await book.open(f"cus:{customer}/funds")
        await book.give(f"cus:{customer}/funds 100")
    return book


def _pay(book: Book, customer: int, amount: int, *, linked: bool = False, **fields: Any) -> api.CreateExchange:
    request = book.request(f"cus:{customer}/funds {amount} > mer:1/unsettled_sales {amount}", **fields)
    return msgspec.structs.replace(request, linked=linked)


async def test_each_stands_alone_in_its_place(funded: Book) -> None:
    outcomes = await funded.batch(_pay(funded, 1, 60), _pay(funded, 1, 60), _pay(funded, 2, 100), _pay(funded, 9, 1))
    assert outcomes == ["done", "insufficient_funds", "done", "account_not_found"]
    await funded.shows("mer:1/unsettled_sales", balance=160)


async def test_later_exchange_sees_what_an_earlier_one_did(funded: Book) -> None:
    first = funded.request("cus:1/funds 100 > cus:2/funds 100")
    second = funded.request("cus:2/funds 200 > cus:3/funds 200")
    assert await funded.batch(first, second) == ["done", "done"]
    await funded.shows("cus:3/funds", balance=300)


async def test_all_or_nothing_does_nothing_when_one_fails(funded: Book, database: Database) -> None:
    before = await picture(database)
    outcomes = await funded.batch(_pay(funded, 1, 60), _pay(funded, 2, 101), _pay(funded, 3, 100), all_or_nothing=True)
    assert outcomes == ["batch_aborted", "insufficient_funds", "batch_aborted"]
    assert await picture(database) == before


async def test_all_or_nothing_does_everything_when_nothing_fails(funded: Book) -> None:
    outcomes = await funded.batch(_pay(funded, 1, 60), _pay(funded, 2, 100), all_or_nothing=True)
    assert outcomes == ["done", "done"]
    await funded.shows("mer:1/unsettled_sales", balance=160)


async def test_chain_falls_together_and_leaves_its_neighbours(funded: Book) -> None:
    outcomes = await funded.batch(
        _pay(funded, 1, 10),
        _pay(funded, 1, 60, linked=True),
        _pay(funded, 2, 500, linked=True),
        _pay(funded, 3, 10),
        _pay(funded, 3, 20),
    )
    assert outcomes == ["done", "linked_exchange_failed", "insufficient_funds", "linked_exchange_failed", "done"]
    await funded.shows("cus:1/funds", balance=90)
    await funded.shows("cus:3/funds", balance=80)


async def test_chain_stands_together(funded: Book) -> None:
    outcomes = await funded.batch(_pay(funded, 1, 60, linked=True), _pay(funded, 2, 60))
    assert outcomes == ["done", "done"]


async def test_two_chains_are_independent(funded: Book) -> None:
    outcomes = await funded.batch(
        _pay(funded, 1, 60, linked=True), _pay(funded, 9, 1), _pay(funded, 2, 60, linked=True), _pay(funded, 3, 60)
    )
    assert outcomes == ["linked_exchange_failed", "account_not_found", "done", "done"]


async def test_chain_at_the_end_of_a_batch_needs_no_closing_link(funded: Book) -> None:
    assert await funded.batch(_pay(funded, 1, 10), _pay(funded, 1, 10, linked=True)) == ["done", "done"]
    assert await funded.batch(_pay(funded, 1, 10), _pay(funded, 1, 999, linked=True)) == ["done", "insufficient_funds"]


async def test_failed_chain_leaves_lots_and_holds_as_they_were(funded: Book) -> None:
    await funded.give("cus:1/free_points 50 expires=9d")
    lots = await funded.lots("cus:1/free_points")
    chain = [
        funded.request("cus:1/free_points 20 > mer:1/unsettled_sales 20"),
        funded.request("cus:1/free_points 20 > mer:1/unsettled_sales 20", capture=False),
        funded.request("cus:1/free_points 20 > mer:1/unsettled_sales 20"),
    ]
    linked = [msgspec.structs.replace(each, linked=True) for each in chain]
    assert await funded.batch(*linked) == ["linked_exchange_failed", "linked_exchange_failed", "insufficient_funds"]
    assert await funded.lots("cus:1/free_points") == lots
    await funded.move("cus:1/free_points 50 > mer:1/unsettled_sales 50")


async def test_failed_chain_opens_no_account_and_the_next_may(funded: Book) -> None:
    born = msgspec.structs.replace(funded.request("cus:1/funds 10 > cus:1/sales 10"), linked=True)
    assert await funded.batch(born, _pay(funded, 9, 1)) == ["linked_exchange_failed", "account_not_found"]
    assert await funded.batch(born, _pay(funded, 2, 1)) == ["done", "done"]
    await funded.shows("cus:1/sales", balance=10)


async def test_account_opened_in_a_batch_is_used_in_the_same_batch(funded: Book) -> None:
    outcomes = await funded.batch(
        funded.request("cus:1/funds 100 > cus:7/sales 100"), funded.request("cus:7/sales 100 > cus:2/funds 100")
    )
    assert outcomes == ["done", "done"]
    await funded.shows("cus:2/funds", balance=200)


async def test_same_exchange_twice_in_a_batch_is_done_once(funded: Book) -> None:
    request = _pay(funded, 1, 60, name="order")
    assert await funded.batch(request, request) == ["done", "done"]
    await funded.shows("cus:1/funds", balance=40)


async def test_same_id_with_other_content_in_a_batch_is_refused(funded: Book) -> None:
    outcomes = await funded.batch(_pay(funded, 1, 60, name="order"), _pay(funded, 1, 10, name="order"))
    assert outcomes == ["done", "exchange_id_reused"]


async def test_same_reference_twice_in_a_batch_is_refused_the_second_time(funded: Book) -> None:
    outcomes = await funded.batch(_pay(funded, 1, 60, reference="R-1"), _pay(funded, 1, 10, reference="R-1"))
    assert outcomes == ["done", "reference_reused"]
    await funded.shows("cus:1/funds", balance=40)


async def test_batch_sent_again_gives_the_same_answers_and_moves_nothing(funded: Book, database: Database) -> None:
    requests = api.CreateExchanges(
        exchanges=[_pay(funded, 1, 60, name="a"), _pay(funded, 1, 60, name="b"), _pay(funded, 2, 5, name="c")]
    )
    first = await funded.ledger.create_exchanges(requests)
    before = await picture(database)
    second = await funded.ledger.create_exchanges(requests)
    assert [outcome.exchange for outcome in second.outcomes] == [outcome.exchange for outcome in first.outcomes]
    assert await picture(database) == before


async def test_largest_batch_is_one_flush(funded: Book, database: Database) -> None:
    count = "SELECT count(*) FROM ledger.flush"
    ((before,),) = await database.fetch(None, count)
    outcomes = await funded.batch(*[funded.request("bank/deposit 1 > cus:5/sales 1")] * api.BATCH_EXCHANGES_MAX)
    assert outcomes == ["done"] * api.BATCH_EXCHANGES_MAX
    ((after,),) = await database.fetch(None, count)
    assert after - before == 1
    await funded.shows("cus:5/sales", balance=api.BATCH_EXCHANGES_MAX)
    assert len(await funded.lots("cus:5/sales")) == api.BATCH_EXCHANGES_MAX


async def test_balance_cannot_pass_what_can_be_recorded(funded: Book) -> None:
    most = 10**16
    fits = (2**63 - 1) // most
    requests = [funded.request(f"bank:{n}/deposit {most} > cus:5/sales {most}") for n in range(fits + 1)]
    assert await funded.batch(*requests) == ["done"] * fits + ["balance_overflow"]
    await funded.shows("cus:5/sales", balance=fits * most)
