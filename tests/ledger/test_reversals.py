"""Reversals: captured value goes back, whole or in part, to the lots from which it came."""

from __future__ import annotations

import pytest

from kessai.foundation.errors import Refused
from kessai.services.ledger.api import Freeze

from .book import Book, exchange_id


async def test_reversal_is_an_exchange_of_its_own_the_other_way(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    await book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    back = await book.reverse("order", reversal="refund", kind="refund", reference="REF-1", metadata={"why": "broken"})
    assert (back.exchange_id, back.reverses, back.kind) == (exchange_id("refund"), exchange_id("order"), "refund")
    assert [leg.amount_minor for leg in back.legs] == [-300, 300]
    assert (back.reference, back.metadata) == ("REF-1", {"why": "broken"})
    await book.shows("cus:1/funds", balance=1_000, available=1_000)
    await book.shows("mer:1/unsettled_sales", balance=0)
    assert [leg.reversed_minor for leg in (await book.exchange("order")).legs] == [300, 300]


async def test_parts_are_reversed_until_nothing_is_left(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 300")
    await book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    for part in (100, 150, 50):
        await book.reverse("order", part)
    await book.shows("cus:1/funds", balance=300)
    with pytest.raises(Refused):
        await book.reverse("order", 1)


async def test_consumed_lot_comes_back_as_itself(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=30d")
    await book.give("cus:1/free_points 20 expires=10d")
    before = await book.lots("cus:1/free_points")
    await book.move("cus:1/free_points 25 > mer:1/unsettled_sales 25", name="order")
    back = await book.reverse("order")
    assert await book.lots("cus:1/free_points") == before
    returned = {each.lot_id: each.amount_minor for each in back.legs[-1].lots}
    assert returned == {before[0].lot_id: 20, before[1].lot_id: 5}


async def test_part_of_a_reversal_goes_to_the_lots_consumed_last(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=30d")
    await book.give("cus:1/free_points 20 expires=10d")
    await book.move("cus:1/free_points 25 > mer:1/unsettled_sales 25", name="order")
    await book.reverse("order", 8)
    assert await book.remaining("cus:1/free_points") == [(3, 10), (10, 30)]


async def test_lot_that_expired_since_returns_with_days_of_grace(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=5d")
    await book.move("cus:1/free_points 10 > mer:1/unsettled_sales 10", name="order")
    book.clock.advance(days=6)
    await book.reverse("order")
    assert await book.remaining("cus:1/free_points") == [(10, 30)]
    await book.shows("cus:1/free_points", balance=10, available=10)
    await book.run("expire_lots")
    await book.shows("cus:1/free_points", balance=10)


async def test_lot_of_a_type_without_grace_returns_expired_and_is_swept(book: Book) -> None:
    await book.give("cus:1/paid_points 10 expires=5d")
    await book.move("cus:1/paid_points 10 > mer:1/unsettled_sales 10", name="order")
    book.clock.advance(days=6)
    await book.reverse("order")
    await book.shows("cus:1/paid_points", balance=10, available=0)
    await book.run("expire_lots")
    await book.shows("cus:1/paid_points", balance=0)
    assert (await book.totals())["expiry_breakage"] == 10


async def test_amount_is_reversed_over_the_legs_in_order(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 100")
    await book.give("cus:1/funds 200")
    await book.move(
        "cus:1/free_points 100 + cus:1/funds 200 > mer:1/unsettled_sales 270 + kessai/fee_income 30", name="order"
    )
    await book.reverse("order", 150)
    await book.shows("cus:1/free_points", balance=100)
    await book.shows("cus:1/funds", balance=50)
    await book.shows("mer:1/unsettled_sales", balance=120)
    await book.reverse("order")
    await book.shows("cus:1/funds", balance=200)
    await book.shows("kessai/fee_income", balance=0)


async def test_named_legs_are_reversed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 100")
    await book.give("cus:1/funds 200")
    await book.move("cus:1/free_points 100 + cus:1/funds 200 > mer:1/unsettled_sales 300", name="order")
    await book.reverse("order", legs={1: 200, 2: 200})
    await book.shows("cus:1/free_points", balance=0)
    await book.shows("cus:1/funds", balance=200)


async def test_partial_capture_is_reversed_only_as_far_as_it_went(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 300")
    await book.hold("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.capture("order", 100, final=False)
    await book.reverse("order")
    await book.shows("cus:1/funds", balance=300, held=200, available=100)
    await book.capture("order")
    await book.reverse("order")
    await book.shows("cus:1/funds", balance=300, held=0, available=300)
    await book.shows("mer:1/unsettled_sales", balance=0)


async def test_payee_pays_back_from_its_own_lots_first_in_first_out(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 300")
    await book.give("cus:2/funds 50")
    await book.move("cus:1/funds 300 > cus:2/funds 300", name="gift")
    await book.move("cus:2/funds 20 > mer:1/unsettled_sales 20")
    await book.reverse("gift")
    assert await book.remaining("cus:2/funds") == [(30, None)]


async def test_debt_that_was_made_is_undone(book: Book) -> None:
    await book.open("cus:1/credit", limit=500)
    await book.move("cus:1/credit 500 > mer:1/unsettled_sales 500", name="order")
    await book.reverse("order", 200)
    await book.shows("cus:1/credit", balance=-300, available=200)


async def test_reversal_takes_from_a_frozen_payee(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 300")
    await book.move("cus:1/funds 300 > cus:2/funds 300", name="gift")
    await book.freeze("cus:1/funds", Freeze.BOTH)
    await book.reverse("gift")
    await book.shows("cus:1/funds", balance=300)


async def test_reversal_may_itself_be_reversed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 300")
    await book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.reverse("order", reversal="refund")
    await book.reverse("refund")
    await book.shows("cus:1/funds", balance=0)
    await book.shows("mer:1/unsettled_sales", balance=300)


async def test_sold_bitcoin_comes_back_with_its_acquisition_rate(book: Book) -> None:
    await book.open("cus:1/trading_funds", "cus:1/btc")
    await book.give("cus:1/trading_funds 10000")
    await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000")
    before = await book.lots("cus:1/btc")
    await book.move("cus:1/btc 100000 > cus:1/trading_funds 12000", rate="12000000", name="sale")
    await book.reverse("sale")
    assert await book.lots("cus:1/btc") == before
    totals = await book.totals()
    assert (totals["position_jpy"], totals["position_btc"]) == (10_000, -100_000)


async def test_payment_to_oneself_is_reversed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.move("cus:1/funds 60 > cus:1/funds 60", name="self")
    await book.reverse("self")
    await book.shows("cus:1/funds", balance=100, held=0, available=100)
    await book.move("cus:1/funds 100 > mer:1/unsettled_sales 100")


async def test_payment_to_oneself_and_a_shop_is_reversed_in_parts(book: Book) -> None:
    await book.give("cus:1/free_points 30 expires=9d")
    await book.give("cus:1/free_points 30 expires=20d")
    await book.move("cus:1/free_points 60 > cus:1/free_points 40 expires=5d + mer:1/unsettled_sales 20", name="order")
    for part in (25, 35):
        await book.reverse("order", part)
    await book.shows("cus:1/free_points", balance=60, available=60)
    assert await book.remaining("cus:1/free_points") == [(30, 9), (30, 20)]
