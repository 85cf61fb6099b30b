"""Reversals: captured value goes back, whole or in part, to the lots from which it came."""

from __future__ import annotations

import pytest

from kessai.foundation.errors import Refused
from kessai.services.ledger.api import Exchange, Freeze
from kessai.services.ledger.service import LedgerService

from .book import Another, Book, account_id, exchange_id


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
    with pytest.raises(Refused) as refusal:
        await book.reverse("order", 1)
    assert refusal.value.code == "reversal_above_captured"


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


async def test_payee_gives_back_the_lot_that_it_was_given(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 300")
    await book.give("cus:2/funds 50")
    await book.move("cus:1/funds 300 > cus:2/funds 300", name="gift")
    await book.give("cus:2/funds 7")
    first, given, last = await book.lots("cus:2/funds")
    back = await book.reverse("gift", 200)
    assert [(each.lot_id, each.amount_minor) for each in back.legs[0].lots] == [(given.lot_id, -200)]
    await book.reverse("gift")
    assert [lot.lot_id for lot in await book.lots("cus:2/funds")] == [first.lot_id, last.lot_id]


async def test_what_the_payee_has_spent_of_it_comes_from_other_lots_in_order(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.move("cus:1/funds 60 > cus:2/free_points 60 expires=9d", name="gift")
    for days in (20, 30):
        await book.give(f"cus:2/free_points 30 expires={days}d")
    await book.move("cus:2/free_points 40 > mer:1/unsettled_sales 40")
    back = await book.reverse("gift", 55)
    assert [each.amount_minor for each in back.legs[0].lots] == [-20, -30, -5]
    assert await book.remaining("cus:2/free_points") == [(25, 30)]


async def test_held_part_of_a_credited_lot_is_left_alone(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.give("cus:2/free_points 50 expires=20d")
    await book.move("cus:1/funds 50 > cus:2/free_points 50 expires=9d", name="gift")
    await book.hold("cus:2/free_points 30 > mer:1/unsettled_sales 30", name="order")
    await book.reverse("gift")
    assert await book.remaining("cus:2/free_points") == [(30, 9), (20, 20)]
    await book.capture("order")
    assert await book.remaining("cus:2/free_points") == [(20, 20)]


async def test_credits_captured_in_parts_are_taken_back_the_last_first(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 100")
    await book.give("cus:2/funds 5")
    await book.hold("cus:1/funds 100 > cus:2/funds 100", name="gift")
    await book.capture("gift", 30, final=False)
    await book.capture("gift", 70)
    assert [remaining for remaining, _ in await book.remaining("cus:2/funds")] == [5, 30, 70]
    await book.reverse("gift", 80)
    assert [remaining for remaining, _ in await book.remaining("cus:2/funds")] == [5, 20]
    await book.reverse("gift")
    assert [remaining for remaining, _ in await book.remaining("cus:2/funds")] == [5]


async def test_lot_far_behind_the_others_is_taken_back_in_another_process(book: Book, another: Another) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.move("cus:1/funds 100 > cus:2/free_points 100 expires=90d", name="gift")
    soon = [book.request(f"bank/deposit 1 > cus:2/free_points 1 expires={days}d") for days in range(1, 61)]
    assert set(await book.batch(*soon)) == {"done"}
    for ledger, part in ((book, 30), (await another(), 50), (book, 20)):
        back = await ledger.reverse("gift", part)
        assert [each.amount_minor for each in back.legs[0].lots] == [-part]
    assert await book.remaining("cus:2/free_points") == [(1, days) for days in range(1, 61)]


async def test_reversal_looks_at_the_lots_it_needs_and_not_at_all_there_are(book: Book, another: Another) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 9")
    await book.move("cus:1/funds 9 > mer:1/settled_sales 9", name="spent")
    sales = [book.request("bank/deposit 5 > mer:1/settled_sales 5", name=f"sale-{n}") for n in range(300)]
    assert set(await book.batch(*sales)) == {"done"}
    await book.move("mer:1/settled_sales 9 > mer:2/settled_sales 9")
    other = await another()
    back = [await other.reverse(name) for name in ("sale-250", "spent")]
    taken = [[each.amount_minor for each in each_back.legs[0].lots] for each_back in back]
    assert taken == [[-5], [-5, -4]]
    assert isinstance(other.ledger, LedgerService)
    assert len(other.ledger.recorder.book.accounts[account_id("mer:1/settled_sales")].lots) < 20


async def test_credited_lot_that_has_expired_is_not_taken_back(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    await book.move("cus:1/funds 10 > cus:2/free_points 10 expires=5d", name="gift")
    book.clock.advance(days=6)
    with pytest.raises(Refused) as refusal:
        await book.reverse("gift")
    assert refusal.value.code == "insufficient_funds"
    await book.give("cus:2/free_points 10 expires=9d")
    await book.reverse("gift")
    assert await book.remaining("cus:2/free_points") == [(10, -1)]


async def test_refund_that_is_reversed_takes_the_lots_that_it_had_returned(book: Book) -> None:
    await book.give("cus:1/free_points 10 expires=30d")
    await book.move("cus:1/free_points 10 > mer:1/unsettled_sales 10", name="order")
    await book.give("cus:1/free_points 10 expires=9d")
    await book.reverse("order", reversal="refund")
    await book.reverse("refund")
    assert await book.remaining("cus:1/free_points") == [(10, 9)]


async def test_debt_that_was_made_is_undone(book: Book) -> None:
    await book.open("cus:1/credit", limit=500)
    await book.move("cus:1/credit 500 > mer:1/unsettled_sales 500", name="order")
    await book.reverse("order", 200)
    await book.shows("cus:1/credit", balance=-300, available=200)


async def test_reversal_takes_from_a_frozen_payee(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 300")
    await book.move("cus:1/funds 300 > cus:2/funds 300", name="gift")
    await book.freeze("cus:2/funds", Freeze.BOTH)
    await book.reverse("gift")
    await book.shows("cus:2/funds", balance=0)
    await book.shows("cus:1/funds", balance=300)


async def test_reversal_may_itself_be_reversed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 300")
    await book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", name="order")
    await book.reverse("order", reversal="refund")
    await book.reverse("refund")
    await book.shows("cus:1/funds", balance=0)
    await book.shows("mer:1/unsettled_sales", balance=300)


# -- tracked rates ------------------------------------------------------------------------------------------------


def _gains(exchange: Exchange) -> list[int]:
    return [leg.realised_gain_minor for leg in exchange.legs if leg.realised_gain_minor is not None]


@pytest.fixture
async def trader(book: Book) -> Book:
    """100,000 satoshi at ¥10,000,000 and as many at ¥12,000,000; the older ones are sold first."""
    await book.open("cus:1/trading_funds", "cus:1/btc")
    await book.give("cus:1/trading_funds 100000")
    await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000", name="first")
    await book.move("cus:1/trading_funds 12000 > cus:1/btc 100000", rate="12000000", name="second")
    return book


async def test_sold_bitcoin_comes_back_with_its_acquisition_rate_and_its_gain(trader: Book) -> None:
    before = await trader.lots("cus:1/btc")
    sold = await trader.move("cus:1/btc 100000 > cus:1/trading_funds 12000", rate="12000000", name="sale")
    back = await trader.reverse("sale", reversal="back")
    assert await trader.lots("cus:1/btc") == before
    assert (_gains(sold), _gains(back), back.rate) == ([2_000], [-2_000], "12000000")
    assert _gains(await trader.exchange("back")) == [-2_000]
    totals = await trader.totals()
    assert (totals["position_jpy"], totals["position_btc"]) == (22_000, -200_000)


async def test_part_of_a_sale_takes_back_the_gain_on_the_lots_that_return(trader: Book) -> None:
    sold = await trader.move("cus:1/btc 150000 > cus:1/trading_funds 16500", rate="11000000", name="sale")
    assert _gains(sold) == [500]
    parts = [
        await trader.reverse("sale", legs={0: sat, 1: yen, 2: sat, 3: yen})
        for sat, yen in ((50_000, 5_500), (10_000, 1_100))
    ]
    assert [_gains(part) for part in parts] == [[500], [-100]]
    assert _gains(await trader.reverse("sale")) == [-900]


async def test_gains_of_all_parts_add_up_to_nothing_although_each_is_rounded(trader: Book) -> None:
    told = _gains(await trader.hold("cus:1/btc 33 > cus:1/trading_funds 4", rate="11600007", name="sale"))
    for _ in range(3):
        told += _gains(await trader.capture("sale", legs={0: 11, 1: 1, 2: 11, 3: 1}, final=False))
    told += _gains(await trader.reverse("sale", legs={0: 11, 1: 1, 2: 11, 3: 1}))
    told += _gains(await trader.reverse("sale", legs={0: 11, 1: 1, 2: 11, 3: 1}))
    told += _gains(await trader.reverse("sale"))
    assert len(told) == 6
    assert sum(told) == 0


async def test_sale_that_was_reversed_is_sold_again_with_its_gain(trader: Book) -> None:
    await trader.move("cus:1/btc 100000 > cus:1/trading_funds 12000", rate="12000000", name="sale")
    await trader.reverse("sale", reversal="back")
    again = await trader.reverse("back", reversal="again")
    assert _gains(again) == [2_000]
    assert _gains(await trader.reverse("again")) == [-2_000]


async def test_purchase_gives_back_its_own_lot_without_a_gain(trader: Book) -> None:
    back = await trader.reverse("second")
    assert _gains(back) == [0]
    assert [lot.acquisition_rate for lot in await trader.lots("cus:1/btc")] == ["10000000"]


async def test_purchase_whose_lot_is_gone_realises_the_gain_on_the_lot_that_is_given_for_it(trader: Book) -> None:
    await trader.move("cus:1/btc 100000 > bank/deposit_btc 100000")
    back = await trader.reverse("first")
    assert _gains(back) == [-2_000]


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
