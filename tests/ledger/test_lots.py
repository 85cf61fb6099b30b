"""Lots (Item): one a credit, consumed by expiry, held by holds, restored by refunds, swept when they expire."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from kessai.foundation.errors import Invalid, Refused
from kessai.services.ledger import api

from .book import Book, account_id

MANY = 120
"""More lots than the ledger keeps in memory for one account."""


async def test_every_credit_is_a_lot_named_after_its_log_entry(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.give("cus:1/funds 50")
    lots = await book.lots("cus:1/funds")
    entries = sorted(log.sequence for log in await book.logs("cus:1/funds") if log.amount_minor > 0)
    assert [lot.lot_id for lot in lots] == [f"lot_{account_id('cus:1/funds')[4:]}_{sequence}" for sequence in entries]
    assert [(lot.amount_minor, lot.remaining_minor, lot.held_minor) for lot in lots] == [(100, 100, 0), (50, 50, 0)]


async def test_log_only_and_credit_accounts_have_no_lots(book: Book) -> None:
    await book.open("cus:1/credit", "cus:1/funds")
    await book.give("cus:1/credit 100")
    await book.give("cus:1/funds 100")
    await book.move("cus:1/funds 50 > mer:1/unsettled_sales 50")
    assert await book.lots("cus:1/credit") == []
    assert await book.lots("mer:1/unsettled_sales") == []


async def test_soonest_expiry_is_consumed_first_then_the_oldest(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=30d")
    await book.give("cus:1/free_points 20 expires=10d")
    await book.give("cus:1/free_points 40 expires=30d")
    assert await book.remaining("cus:1/free_points") == [(20, 10), (10, 30), (40, 30)]
    await book.move("cus:1/free_points 25 > mer:1/unsettled_sales 25")
    assert await book.remaining("cus:1/free_points") == [(5, 30), (40, 30)]


async def test_taken_lots_are_told_in_the_answer(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=30d")
    await book.give("cus:1/free_points 20 expires=10d")
    order = [lot.lot_id for lot in await book.lots("cus:1/free_points")]
    paid = await book.move("cus:1/free_points 25 > mer:1/unsettled_sales 25")
    assert [(each.lot_id, each.amount_minor) for each in paid.legs[0].lots] == [(order[0], -20), (order[1], -5)]


async def test_lot_without_its_own_expiry_lives_as_long_as_its_type_says(book: Book) -> None:
    await book.give("cus:1/free_points 10")
    await book.give("cus:1/paid_points 10")
    assert await book.remaining("cus:1/free_points") == [(10, 180)]
    assert await book.remaining("cus:1/paid_points") == [(10, 365)]


async def test_expired_lot_is_not_available_before_anything_has_swept_it(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.give("cus:1/free_points 20 expires=9d")
    book.clock.advance(days=5, seconds=1)
    await book.shows("cus:1/free_points", balance=30, available=20)
    await book.move("cus:1/free_points 20 > mer:1/unsettled_sales 20")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/free_points 1 > mer:1/unsettled_sales 1")
    assert refusal.value.code == "insufficient_funds"


async def test_expiry_is_posted_to_breakage(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.give("cus:1/free_points 20 expires=9d")
    book.clock.advance(days=5, seconds=1)
    await book.run("expire_lots")
    await book.shows("cus:1/free_points", balance=20, available=20)
    assert (await book.totals())["expiry_breakage"] == 10
    (swept, *_) = await book.logs("cus:1/free_points")
    assert (swept.amount_minor, swept.balance_minor) == (-10, 20)
    assert (await book.exchange(swept.exchange_id)).kind == "expiry"


async def test_sweeping_twice_posts_once(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    book.clock.advance(days=6)
    await book.run("expire_lots", "expire_lots")
    assert (await book.totals())["expiry_breakage"] == 10


async def test_all_customers_expired_lots_are_swept(book: Book) -> None:
    for customer in range(7):
        await book.give(f"cus:{customer}/free_points 10 expires=5d")
        await book.give(f"cus:{customer}/paid_points 3 expires=5d")
    book.clock.advance(days=6)
    await book.run("expire_lots")
    assert (await book.totals())["expiry_breakage"] == 7 * 13


async def test_lot_that_expired_while_held_may_still_be_captured(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.hold("cus:1/free_points 8 > mer:1/unsettled_sales 8", name="order")
    book.clock.advance(days=6)
    await book.run("expire_lots")
    await book.shows("cus:1/free_points", balance=8, held=8, available=0)
    await book.capture("order")
    await book.shows("cus:1/free_points", balance=0, held=0)
    await book.shows("mer:1/unsettled_sales", balance=8)
    assert (await book.totals())["expiry_breakage"] == 2


async def test_expired_rest_of_a_hold_goes_to_breakage_once_it_is_released(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.hold("cus:1/free_points 10 > mer:1/unsettled_sales 10", name="order")
    book.clock.advance(days=6)
    await book.capture("order", 4)
    await book.shows("cus:1/free_points", balance=6, held=0, available=0)
    await book.run("expire_lots")
    await book.shows("cus:1/free_points", balance=0)
    assert (await book.totals())["expiry_breakage"] == 6


async def test_void_gives_the_hold_back_to_its_own_lots(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.give("cus:1/free_points 10 expires=50d")
    await book.hold("cus:1/free_points 15 > mer:1/unsettled_sales 15", name="order")
    assert [(lot.remaining_minor, lot.held_minor) for lot in await book.lots("cus:1/free_points")] == [
        (10, 10),
        (10, 5),
    ]
    await book.void("order")
    assert [(lot.remaining_minor, lot.held_minor) for lot in await book.lots("cus:1/free_points")] == [(10, 0), (10, 0)]


async def test_partial_capture_takes_the_soonest_held_lots(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.give("cus:1/free_points 10 expires=50d")
    await book.hold("cus:1/free_points 20 > mer:1/unsettled_sales 20", name="order")
    await book.capture("order", 12)
    assert await book.remaining("cus:1/free_points") == [(8, 50)]


async def test_credit_that_expires_sooner_than_held_lots_is_spent_first(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=50d")
    await book.hold("cus:1/free_points 10 > mer:1/unsettled_sales 10", name="order")
    await book.give("cus:1/free_points 10 expires=5d")
    await book.move("cus:1/free_points 10 > mer:1/unsettled_sales 10")
    await book.capture("order")
    await book.shows("cus:1/free_points", balance=0, held=0)


# -- more lots than memory keeps ----------------------------------------------------------------------------------


async def _many(book: Book, lots: int = MANY) -> None:
    """Lots of 1, 2, 3 … points; the later one is given, the sooner it expires."""
    requests = [
        book.request(f"bank/deposit {n} > cus:1/free_points {n} expires={lots + 10 - n}d") for n in range(1, lots + 1)
    ]
    assert await book.batch(*requests) == ["done"] * lots


async def test_many_lots_are_consumed_in_order(book: Book) -> None:
    await _many(book)
    total = MANY * (MANY + 1) // 2
    await book.move(f"cus:1/free_points {total - 3} > mer:1/unsettled_sales {total - 3}")
    assert [remaining for remaining, _ in await book.remaining("cus:1/free_points")] == [2, 1]


async def test_many_lots_are_consumed_one_by_one(book: Book) -> None:
    await _many(book)
    for n in range(MANY, 0, -1):
        paid = await book.move(f"cus:1/free_points {n} > mer:1/unsettled_sales {n}")
        assert len(paid.legs[0].lots) == 1
    await book.shows("cus:1/free_points", balance=0)


async def test_many_lots_can_all_be_held_and_captured(book: Book) -> None:
    await _many(book)
    total = MANY * (MANY + 1) // 2
    await book.hold(f"cus:1/free_points {total} > mer:1/unsettled_sales {total}", name="order")
    await book.shows("cus:1/free_points", held=total, available=0)
    await book.capture("order", total - 1)
    await book.shows("cus:1/free_points", balance=1, held=0, available=1)
    await book.reverse("order")
    await book.shows("cus:1/free_points", balance=total)
    assert [remaining for remaining, _ in await book.remaining("cus:1/free_points")] == list(range(MANY, 0, -1))


async def test_many_expired_lots_are_not_available_and_are_swept(book: Book) -> None:
    await _many(book)
    kept = 5
    book.clock.advance(days=MANY + 9 - kept, seconds=1)
    left = kept * (kept + 1) // 2
    await book.shows("cus:1/free_points", available=left)
    with pytest.raises(Refused) as refusal:
        await book.move(f"cus:1/free_points {left + 1} > mer:1/unsettled_sales {left + 1}")
    assert refusal.value.code == "insufficient_funds"
    await book.move(f"cus:1/free_points {left} > mer:1/unsettled_sales {left}")
    await book.run("expire_lots")
    await book.shows("cus:1/free_points", balance=0, available=0)
    assert (await book.totals())["expiry_breakage"] == MANY * (MANY + 1) // 2 - left


async def test_many_held_lots_do_not_hide_the_free_ones(book: Book) -> None:
    await _many(book)
    for n in range(MANY, 10, -1):
        await book.hold(f"cus:1/free_points {n} > mer:1/unsettled_sales {n}")
    await book.shows("cus:1/free_points", available=55)
    await book.move("cus:1/free_points 55 > mer:1/unsettled_sales 55")
    await book.shows("cus:1/free_points", available=0)


async def test_new_lot_among_many_takes_its_place_by_expiry(book: Book) -> None:
    await _many(book)
    await book.give("cus:1/free_points 1000 expires=9d")
    await book.give("cus:1/free_points 2000 expires=900d")
    paid = await book.move("cus:1/free_points 1000 > mer:1/unsettled_sales 1000")
    assert [each.amount_minor for each in paid.legs[0].lots] == [-1000]
    assert (await book.remaining("cus:1/free_points"))[-1] == (2_000, 900)


async def test_many_lots_are_paged_in_order(book: Book) -> None:
    await _many(book)
    for page in (1, 7, 50, 1000):
        lots = await book.lots("cus:1/free_points", page=page)
        assert [lot.remaining_minor for lot in lots] == list(range(MANY, 0, -1))


async def test_never_expiring_lots_are_paged_too(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.batch(*[book.request(f"bank/deposit {n} > cus:1/funds {n}") for n in range(1, 31)])
    assert [lot.remaining_minor for lot in await book.lots("cus:1/funds", page=7)] == list(range(1, 31))


async def test_exhausted_lots_are_listed_when_asked(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.give("cus:1/funds 50")
    await book.move("cus:1/funds 120 > mer:1/unsettled_sales 120")
    assert [lot.remaining_minor for lot in await book.lots("cus:1/funds")] == [30]
    assert [lot.remaining_minor for lot in await book.lots("cus:1/funds", include_empty=True)] == [0, 30]


async def test_lot_lives_a_hundred_years_at_most(book: Book) -> None:
    target = msgspec.structs.replace(book.leg("cus:1/free_points 10"), expires_at=datetime.max.replace(tzinfo=UTC))
    with pytest.raises(Invalid) as refusal:
        await book.ledger.create_exchange(api.CreateExchange(sources=[book.leg("bank/deposit 10")], targets=[target]))
    assert refusal.value.code == "expires_too_far"
    await book.give("cus:1/free_points 10 expires=36500d")
    await book.move("cus:1/free_points 4 > mer:1/unsettled_sales 4")
    assert await book.remaining("cus:1/free_points") == [(6, 36_500)]


async def test_credit_and_debit_of_an_account_with_many_lots_in_one_batch(book: Book) -> None:
    for _ in range(13):
        await book.give("cus:1/sales 10")
    asked = [
        book.request("bank/deposit 100 > cus:1/sales 100"),
        book.request("cus:1/sales 230 > cus:2/sales 230"),
    ]
    told = await book.ledger.create_exchanges(api.CreateExchanges(exchanges=asked, all_or_nothing=True))
    assert all(outcome.failure is None for outcome in told.outcomes)
    await book.shows("cus:1/sales", balance=0)


async def test_lot_captured_in_two_parts_returns_although_sooner_lots_fill_the_window(book: Book) -> None:
    await book.give("cus:1/free_points 100 expires=100d")
    await book.hold("cus:1/free_points 100 > mer:1/unsettled_sales 100", name="order")
    await book.capture("order", 40, final=False)
    await book.capture("order", 60)
    for _ in range(14):
        await book.give("cus:1/free_points 10 expires=10d")
    await book.reverse("order")
    await book.shows("cus:1/free_points", balance=240, available=240)


async def test_lot_emptied_behind_a_held_one_returns_once(book: Book) -> None:
    for days in (10, 20, 30):
        await book.give(f"cus:1/free_points 100 expires={days}d")
    await book.hold("cus:1/free_points 100 > mer:1/unsettled_sales 100", name="held", expires_at=None)
    await book.move("cus:1/free_points 100 > mer:1/unsettled_sales 100", name="order")
    await book.reverse("order")
    book.clock.advance(days=21)
    await book.shows("cus:1/free_points", available=100)
    await book.move("cus:1/free_points 100 > mer:1/unsettled_sales 100")
    await book.shows("cus:1/free_points", available=0)
