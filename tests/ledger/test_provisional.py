"""Held exchanges (仮売上): captured whole or in parts, voided, expired."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from kessai.foundation.errors import Refused
from kessai.services.ledger.api import CaptureExchange, ExchangeState, Freeze

from .book import Book, action_id, exchange_id

HOLD = "cus:1/funds 300 > mer:1/unsettled_sales 300"


@pytest.fixture
async def order(book: Book) -> Book:
    """A customer with ¥1,000 of whom ¥300 are held."""
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    await book.hold(HOLD, name="order")
    return book


async def test_hold_promises_value_without_moving_it(order: Book) -> None:
    await order.shows("cus:1/funds", balance=1_000, held=300, available=700)
    await order.shows("mer:1/unsettled_sales", balance=0)
    found = await order.exchange("order")
    assert (found.state, found.expires_at) == (ExchangeState.AUTHORIZED, found.recorded_at + timedelta(days=7))
    (lot,) = await order.lots("cus:1/funds")
    assert (lot.remaining_minor, lot.held_minor) == (1_000, 300)


async def test_capture_moves_what_was_held(order: Book) -> None:
    captured = await order.capture("order")
    assert captured.state is ExchangeState.CAPTURED
    assert [(leg.captured_minor, leg.balance_after_minor) for leg in captured.legs] == [(300, 700), (300, None)]
    await order.shows("cus:1/funds", balance=700, held=0, available=700)
    await order.shows("mer:1/unsettled_sales", balance=300)


async def test_partial_capture_releases_the_rest(order: Book) -> None:
    await order.capture("order", 120)
    await order.shows("cus:1/funds", balance=880, held=0, available=880)
    await order.shows("mer:1/unsettled_sales", balance=120)
    assert (await order.exchange("order")).state is ExchangeState.CAPTURED


async def test_capture_that_is_not_final_keeps_the_rest_held(order: Book) -> None:
    partly = await order.capture("order", 120, final=False)
    assert partly.state is ExchangeState.AUTHORIZED
    await order.shows("cus:1/funds", balance=880, held=180, available=700)
    await order.capture("order", 80, final=False)
    await order.capture("order")
    await order.shows("cus:1/funds", balance=700, held=0)
    await order.shows("mer:1/unsettled_sales", balance=300)


async def test_last_part_ends_the_exchange_even_when_not_called_final(order: Book) -> None:
    await order.capture("order", 120, final=False)
    done = await order.capture("order", 180, final=False)
    assert done.state is ExchangeState.CAPTURED


async def test_void_releases_everything(order: Book) -> None:
    voided = await order.void("order")
    assert voided.state is ExchangeState.VOIDED
    await order.shows("cus:1/funds", balance=1_000, held=0, available=1_000)


async def test_void_after_a_part_was_captured_keeps_that_part(order: Book) -> None:
    await order.capture("order", 120, final=False)
    rest = await order.void("order")
    assert rest.state is ExchangeState.CAPTURED
    await order.shows("cus:1/funds", balance=880, held=0)
    await order.reverse("order")
    await order.shows("cus:1/funds", balance=1_000)


async def test_named_legs_are_captured(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 100")
    await book.give("cus:1/funds 200")
    await book.hold("cus:1/free_points 100 + cus:1/funds 200 > mer:1/unsettled_sales 300", name="order")
    await book.capture("order", legs={1: 150, 2: 150})
    await book.shows("cus:1/free_points", balance=100, held=0)
    await book.shows("cus:1/funds", balance=50, held=0)


async def test_amount_is_captured_over_the_legs_in_order(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/free_points 100")
    await book.give("cus:1/funds 200")
    await book.hold(
        "cus:1/free_points 100 + cus:1/funds 200 > mer:1/unsettled_sales 250 + kessai/fee_income 50", name="order"
    )
    await book.capture("order", 150, final=False)
    await book.shows("cus:1/free_points", balance=0, held=0)
    await book.shows("cus:1/funds", balance=150, held=150)
    await book.shows("mer:1/unsettled_sales", balance=150)
    await book.capture("order")
    await book.shows("kessai/fee_income", balance=50)
    await book.shows("cus:1/funds", balance=0, held=0)


async def test_hold_on_credit_reduces_what_may_be_spent(book: Book) -> None:
    await book.open("cus:1/credit", limit=1_000)
    await book.hold("cus:1/credit 600 > mer:1/unsettled_sales 600", name="order")
    await book.shows("cus:1/credit", balance=0, held=600, available=400)
    await book.capture("order", 500)
    await book.shows("cus:1/credit", balance=-500, held=0, available=500)


async def test_held_log_only_source_is_captured_later(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.hold("bank/deposit 300 > cus:1/funds 300", name="top-up")
    await book.shows("cus:1/funds", balance=0)
    await book.capture("top-up", 100)
    await book.shows("cus:1/funds", balance=100)
    await book.shows("bank/deposit", balance=-100)


async def test_frozen_account_may_still_be_captured_from_what_it_promised(order: Book) -> None:
    await order.freeze("cus:1/funds", Freeze.BOTH)
    await order.capture("order")
    await order.shows("cus:1/funds", balance=700, held=0)


async def test_expired_hold_is_released_by_the_job(order: Book) -> None:
    order.clock.advance(days=7, seconds=1)
    with pytest.raises(Refused) as refusal:
        await order.capture("order")
    assert refusal.value.code == "hold_expired"
    await order.shows("cus:1/funds", held=300)
    await order.run("expire_exchanges")
    assert (await order.exchange("order")).state is ExchangeState.EXPIRED
    await order.shows("cus:1/funds", balance=1_000, held=0, available=1_000)


async def test_hold_with_time_left_is_not_expired(order: Book) -> None:
    order.clock.advance(days=6)
    await order.run("expire_exchanges")
    assert (await order.exchange("order")).state is ExchangeState.AUTHORIZED
    await order.capture("order")


async def test_hold_lives_as_long_as_its_caller_says(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    await book.hold(HOLD, name="order", expires_at=book.clock.now() + timedelta(days=30))
    book.clock.advance(days=29)
    await book.run("expire_exchanges")
    await book.capture("order")
    assert (await book.exchange("order")).state is ExchangeState.CAPTURED


async def test_expiry_of_a_partly_captured_exchange_keeps_the_captured_part(order: Book) -> None:
    await order.capture("order", 120, final=False)
    order.clock.advance(days=8)
    await order.run("expire_exchanges")
    assert (await order.exchange("order")).state is ExchangeState.CAPTURED
    await order.shows("cus:1/funds", balance=880, held=0)


async def test_many_expired_holds_are_all_released(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1000")
    await book.batch(*[book.request("cus:1/funds 1 > mer:1/unsettled_sales 1", capture=False) for _ in range(300)])
    await book.shows("cus:1/funds", held=300)
    book.clock.advance(days=8)
    await book.run("expire_exchanges")
    await book.shows("cus:1/funds", held=0, available=1_000)


async def test_holds_for_an_account_cannot_pass_what_can_be_recorded(book: Book) -> None:
    most = 10**16
    fits = (2**63 - 1) // most
    holds = [
        book.request(f"bank:{n}/deposit {most} > cus:5/sales {most}", name=f"hold-{n}", capture=False)
        for n in range(fits + 1)
    ]
    assert await book.batch(*holds) == ["done"] * fits + ["balance_overflow"]
    for n in range(fits):
        await book.capture(f"hold-{n}")
    await book.shows("cus:5/sales", balance=fits * most)


async def test_action_id_stands_for_one_action_of_each_exchange(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 1_000")
    for name in ("a", "b"):
        await book.hold("cus:1/funds 100 > mer:1/unsettled_sales 100", name=name)
    one, two = (CaptureExchange(exchange_id=exchange_id(name), action_id=action_id("x")) for name in ("a", "b"))
    first = asyncio.create_task(book.move("cus:1/funds 1 > mer:1/unsettled_sales 1"))
    await asyncio.sleep(0)  # what follows gathers behind it, and goes in one page
    answers = await asyncio.gather(*(book.ledger.capture_exchange(request) for request in (one, two, one)))
    await first
    assert [answer.exchange_id for answer in answers] == [exchange_id("a"), exchange_id("b"), exchange_id("a")]


async def test_hold_whose_targets_together_pass_what_can_be_recorded_is_refused(book: Book) -> None:
    most, legs = 10**16, 60
    request = " + ".join([f"bank/deposit {most}"] * legs) + " > " + " + ".join([f"cus:1/sales {most}"] * legs)
    await book.open("cus:1/sales")
    for _ in range(14):
        await book.move(request)
    await book.hold(request, name="held")
    with pytest.raises(Refused, match="balance_overflow"):
        await book.hold(request)
    await book.capture("held")
    await book.shows("cus:1/sales", balance=15 * legs * most)


async def test_capture_that_returns_have_left_no_room_for_is_refused(book: Book) -> None:
    most, legs = 10**16, 60
    request = " + ".join([f"cus:1/sales {most}"] * legs) + " > " + " + ".join([f"bank/deposit {most}"] * legs)
    back = " + ".join([f"bank/deposit {most}"] * legs) + " > " + " + ".join([f"cus:1/sales {most}"] * legs)
    await book.open("cus:1/sales")
    for _ in range(15):
        await book.move(back)
    await book.move(request, name="paid")
    await book.hold(back, name="held")
    await book.reverse("paid")
    with pytest.raises(Refused, match="balance_overflow"):
        await book.capture("held")
    await book.shows("cus:1/sales", balance=15 * legs * most)
