"""The statutory books' lines, reports and records, as a customer's money and a regulator's questions make them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused
from kessai.services.books.api.statutory import (
    AssetPrice,
    RecordPrices,
    RecordSafeguard,
    RecordWallets,
    SafeguardMeans,
    WalletCount,
)
from kessai.services.books.service.forms import FORMS, write
from kessai.services.books.service.statutory.desk import SUBSCRIPTION, StatutoryDesk

from .statutory_world import World, at, rules_of, world_of

FRIDAY, SATURDAY, SUNDAY, MONDAY = (date(2026, 3, number) for number in (27, 28, 29, 30))
BASE_DATE, AFTER = date(2026, 3, 31), date(2026, 4, 1)
OUT = "cus:1/funds 10200 > internal:bank/bank_in_transit 10000 + internal:withdrawal_fee/fee_income 200"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """It begins on a Friday at noon."""
    async with world_of(database, at(FRIDAY)) as made:
        yield made


async def closed(world: World, day: date) -> None:
    """Everything up to a day is told and made."""
    world.go_to(day, hour=13)
    world.clock.advance(days=1)
    await world.heard()
    await world.made(day)


def safeguard(amount: int, reference: str = "certificate-1", **fields: Any) -> RecordSafeguard:
    asked: dict[str, Any] = {
        "book": "funds_transfer",
        "means": SafeguardMeans.DEPOSIT,
        "effective_on": FRIDAY,
        "place": "Tokyo",
    }
    return RecordSafeguard(reference=reference, amount_minor=amount, **(asked | fields))


# -- lines ----------------------------------------------------------------------------------------------------------


async def test_withdrawal_in_flight_counts_until_its_result(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await world.book.hold(OUT, kind="withdrawal", name="out")
    await closed(world, FRIDAY)
    world.go_to(MONDAY)
    await world.book.capture("out")
    await closed(world, MONDAY)
    rows = await world.table("funds_transfer_day", FRIDAY, MONDAY)
    assert [(row["closing"], row["payouts"], row["fees"]) for row in rows] == [
        (50_000, 0, 0), (50_000, 0, 0), (50_000, 0, 0), (39_800, 10_000, 200),
    ]  # fmt: skip


async def test_withdrawal_that_the_bank_refuses_leaves_no_line(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await world.book.hold(OUT, kind="withdrawal", name="out")
    await world.book.void("out")
    await closed(world, FRIDAY)
    assert [row["kind"] for row in await world.table("funds_customer_ledger", FRIDAY)] == ["top_up"]


async def test_fee_stands_apart_from_what_it_was_paid_for(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await world.book.move(OUT, kind="withdrawal", metadata={"payment_id": "wdr_1"})
    await closed(world, FRIDAY)
    lines = await world.table("funds_customer_ledger", FRIDAY, customer="cus:1")
    told = [(row["category"], row["paid"], row["balance"], row["counterparty"], row["payment_id"]) for row in lines[1:]]
    assert told == [
        ("PAYOUT", 10_000, 40_000, "internal:bank", "wdr_1"),
        ("FEE", 200, 39_800, "internal:bank", "wdr_1"),
    ]


async def test_capture_names_the_payment_that_was_held(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await world.book.hold(OUT, kind="withdrawal", name="out", reference="wdr_1")
    await world.book.capture("out")
    await closed(world, FRIDAY)
    lines = await world.table("funds_customer_ledger", FRIDAY)
    assert [row["payment_id"] for row in lines] == [None, "wdr_1", "wdr_1"]


async def test_free_points_stand_in_no_statutory_book(world: World) -> None:
    await world.book.give("cus:1/free_points 500", kind="incentive")
    await closed(world, FRIDAY)
    assert (await world.day(FRIDAY)).lines == 0


async def test_each_book_is_told_how_long_it_is_kept(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await closed(world, FRIDAY)
    years = {name: (await world.facts(name, FRIDAY))["Kept for (years)"] for name in world.desk.offers}
    assert set(years) == set(world.rules.latest.retention_years)
    assert (years["funds_customer_ledger"], years["crypto_order_slips"], years["funds_transfer_day"]) == (
        "10",
        "7",
        "5",
    )


async def test_nothing_may_be_removed_from_the_books(database: Database) -> None:
    kept = ("statement_line", "crypto_trade", "account_day", "book_day", "statutory_day", "safeguard", "wallet_count")
    for table in kept:
        (row,) = await database.fetch(
            None,
            "SELECT has_table_privilege('kessai_books', $1, 'DELETE') AS may_delete,"
            " has_any_column_privilege('kessai_books', $1, 'UPDATE') AS may_update",
            f"books.{table}",
        )
        assert (row["may_delete"], row["may_update"]) == (False, False), table


async def test_desk_looks_at_the_subscription_that_books(world: World) -> None:
    assert world.subscription.name == SUBSCRIPTION


# -- deposits -------------------------------------------------------------------------------------------------------


async def test_deposit_is_recorded_once_however_often_it_is_sent(world: World) -> None:
    first = await world.desk.record_safeguard(safeguard(12_000_000))
    assert await world.desk.record_safeguard(safeguard(12_000_000)) == first
    with pytest.raises(Conflict, match="safeguard_differs"):
        await world.desk.record_safeguard(safeguard(13_000_000))


async def test_more_than_is_secured_cannot_be_released(world: World) -> None:
    await world.desk.record_safeguard(safeguard(12_000_000))
    with pytest.raises(Refused, match="release_exceeds_safeguard"):
        await world.desk.record_safeguard(safeguard(-12_000_001, "release-1"))
    left = await world.desk.record_safeguard(safeguard(-2_000_000, "release-1"))
    assert left.secured_minor == 10_000_000
    rows = await world.table("safeguards", FRIDAY)
    assert [(row["means"], row["amount"]) for row in rows] == [("DEPOSIT", 12_000_000), ("DEPOSIT", -2_000_000)]


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("future_date", {"effective_on": SATURDAY}),
        ("amount_zero", {"amount": 0}),
        ("transfer_type_unknown", {"transfer_type": "3"}),
        ("transfer_type_unknown", {"book": "prepaid", "transfer_type": "2"}),
    ],
)
async def test_safeguard_that_cannot_be_is_refused(world: World, code: str, fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=code):
        await world.desk.record_safeguard(safeguard(fields.pop("amount", 1), **fields))


async def test_period_of_which_a_day_is_missing_says_so(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await closed(world, MONDAY)
    rows = await world.table("funds_transfer_deposit", FRIDAY, MONDAY)
    assert [(row["until"], row["complete"]) for row in rows] == [(FRIDAY, "yes"), (date(2026, 4, 3), "no")]


async def test_deposits_are_those_that_the_books_knew_at_the_end_of_the_range(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await closed(world, MONDAY)
    before = await world.table("funds_transfer_deposit", FRIDAY, MONDAY)
    await world.desk.record_safeguard(safeguard(12_000_000))  # of Friday, known on Tuesday
    assert await world.table("funds_transfer_deposit", FRIDAY, MONDAY) == before
    await closed(world, BASE_DATE)
    after = await world.table("funds_transfer_deposit", FRIDAY, BASE_DATE)
    assert [(row["deposited"], row["shortfall"]) for row in (before[0], after[0])] == [(0, 10_000_000), (12_000_000, 0)]
    (row,) = await world.table("safeguards", FRIDAY, BASE_DATE)
    assert (row["day"], row["effective_on"]) == (BASE_DATE, FRIDAY)


# -- 滞留 -----------------------------------------------------------------------------------------------------------


async def test_customer_above_the_cap_is_listed_every_day_until_below(world: World) -> None:
    await world.book.open("cus:1/funds", "cus:2/funds")
    await world.book.move("bank/deposit 1000001 > cus:1/funds 1000001 returning", kind="refund")
    await world.book.give("cus:2/funds 1000000", kind="top_up")
    await closed(world, MONDAY)
    world.go_to(BASE_DATE)
    await world.book.move("cus:1/funds 1 > mer:1/unsettled_sales 1", kind="charge")
    await closed(world, BASE_DATE)
    (row,) = await world.table("retention_check", MONDAY)
    assert (row["customer"], row["over"], row["over_since"], row["days"]) == ("cus:1", 1, FRIDAY, 4)
    assert await world.table("retention_check", BASE_DATE) == []


async def test_lowered_cap_finds_customers_who_did_not_move(world: World) -> None:
    await world.give("cus:1/funds 950000")
    await world.give("cus:2/funds 900000")
    await closed(world, FRIDAY)
    lower = rules_of(("retention_cap_minor = 1_000_000", "retention_cap_minor = 900_000"))
    world.desk = StatutoryDesk(world.database, world.clock, lower)
    await closed(world, SUNDAY)
    assert await world.table("retention_check", FRIDAY) == []
    (row,) = await world.table("retention_check", SUNDAY)
    assert (row["customer"], row["over"], row["over_since"], row["days"]) == ("cus:1", 50_000, SATURDAY, 2)


# -- days that are not made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["retention_check", "prepaid_base_date", "crypto_segregation"])
async def test_what_stands_at_the_end_of_a_day_that_is_not_made_is_refused(world: World, name: str) -> None:
    with pytest.raises(NotFound, match="statutory_day_not_made"):
        await world.report(name, FRIDAY)
    await world.book.give("cus:1/paid_points 25000000", kind="points_sale")
    await closed(world, FRIDAY)
    await world.report(name, FRIDAY)
    await world.report(name, FRIDAY - ONE_DAY)  # before the books: nothing was there
    with pytest.raises(NotFound, match="statutory_day_not_made"):
        await world.report(name, SATURDAY)


async def test_base_date_that_is_not_made_states_no_balance(world: World) -> None:
    await world.book.give("cus:1/paid_points 25000000", kind="points_sale")
    await closed(world, FRIDAY)
    with pytest.raises(NotFound, match="2026-03-31"):
        await world.report("prepaid_base_date", AFTER)


# -- prepaid --------------------------------------------------------------------------------------------------------


async def test_unused_points_on_the_base_date_ask_for_half_as_deposit(world: World) -> None:
    await world.book.give("cus:1/paid_points 25000001", kind="points_sale")
    await closed(world, BASE_DATE)
    certificate = safeguard(10_000_000, "prepaid-1", book="prepaid", means=SafeguardMeans.TRUST)
    await world.desk.record_safeguard(certificate)
    await closed(world, AFTER)
    facts = await world.facts("prepaid_base_date", AFTER)
    assert (facts["Required deposit"], facts["Shortfall"], facts["Due"]) == (12_500_001, 2_500_001, date(2026, 6, 1))


async def test_issued_and_redeemed_are_counted_and_what_comes_back_is_used_less(world: World) -> None:
    await world.book.give("cus:1/paid_points 3000", kind="points_sale")
    await world.book.move("cus:1/paid_points 1000 > mer:1/unsettled_sales 1000", kind="charge", name="order")
    await world.book.reverse("order", 400, kind="refund")
    await world.book.move("cus:1/paid_points 500 > op/adjustments 500", kind="adjustment_out")
    await closed(world, FRIDAY)
    (row,) = await world.table("prepaid_ledger", FRIDAY)
    assert (row["issued_count"], row["issued"], row["redeemed_count"]) == (1, 3_000, 2)
    assert (row["redeemed"], row["repaid"], row["closing"], row["difference"]) == (600, 500, 1_900, 0)


async def test_sale_of_points_that_is_undone_is_issued_less(world: World) -> None:
    await world.book.open("cus:1/funds")
    await world.book.give("cus:1/funds 100000", kind="top_up")
    await world.book.move("cus:1/funds 3000 > cus:1/paid_points 3000", kind="point_sale", name="sale")
    await world.heard()
    await world.book.reverse("sale", 1000, kind="refund")  # told of together with what it undoes, or later
    await world.book.move("cus:1/funds 5000 > cus:1/paid_points 5000", kind="point_sale", name="other")
    await world.book.reverse("other", kind="cancel")
    await closed(world, FRIDAY)
    (row,) = await world.table("prepaid_ledger", FRIDAY)
    assert (row["issued"], row["redeemed"], row["closing"], row["difference"]) == (2_000, 0, 2_000, 0)


async def test_purchase_that_is_undone_is_redeemed_less_whatever_the_reversal_is_called(world: World) -> None:
    await world.book.give("cus:1/paid_points 3000", kind="points_sale")
    await world.book.move("cus:1/paid_points 1000 > mer:1/unsettled_sales 1000", kind="charge", name="order")
    await world.book.reverse("order", 400)
    await world.book.move("cus:1/paid_points 500 > op/adjustments 500", kind="adjustment_out", name="repaid")
    await world.book.reverse("repaid", 200, reversal="back")
    await closed(world, FRIDAY)
    (row,) = await world.table("prepaid_ledger", FRIDAY)
    assert (row["issued"], row["redeemed"], row["repaid"], row["closing"]) == (3_000, 600, 300, 2_100)


# -- crypto-assets --------------------------------------------------------------------------------------------------


async def buy(world: World, **said: str) -> None:
    await world.give("cus:1/trading_funds 300000", kind="exchange_in")
    await world.book.open("cus:1/btc")
    await world.book.move(
        "cus:1/trading_funds 200500 > cus:1/btc 2000000 + internal:trade/fee_income 500",
        kind="trade",
        rate="10000000",
        name="buy",
        metadata=said,
    )


async def test_trade_with_a_fee_is_told_with_price_amount_and_fee(world: World) -> None:
    await buy(world)
    await closed(world, FRIDAY)
    (row,) = await world.table("crypto_diary", FRIDAY)
    assert (row["side"], row["quantity"], row["unit_price"], row["amount"], row["fee"]) == (
        "BUY", 2_000_000, "10000000", 200_000, 500,
    )  # fmt: skip
    money = [row for row in await world.table("crypto_customer_ledger", FRIDAY) if row["asset"] == "JPY"]
    assert [(row["category"], row["paid"], row["balance"]) for row in money[1:]] == [
        ("PURCHASE", 200_000, 100_000), ("FEE", 500, 99_500),
    ]  # fmt: skip


async def held_buy(world: World, **said: str) -> None:
    await world.give("cus:1/trading_funds 300000", kind="exchange_in")
    await world.book.open("cus:1/btc")
    order = "cus:1/trading_funds 200000 > cus:1/btc 2000000"
    await world.book.hold(order, kind="trade", rate="10000000", name="buy", metadata=said)


async def captured(world: World, part: int, *, action: str, final: bool = False) -> None:
    """A part of the order in thousands of yen, with the position's legs along."""
    await world.book.capture("buy", legs=legs_of(part), action=action, final=final)


def legs_of(part: int) -> dict[int, int]:
    """What the customer gives, the position gives, the customer takes, the position takes."""
    return dict(enumerate((part * 1_000, part * 10_000, part * 10_000, part * 1_000)))


@pytest.mark.parametrize("heard", [True, False], ids=["one by one", "in one batch"])
async def test_an_order_executed_in_parts_is_a_trade_a_part(world: World, *, heard: bool) -> None:
    await held_buy(world, capacity="agency", counterparty="exchange-x", order_kind="limit", limit_price="10000000")
    ordered_at = world.clock.now()
    for number, part in enumerate((50, 70, 80)):
        world.clock.advance(seconds=60)
        await captured(world, part, action=f"part-{number}", final=number == 2)
        if heard:
            await world.heard()
    await closed(world, FRIDAY)
    diary = await world.table("crypto_diary", FRIDAY)
    assert [(row["quantity"], row["amount"], row["unit_price"]) for row in diary] == [
        (500_000, 50_000, "10000000"), (700_000, 70_000, "10000000"), (800_000, 80_000, "10000000"),
    ]  # fmt: skip
    assert {(row["capacity"], row["counterparty"]) for row in diary} == {("AGENCY", "exchange-x")}
    slips = await world.table("crypto_order_slips", FRIDAY)
    assert [(row["ordered"], row["executed"]) for row in slips] == [
        (2_000_000, 500_000), (2_000_000, 700_000), (2_000_000, 800_000),
    ]  # fmt: skip
    assert {(str(row["ordered_at"])[:19], row["order_kind"], row["limit_price"]) for row in slips} == {
        (str(ordered_at)[:19], "LIMIT", "10000000")
    }
    assert len({row["slip"] for row in slips}) == 3
    lines = [row for row in await world.table("crypto_customer_ledger", FRIDAY) if row["category"] == "PURCHASE"]
    told = [(row["asset"], row["traded_quantity"], row["received"] or row["paid"]) for row in lines]
    assert sorted(told) == [
        ("BTC", 500_000, 500_000), ("BTC", 700_000, 700_000), ("BTC", 800_000, 800_000),
        ("JPY", 500_000, 50_000), ("JPY", 700_000, 70_000), ("JPY", 800_000, 80_000),
    ]  # fmt: skip
    await world.made(FRIDAY)


async def test_what_undoes_a_trade_for_another_is_for_another_too(world: World) -> None:
    await held_buy(world, capacity="agency", counterparty="exchange-x")
    await captured(world, 200, action="all", final=True)
    await world.heard()
    await world.book.reverse("buy", legs=legs_of(200), reversal="back")
    await closed(world, FRIDAY)
    diary = await world.table("crypto_diary", FRIDAY)
    assert [(row["side"], row["capacity"], row["counterparty"], row["unit_price"]) for row in diary] == [
        (side, "AGENCY", "exchange-x", "10000000") for side in ("BUY", "SELL")
    ]


async def test_each_amount_of_a_trade_is_printed_in_its_own_asset(world: World) -> None:
    await buy(world)
    await closed(world, FRIDAY)

    async def printed(name: str) -> list[dict[str, str]]:
        out = io.BytesIO()
        await write(FORMS["csv"], await world.report(name, FRIDAY), out)
        return list(csv.DictReader(io.StringIO(out.getvalue().decode())))

    (row,) = await printed("crypto_diary")
    assert (row["quantity"], row["amount"], row["fee"]) == ("0.02000000", "200000", "500")
    lines = [each for each in await printed("crypto_customer_ledger") if each["category"] == "PURCHASE"]
    assert [(each["traded_quantity"], each["fee"], each["received"] or each["paid"]) for each in lines] == [
        ("0.02000000", "500", "0.02000000") if each["asset"] == "BTC" else ("0.02000000", "500", "200000")
        for each in lines
    ]
    (slip,) = await printed("crypto_order_slips")
    assert (slip["ordered"], slip["executed"]) == ("0.02000000", "0.02000000")


async def test_order_slip_has_the_order_beside_its_execution(world: World) -> None:
    ordered_at = at(FRIDAY, hour=10)
    await buy(
        world,
        ordered_at=ordered_at.isoformat(),
        order_kind="limit",
        limit_price="10000001",
        ordered="3000000",
        capacity="agency",
        counterparty="exchange-x",
    )
    await closed(world, FRIDAY)
    (slip,) = await world.table("crypto_order_slips", FRIDAY)
    assert (slip["order_kind"], slip["limit_price"], slip["ordered"], slip["executed"]) == (
        "LIMIT", "10000001", 3_000_000, 2_000_000,
    )  # fmt: skip
    assert slip["ordered_at"] == ordered_at
    (diary,) = await world.table("crypto_diary", FRIDAY)
    assert (diary["capacity"], diary["counterparty"]) == ("AGENCY", "exchange-x")


async def test_what_a_caller_writes_into_an_exchange_never_stops_the_books(world: World) -> None:
    await buy(world, ordered_at="yesterday", ordered="9" * 40, capacity="neither")
    await closed(world, FRIDAY)
    (slip,) = await world.table("crypto_order_slips", FRIDAY)
    assert (slip["ordered"], slip["ordered_at"], slip["capacity"]) == (2_000_000, slip["executed_at"], "OWN")


async def test_trade_that_was_undone_names_the_one_it_undoes(world: World) -> None:
    await buy(world)
    world.clock.advance(seconds=1)
    await world.book.reverse("buy", kind="refund")
    await closed(world, FRIDAY)
    first, second = await world.table("crypto_diary", FRIDAY)
    assert (second["side"], second["quantity"], second["amount"], second["fee"]) == ("SELL", 2_000_000, 200_000, -500)
    assert (first["reverses"], second["reverses"]) == (None, first["exchange_id"])
    assert [row["quantity"] for row in await world.table("crypto_segregation", FRIDAY)] == [300_000, 0]


async def test_quantities_of_customers_who_did_not_move_are_kept_apart_too(world: World) -> None:
    await buy(world)
    await closed(world, MONDAY)
    rows = await world.table("crypto_segregation", MONDAY)
    assert [(row["asset"], row["quantity"], row["moved_on"]) for row in rows] == [
        ("JPY", 99_500, FRIDAY), ("BTC", 2_000_000, FRIDAY),
    ]  # fmt: skip


async def test_without_a_recorded_price_the_last_trade_values_the_day(world: World) -> None:
    await buy(world)
    await closed(world, FRIDAY)
    facts = await world.facts("crypto_segregation", FRIDAY)
    assert (facts["Price, BTC"], facts["Price from, BTC"], facts["To be kept apart, in yen"]) == (
        "10000000", "last_trade", 200_000,
    )  # fmt: skip
    assert facts["Within what is allowed"] == "no"  # no wallet was counted


async def test_counts_and_prices_are_recorded_once(world: World) -> None:
    counts = RecordWallets(day=FRIDAY, wallets=[WalletCount(wallet="a", asset="BTC", cold=True, quantity=5)])
    prices = RecordPrices(day=FRIDAY, source="market", prices=[AssetPrice(asset="BTC", unit_price="10000000")])
    assert [(await world.desk.record_wallets(counts)).recorded for _ in range(2)] == [1, 0]
    assert [(await world.desk.record_prices(prices)).recorded for _ in range(2)] == [1, 0]
    other = WalletCount(wallet="a", asset="BTC", cold=True, quantity=6)
    with pytest.raises(Conflict, match="wallet_count_differs"):
        await world.desk.record_wallets(RecordWallets(day=FRIDAY, wallets=[other]))
    dearer = [AssetPrice(asset="BTC", unit_price="10000001")]
    with pytest.raises(Conflict, match="price_differs"):
        await world.desk.record_prices(RecordPrices(day=FRIDAY, source="market", prices=dearer))


async def test_what_is_recorded_after_a_day_was_made_does_not_change_it(world: World) -> None:
    await buy(world)
    await closed(world, FRIDAY)
    before = await world.facts("crypto_segregation", FRIDAY)
    counts = RecordWallets(day=FRIDAY, wallets=[WalletCount(wallet="a", asset="BTC", cold=True, quantity=2_000_000)])
    prices = RecordPrices(day=FRIDAY, source="market", prices=[AssetPrice(asset="BTC", unit_price="9000000")])
    for _ in range(2):
        await world.desk.record_wallets(counts)
        await world.desk.record_prices(prices)
    assert await world.facts("crypto_segregation", FRIDAY) == before
    await closed(world, SATURDAY)
    facts = await world.facts("crypto_segregation", SATURDAY)
    assert (facts["In cold wallets, BTC"], facts["Price, BTC"], facts["Price of, BTC"]) == (
        "0.02000000", "9000000", FRIDAY,
    )  # fmt: skip
    assert (await world.made(FRIDAY)).digest == (await world.made(SATURDAY)).previous_digest


async def test_what_undoes_an_old_trade_is_no_price_of_its_day(world: World) -> None:
    await buy(world)
    await closed(world, FRIDAY)
    prices = RecordPrices(day=SATURDAY, source="market", prices=[AssetPrice(asset="BTC", unit_price="20000000")])
    await world.desk.record_prices(prices)
    world.go_to(SUNDAY)
    legs = {0: 100_000, 1: 1_000_000, 3: 1_000_000, 4: 100_000}  # all but the fee
    await world.book.reverse("buy", legs=legs, reversal="half")
    await closed(world, SUNDAY)
    facts = await world.facts("crypto_segregation", SUNDAY)
    assert (facts["Price, BTC"], facts["Price of, BTC"], facts["To be kept apart, in yen"]) == (
        "20000000", SATURDAY, 200_000,
    )  # fmt: skip


async def test_later_trade_is_a_better_price_than_one_recorded_before(world: World) -> None:
    prices = RecordPrices(day=FRIDAY, source="market", prices=[AssetPrice(asset="BTC", unit_price="9000000")])
    await world.desk.record_prices(prices)
    world.go_to(SATURDAY)
    await buy(world)
    await closed(world, SATURDAY)
    facts = await world.facts("crypto_segregation", SATURDAY)
    assert (facts["Price, BTC"], facts["Price from, BTC"]) == ("10000000", "last_trade")


async def test_asset_that_there_is_not_is_refused(world: World) -> None:
    wallets = [WalletCount(wallet="a", asset="DOGE", cold=True, quantity=5)]
    with pytest.raises(Invalid, match="unknown_asset"):
        await world.desk.record_wallets(RecordWallets(day=FRIDAY, wallets=wallets))


async def test_range_that_is_all_of_time_is_read_no_longer_than_the_books_are(world: World) -> None:
    await world.give("cus:1/funds 50000")
    await buy(world)
    await closed(world, FRIDAY)
    rows = {name: await world.table(name, date.min, FRIDAY) for name in world.desk.offers}
    assert len(rows["funds_customer_ledger"]) == 1
    assert len(rows["crypto_diary"]) == 1
    assert await world.table("prepaid_base_date", date.min)


async def test_page_on_the_books_names_every_report_and_every_field(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "services" / "books_statutory.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^### `(\w+)` .*?\n(.*?)(?=^### |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(parts) == set(world.desk.offers)
    await world.give("cus:1/funds 1")
    await closed(world, AFTER)
    for name, part in parts.items():
        report = await world.report(name, AFTER)
        assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == [each.name for each in report.columns], name
        assert f"Kept for {world.rules.latest.retention_years[name]} years" in part, name
