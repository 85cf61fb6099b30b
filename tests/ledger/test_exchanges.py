"""Exchanges that are final at once: many sources and targets, balancing, conditions, two assets."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import PaymentError, Refused
from kessai.services.ledger import api
from kessai.services.ledger.api import ExchangeState

from .book import Book, account_id, exchange_id


async def test_value_moves_from_source_to_target(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 1000")
    done = await book.move("cus:1/funds 300 > cus:2/funds 300", name="gift", kind="gift", metadata={"for": "lunch"})
    assert (done.exchange_id, done.state, done.kind) == (exchange_id("gift"), ExchangeState.CAPTURED, "gift")
    assert [(leg.account_id, leg.amount_minor, leg.captured_minor, leg.balance_after_minor) for leg in done.legs] == [
        (account_id("cus:1/funds"), -300, 300, 700),
        (account_id("cus:2/funds"), 300, 300, 300),
    ]
    await book.shows("cus:1/funds", balance=700, held=0, available=700)
    await book.shows("cus:2/funds", balance=300)


async def test_points_funds_and_credit_pay_two_payees_together(book: Book) -> None:
    await book.open("cus:1/funds", "cus:1/credit")
    await book.give("cus:1/free_points 300")
    await book.give("cus:1/funds 200")
    await book.move(
        "cus:1/free_points 300 + cus:1/funds 200 + cus:1/credit 500 > mer:1/unsettled_sales 970 + kessai/fee_income 30"
    )
    await book.shows("cus:1/free_points", balance=0)
    await book.shows("cus:1/funds", balance=0)
    await book.shows("cus:1/credit", balance=-500, available=499_500)
    await book.shows("mer:1/unsettled_sales", balance=970)
    await book.shows("kessai/fee_income", balance=30)


async def test_account_may_stand_in_several_legs(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 1000")
    await book.move("cus:1/funds 600 + cus:1/funds 400 > cus:2/funds 999 + cus:2/funds 1")
    await book.shows("cus:1/funds", balance=0)
    await book.shows("cus:2/funds", balance=1_000)


async def test_account_may_pay_itself(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000000")
    await book.move("cus:1/funds 600 > cus:1/funds 600")
    await book.shows("cus:1/funds", balance=1_000_000, available=1_000_000)
    assert sorted(await book.remaining("cus:1/funds")) == [(600, None), (999_400, None)]


async def test_debt_is_repaid_by_a_credit(book: Book) -> None:
    await book.open("cus:1/credit", limit=1_000)
    await book.move("cus:1/credit 800 > mer:1/unsettled_sales 800")
    await book.give("cus:1/credit 500")
    await book.shows("cus:1/credit", balance=-300, available=700)
    await book.give("cus:1/credit 500")
    await book.shows("cus:1/credit", balance=200, available=1_200)


async def test_exchange_is_found_by_id_and_by_reference(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 10", name="top-up", reference="T-1", metadata={"a": "b"})
    by_id = await book.exchange("top-up")
    by_reference = await book.ledger.get_exchange_by_reference(api.GetExchangeByReference(reference="T-1"))
    assert by_id == by_reference
    assert (by_id.reference, by_id.metadata, by_id.reverses) == ("T-1", {"a": "b"}, None)
    assert [leg.amount_minor for leg in by_id.legs] == [-10, 10]


async def test_exchange_carries_the_processing_of_its_call(book: Book) -> None:
    await book.open("cus:1/funds")
    token = enter_call(Call(caller="payment", processing_id="prc_1"))
    try:
        await book.give("cus:1/funds 10", name="top-up")
    finally:
        leave_call(token)
    assert (await book.exchange("top-up")).processing_id == "prc_1"


# -- balancing --------------------------------------------------------------------------------------------------


async def test_balancing_source_gives_as_much_as_there_is(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 120")
    await book.give("cus:1/funds 1000")
    done = await book.move("cus:1/free_points <=500 + cus:1/funds <=1000 > mer:1/unsettled_sales 700")
    assert [leg.amount_minor for leg in done.legs] == [-120, -580, 700]
    await book.shows("cus:1/free_points", balance=0)
    await book.shows("cus:1/funds", balance=420)


async def test_balancing_source_gives_no_more_than_its_limit(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 1000")
    await book.give("cus:1/funds 1000")
    await book.move("cus:1/free_points <=200 + cus:1/funds <=1000 > mer:1/unsettled_sales 700")
    await book.shows("cus:1/free_points", balance=800)
    await book.shows("cus:1/funds", balance=500)


async def test_balancing_source_gives_no_more_than_is_needed(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 1000")
    await book.give("cus:1/funds 1000")
    await book.move("cus:1/free_points <=900 + cus:1/funds <=900 > mer:1/unsettled_sales 700")
    await book.shows("cus:1/free_points", balance=300)
    await book.shows("cus:1/funds", balance=1_000)


async def test_balancing_source_with_nothing_is_skipped(book: Book) -> None:
    await book.open("cus:1/funds", "cus:1/free_points")
    await book.give("cus:1/funds 1000")
    await book.move("cus:1/free_points <=900 + cus:1/funds <=900 > mer:1/unsettled_sales 700", name="order")
    await book.shows("cus:1/funds", balance=300)
    await book.shows("cus:1/free_points", balance=0)
    await book.reverse("order")
    await book.shows("cus:1/funds", balance=1_000)


async def test_legs_keep_their_numbers_when_a_balancing_source_gave_nothing(book: Book) -> None:
    await book.open("cus:1/funds", "cus:1/free_points")
    await book.give("cus:1/funds 1000")
    paid = await book.move("cus:1/free_points <=900 + cus:1/funds <=900 > mer:1/unsettled_sales 700", name="order")
    numbers = {leg.account_id: leg.leg for leg in paid.legs}
    funds, sales = numbers[account_id("cus:1/funds")], numbers[account_id("mer:1/unsettled_sales")]
    await book.reverse("order", legs={funds: 300, sales: 300})
    found = {leg.leg: leg.reversed_minor for leg in (await book.exchange("order")).legs if leg.amount_minor}
    assert found == {funds: 300, sales: 300}
    await book.shows("cus:1/funds", balance=600)


async def test_balancing_sources_count_an_account_once(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 100")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/funds <=100 + cus:1/funds <=100 > mer:1/unsettled_sales 150")
    assert refusal.value.code == "insufficient_funds"
    await book.move("cus:1/funds <=60 + cus:1/funds <=60 > mer:1/unsettled_sales 100")
    await book.shows("cus:1/funds", balance=0)


async def test_balancing_leaves_held_value_alone(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 100")
    await book.hold("cus:1/funds 70 > mer:1/unsettled_sales 70")
    await book.move("cus:1/funds <=1000 > cus:2/funds <=1000")
    await book.shows("cus:1/funds", balance=70, held=70, available=0)
    await book.shows("cus:2/funds", balance=30)


async def test_balancing_target_gets_whatever_the_sources_gave(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    await book.give("cus:1/funds 730")
    await book.move("cus:1/funds <=1000 > kessai/fee_income 30 + cus:2/funds <=1000")
    await book.shows("cus:2/funds", balance=700)
    await book.shows("kessai/fee_income", balance=30)


async def test_nothing_to_balance_is_refused(book: Book) -> None:
    await book.open("cus:1/funds", "cus:2/funds")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/funds <=1000 > cus:2/funds <=1000")
    assert refusal.value.code == "insufficient_funds"


async def test_held_exchange_may_balance_too(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 120")
    await book.give("cus:1/funds 1000")
    await book.hold("cus:1/free_points <=500 + cus:1/funds <=1000 > mer:1/unsettled_sales 700", name="order")
    await book.shows("cus:1/free_points", held=120)
    await book.shows("cus:1/funds", held=580)
    await book.capture("order")
    await book.shows("cus:1/funds", balance=420, held=0)


# -- conditions -------------------------------------------------------------------------------------------------


async def test_conditions_that_hold_let_the_exchange_pass(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    version = (await book.account("cus:1/funds")).version
    await book.move(f"cus:1/funds 300 balance>=1000 version={version} > mer:1/unsettled_sales 300")
    with pytest.raises(PaymentError) as refusal:
        await book.move(f"cus:1/funds 300 version={version} > mer:1/unsettled_sales 300")
    assert refusal.value.code == "condition_failed"


# -- two assets -------------------------------------------------------------------------------------------------


async def _trader(book: Book, yen: int = 100_000) -> None:
    await book.open("cus:1/trading_funds", "cus:1/btc")
    await book.give(f"cus:1/trading_funds {yen}")


async def test_buying_bitcoin_passes_through_position_accounts(book: Book) -> None:
    await _trader(book)
    bought = await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000")
    assert [(leg.asset, leg.amount_minor) for leg in bought.legs[:2]] == [("JPY", -10_000), ("BTC", 100_000)]
    for asset in ("JPY", "BTC"):
        assert sum(leg.amount_minor for leg in bought.legs if leg.asset == asset) == 0
    assert bought.rate == "10000000"
    totals = await book.totals()
    assert (totals["position_jpy"], totals["position_btc"]) == (10_000, -100_000)


async def test_bought_lot_carries_its_acquisition_rate(book: Book) -> None:
    await _trader(book)
    await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000")
    (lot,) = await book.lots("cus:1/btc")
    assert lot.acquisition_rate is not None
    assert Decimal(lot.acquisition_rate) == 10_000_000


async def test_sale_realises_the_gain_over_its_lots_oldest_first(book: Book) -> None:
    await _trader(book)
    await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000")
    book.clock.advance(days=1)
    await book.move("cus:1/trading_funds 12000 > cus:1/btc 100000", rate="12000000")
    sold = await book.move("cus:1/btc 150000 > cus:1/trading_funds 16500", rate="11000000")
    gain = 100_000 * (11_000_000 - 10_000_000) + 50_000 * (11_000_000 - 12_000_000)
    assert sold.legs[0].realised_gain_minor == gain // 10**8
    assert [taking.amount_minor for taking in sold.legs[0].lots] == [-100_000, -50_000]
    assert [lot.remaining_minor for lot in await book.lots("cus:1/btc")] == [50_000]


async def test_sale_at_a_loss_has_a_negative_gain(book: Book) -> None:
    await _trader(book)
    await book.move("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000")
    sold = await book.move("cus:1/btc 100000 > cus:1/trading_funds 9000", rate="9000000")
    assert sold.legs[0].realised_gain_minor == -1_000


@pytest.mark.parametrize(
    ("yen", "fits"), [(10_001, True), (9_999, True), (10_000, True), (10_002, False), (9_998, False)]
)
async def test_price_may_differ_from_the_rate_by_one_yen(book: Book, yen: int, fits: bool) -> None:
    await _trader(book)
    request = f"cus:1/trading_funds {yen} > cus:1/btc 100000"
    if fits:
        await book.move(request, rate="10000000")
        return
    with pytest.raises(PaymentError) as refusal:
        await book.move(request, rate="10000000")
    assert refusal.value.code == "rate_mismatch"


async def test_held_purchase_keeps_its_rate_until_capture(book: Book) -> None:
    await _trader(book)
    await book.hold("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000", name="buy")
    await book.shows("cus:1/trading_funds", held=10_000)
    await book.capture("buy")
    (lot,) = await book.lots("cus:1/btc")
    assert Decimal(lot.acquisition_rate or "0") == 10_000_000
    await book.shows("cus:1/trading_funds", balance=90_000, held=0)


async def test_two_assets_that_do_not_face_each_other_are_refused(book: Book) -> None:
    await _trader(book)
    with pytest.raises(PaymentError) as refusal:
        await book.move(
            "cus:1/trading_funds 100 + bank/deposit_btc 5 > cus:1/trading_funds 100 + cus:1/btc 4", rate="1"
        )
    assert refusal.value.code == "unbalanced"


async def test_two_balanced_assets_need_no_rate(book: Book) -> None:
    await _trader(book)
    await book.move("bank/deposit_btc 5 + cus:1/trading_funds 100 > cus:1/btc 5 + mer:1/unsettled_sales 100")
    await book.shows("cus:1/btc", balance=5)
    await book.shows("cus:1/trading_funds", balance=99_900)


async def test_parts_of_a_held_purchase_are_captured_at_its_rate(book: Book) -> None:
    await _trader(book)
    held = await book.hold("cus:1/trading_funds 10000 > cus:1/btc 100000", rate="10000000", name="buy")
    parts = {leg.leg: 1 if leg.asset == "JPY" else 100_000 for leg in held.legs}
    with pytest.raises(PaymentError) as refusal:
        await book.capture("buy", legs=parts)
    assert refusal.value.code == "rate_mismatch"
    await book.capture("buy", legs={leg.leg: abs(leg.amount_minor) // 4 for leg in held.legs})
    await book.shows("cus:1/btc", balance=25_000)
    await book.shows("cus:1/trading_funds", balance=97_500, held=0)


async def test_rate_of_zero_is_refused(book: Book) -> None:
    await _trader(book)
    for rate in ("0", "0.000", "000"):
        with pytest.raises(PaymentError) as refusal:
            await book.move("cus:1/trading_funds 1 > cus:1/btc 100000", rate=rate)
        assert refusal.value.code == "rate_mismatch"
    await book.shows("cus:1/trading_funds", balance=100_000)
