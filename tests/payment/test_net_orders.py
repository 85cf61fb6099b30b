"""Net payment: an order is confirmed once, or given up, or runs out of time; its return addresses cannot be forged."""

from __future__ import annotations

import asyncio
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.db import role_of
from kessai.foundation.errors import Invalid, KeyReused, PaymentError, Unavailable
from kessai.foundation.ids import new_hex
from kessai.services.payment import jobs
from kessai.services.payment.api import (
    CompletePayment,
    FundingSource,
    GetPayment,
    PaymentState,
    PointsUse,
    RefundCharge,
)
from kessai.services.payment.api.orders import (
    CancelOrder,
    CaptureOrder,
    ConfirmOrder,
    CreateOrder,
    GetOrder,
    ListOrders,
    NetOrder,
    OrderState,
)
from kessai.services.payment.domain import orders
from kessai.services.payment.domain.checkout import load_checkout
from kessai.services.payment.service import PaymentService
from tests.payment.world import World, key

TERMS = load_checkout().orders
TURNS = 16
NOW = datetime(2025, 1, 1, tzinfo=UTC)
S = OrderState


def asked(amount: int = 700, **more: Any) -> CreateOrder:
    """A shop's request."""
    said: dict[str, Any] = {
        "merchant_id": "mer:shop",
        "amount_minor": amount,
        "success_url": "https://shop.example/thanks?cart=7",
        "cancel_url": "https://shop.example/cart",
    }
    return CreateOrder(**(said | more))


async def order_of(world: World, amount: int = 700, **more: Any) -> NetOrder:
    """A new order."""
    return await world.payments.create_order(asked(amount, **more))


def yes(order: NetOrder, customer_id: str, *sources: str, **more: Any) -> ConfirmOrder:
    """A customer's confirmation, from these sources (funds, when none is named)."""
    named = [FundingSource(source=source) for source in sources or ("funds",)]
    return ConfirmOrder(order_id=order.order_id, customer_id=customer_id, sources=named, **more)


def on_card(order: NetOrder, customer_id: str) -> ConfirmOrder:
    """A customer's confirmation, by card."""
    card = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
    return ConfirmOrder(
        order_id=order.order_id, customer_id=customer_id, sources=[card], return_url="https://app.example/back"
    )


async def now_of(world: World, order: NetOrder) -> NetOrder:
    """The order as it stands."""
    return await world.payments.get_order(GetOrder(order_id=order.order_id))


async def refusal(verb: Any) -> str:
    """The code with which a request is refused."""
    with pytest.raises(PaymentError) as refused:
        await verb
    return refused.value.code


async def actions_of(world: World, order: NetOrder) -> list[str]:
    """What was done to an order and its payments."""
    history = await world.payments.get_order_history(GetOrder(order_id=order.order_id))
    return [step.action for step in history.steps]


def assert_told_shop(created: NetOrder, told: NetOrder, result: str) -> None:
    """The return address says this result, signed under the key that the shop got."""
    assert created.return_key is not None
    assert told.redirect_url is not None
    said = dict(parse_qsl(urlsplit(told.redirect_url).query, keep_blank_values=True))
    signed = f"{created.order_id}.{result}.{told.payment_id or ''}".encode()
    assert (said["order_id"], said["result"]) == (created.order_id, result)
    assert said["signature"] == hmac.digest(bytes.fromhex(created.return_key), signed, "sha256").hex()


# -- from the order to the money ------------------------------------------------------------------------------------


async def test_an_order_is_confirmed_then_captured_then_refunded(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world, 700, reference="cart-7", capture_days=3)
    assert (created.state, created.redirect_url, created.payment_id) == (S.OPEN, None, None)
    confirmed = await world.payments.confirm_order(yes(created, customer))
    assert (confirmed.state, confirmed.customer_id) == (S.AUTHORIZED, customer)
    assert confirmed.capture_before is not None
    assert await world.balance(customer) == (1_000, 300)
    assert_told_shop(created, confirmed, "confirmed")
    assert confirmed.redirect_url is not None
    assert confirmed.redirect_url.startswith("https://shop.example/thanks?cart=7&order_id=ord_")
    captured = await world.payments.capture_order(CaptureOrder(order_id=created.order_id, amount_minor=500))
    assert (captured.state, captured.captured_minor) == (S.CAPTURED, 500)
    assert captured.payment_id is not None
    await world.payments.refund_charge(RefundCharge(charge_id=captured.payment_id, amount_minor=100))
    assert (await now_of(world, created)).refunded_minor == 100
    assert await world.balance(customer) == (600, 600)
    payment = await world.payments.get_payment(GetPayment(payment_id=captured.payment_id))
    assert (payment.reference, payment.payee_id) == ("cart-7", "mer:shop")
    assert await actions_of(world, created) == ["create", "confirm", "authorize", "capture", "refund"]


async def test_an_order_may_be_captured_in_parts(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world, 700)
    await world.payments.confirm_order(yes(created, customer))
    part = CaptureOrder(order_id=created.order_id, amount_minor=200, final=False)
    assert (await world.payments.capture_order(part)).state is S.PARTIALLY_CAPTURED
    assert (await world.payments.cancel_order(CancelOrder(order_id=created.order_id))).captured_minor == 200
    assert (await now_of(world, created)).state is S.CAPTURED
    assert await world.balance(customer) == (800, 800)


async def test_an_order_that_asks_for_it_is_captured_at_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    confirmed = await world.payments.confirm_order(yes(await order_of(world, 700, capture=True), customer))
    assert (confirmed.state, confirmed.captured_minor, confirmed.capture_before) == (S.CAPTURED, 700, None)


async def test_the_customer_chooses_sources_and_the_shop_what_it_accepts(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=500)
    created = await order_of(world, 700, accepted_sources=["funds"])
    assert await refusal(world.payments.confirm_order(yes(created, customer, "free_points"))) == "source_not_accepted"
    free = await order_of(world, 700)
    request = ConfirmOrder(order_id=free.order_id, customer_id=customer, points=PointsUse.LAST)
    confirmed = await world.payments.confirm_order(request)
    assert confirmed.payment_id is not None
    payment = await world.payments.get_payment(GetPayment(payment_id=confirmed.payment_id))
    assert [part.source for part in payment.funding if part.amount_minor] == ["funds"]


async def test_a_refused_payment_leaves_the_order_open_for_another(world: World) -> None:
    customer = await world.customer(funds=600, free_points=100)
    created = await order_of(world, 700)
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "insufficient_funds"
    assert (await now_of(world, created)).state is S.OPEN
    confirmed = await world.payments.confirm_order(yes(created, customer, "free_points", "funds"))
    assert confirmed.state is S.AUTHORIZED
    assert await actions_of(world, created) == ["create", "confirm", "refuse", "confirm", "authorize"]


async def test_an_order_for_one_customer_is_not_for_another(world: World) -> None:
    mine, other = await world.customer(funds=1_000), await world.customer(funds=1_000)
    created = await order_of(world, customer_id=mine)
    assert await refusal(world.payments.confirm_order(yes(created, other))) == "order_of_another"
    assert (await world.payments.confirm_order(yes(created, mine))).state is S.AUTHORIZED


async def test_a_customer_whose_payment_was_refused_does_not_keep_the_order(world: World) -> None:
    poor, rich = await world.customer(), await world.customer(funds=1_000)
    created = await order_of(world)
    assert await refusal(world.payments.confirm_order(yes(created, poor))) == "insufficient_funds"
    assert (await world.payments.confirm_order(yes(created, rich))).customer_id == rich


# -- with a customer who has to act ---------------------------------------------------------------------------------


async def test_an_order_waits_for_3d_secure_and_goes_on(world: World) -> None:
    world.cards.asks_for_3ds = True
    customer = await world.customer()
    created = await order_of(world)
    waiting = await world.payments.confirm_order(on_card(created, customer))
    assert (waiting.state, waiting.redirect_url) == (S.CONFIRMING, None)
    assert waiting.next_action is not None
    assert waiting.payment_id is not None
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "order_confirming"
    world.cards.customer_acts()
    await world.payments.complete_payment(CompletePayment(payment_id=waiting.payment_id))
    confirmed = await now_of(world, created)
    assert (confirmed.state, confirmed.next_action) == (S.AUTHORIZED, None)
    assert_told_shop(created, confirmed, "confirmed")


async def test_a_customer_who_fails_3d_secure_may_pay_otherwise(world: World) -> None:
    world.cards.asks_for_3ds = True
    customer = await world.customer(funds=1_000)
    created = await order_of(world)
    waiting = await world.payments.confirm_order(on_card(created, customer))
    assert waiting.payment_id is not None
    world.cards.customer_acts(succeeds=False)
    complete = world.payments.complete_payment(CompletePayment(payment_id=waiting.payment_id))
    assert await refusal(complete) == "authentication_failed"
    assert (await now_of(world, created)).state is S.OPEN
    assert (await world.payments.confirm_order(yes(created, customer))).state is S.AUTHORIZED


async def test_an_order_is_given_up_while_the_customer_should_act(world: World) -> None:
    world.cards.asks_for_3ds = True
    customer = await world.customer()
    created = await order_of(world)
    await world.payments.confirm_order(on_card(created, customer))
    canceled = await world.payments.cancel_order(CancelOrder(order_id=created.order_id))
    assert canceled.state is S.CANCELED
    assert_told_shop(created, canceled, "canceled")
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "order_canceled"


# -- giving up ------------------------------------------------------------------------------------------------------


async def test_an_open_order_is_canceled_for_good(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world)
    canceled = await world.payments.cancel_order(CancelOrder(order_id=created.order_id))
    assert (canceled.state, canceled.payment_id) == (S.CANCELED, None)
    assert_told_shop(created, canceled, "canceled")
    assert canceled.redirect_url is not None
    assert canceled.redirect_url.startswith("https://shop.example/cart?order_id=ord_")
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "order_canceled"
    assert await refusal(world.payments.cancel_order(CancelOrder(order_id=created.order_id))) == "order_canceled"
    assert await refusal(world.payments.capture_order(CaptureOrder(order_id=created.order_id))) == "order_not_confirmed"
    assert await actions_of(world, created) == ["create", "cancel"]


async def test_canceling_a_confirmed_order_releases_what_it_holds(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world)
    await world.payments.confirm_order(yes(created, customer))
    canceled = await world.payments.cancel_order(CancelOrder(order_id=created.order_id))
    assert canceled.state is S.CANCELED
    assert await world.balance(customer) == (1_000, 1_000)
    assert_told_shop(created, canceled, "canceled")
    assert await refusal(world.payments.cancel_order(CancelOrder(order_id=created.order_id))) == "already_canceled"
    assert await actions_of(world, created) == ["create", "confirm", "authorize", "cancel"]


async def test_a_captured_order_is_refunded_rather_than_canceled(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world, capture=True)
    await world.payments.confirm_order(yes(created, customer))
    assert await refusal(world.payments.cancel_order(CancelOrder(order_id=created.order_id))) == "already_captured"


# -- time -----------------------------------------------------------------------------------------------------------


async def test_an_order_nobody_confirms_expires_with_and_without_the_job(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.clock.freeze()
    created = await order_of(world)
    world.clock.advance(timedelta(minutes=TERMS.live_minutes))
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "order_expired"
    assert await refusal(world.payments.cancel_order(CancelOrder(order_id=created.order_id))) == "order_expired"
    assert_told_shop(created, await now_of(world, created), "expired")
    assert await jobs.expire_orders(world.payments) == 1
    assert await jobs.expire_orders(world.payments) == 0
    assert (await now_of(world, created)).state is S.EXPIRED
    assert await actions_of(world, created) == ["create", "expire"]


async def test_an_order_is_confirmed_up_to_its_last_moment(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.clock.freeze()
    created = await order_of(world, expires_at=world.clock.now() + timedelta(minutes=2))
    world.clock.advance(timedelta(minutes=2) - timedelta(microseconds=1))
    assert (await world.payments.confirm_order(yes(created, customer))).state is S.AUTHORIZED


async def test_expiry_leaves_paid_orders_to_their_payments(world: World) -> None:
    customer = await world.customer(funds=1_000)
    paid, poor = await order_of(world, 300, capture_days=2), await order_of(world, 5_000)
    await world.payments.confirm_order(yes(paid, customer))
    assert await refusal(world.payments.confirm_order(yes(poor, customer))) == "insufficient_funds"
    world.clock.advance(timedelta(minutes=TERMS.live_minutes + 1))
    assert await jobs.expire_orders(world.payments) == 1
    assert [(await now_of(world, each)).state for each in (paid, poor)] == [S.AUTHORIZED, S.EXPIRED]
    left = await world.database.fetch(role_of("payment"), "SELECT order_id FROM payment.net_order WHERE state = 'OPEN'")
    assert left == []
    assert (await world.payments.capture_order(CaptureOrder(order_id=paid.order_id))).state is S.CAPTURED


async def test_an_order_whose_customer_is_acting_does_not_expire_under_them(world: World) -> None:
    world.cards.asks_for_3ds = True
    customer = await world.customer()
    created = await order_of(world, expires_at=world.clock.now() + timedelta(minutes=1))
    waiting = await world.payments.confirm_order(on_card(created, customer))
    assert waiting.payment_id is not None
    world.clock.advance(timedelta(minutes=2))
    assert await jobs.expire_orders(world.payments) == 0
    world.cards.customer_acts()
    await world.payments.complete_payment(CompletePayment(payment_id=waiting.payment_id))
    assert (await now_of(world, created)).state is S.AUTHORIZED


async def test_capturing_after_the_window_is_too_late(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world, capture_days=2)
    confirmed = await world.payments.confirm_order(yes(created, customer))
    assert confirmed.capture_before is not None
    assert timedelta(days=1.9) < confirmed.capture_before - created.created_at < timedelta(days=2.1)
    world.pass_days(2.1)
    late = world.payments.capture_order(CaptureOrder(order_id=created.order_id))
    assert await refusal(late) == "authorization_expired"
    await jobs.expire_authorizations(world.payments)
    lapsed = await now_of(world, created)
    assert lapsed.state is S.EXPIRED
    assert_told_shop(created, lapsed, "expired")
    assert await world.balance(customer) == (1_000, 1_000)


# -- the same request again, and two at once ------------------------------------------------------------------------


async def test_a_repeated_creation_gets_the_same_order_and_key(world: World) -> None:
    customer = await world.customer(funds=1_000)
    request = asked(expires_at=world.clock.now() + timedelta(minutes=5))
    with key("order"):
        first = await world.payments.create_order(request)
    await world.payments.confirm_order(yes(first, customer))
    world.clock.advance(timedelta(minutes=10))
    with key("order") as call:
        assert await world.payments.create_order(request) == first
        assert call.replayed
    with key("order"), pytest.raises(KeyReused):
        await world.payments.create_order(asked(701))


async def test_a_repeated_confirmation_pays_once_and_gets_the_same_answer(world: World) -> None:
    customer = await world.customer(funds=2_000)
    created = await order_of(world, 700)
    with key("confirm"):
        first = await world.payments.confirm_order(yes(created, customer))
    await world.payments.capture_order(CaptureOrder(order_id=created.order_id))
    world.clock.advance(timedelta(minutes=TERMS.live_minutes + 1))
    await jobs.expire_orders(world.payments)
    with key("confirm") as call:
        assert await world.payments.confirm_order(yes(created, customer)) == first
        assert call.replayed
    assert await world.balance(customer) == (1_300, 1_300)
    assert await refusal(world.payments.confirm_order(yes(created, customer))) == "order_confirmed"
    with key("confirm"), pytest.raises(KeyReused):
        await world.payments.confirm_order(yes(created, customer, "free_points"))


async def test_a_repeated_refused_confirmation_is_refused_the_same_though_another_paid(world: World) -> None:
    customer = await world.customer(funds=100, free_points=700)
    created = await order_of(world, 700)
    with key("poor"):
        assert await refusal(world.payments.confirm_order(yes(created, customer))) == "insufficient_funds"
    await world.payments.confirm_order(yes(created, customer, "free_points"))
    with key("poor"):
        assert await refusal(world.payments.confirm_order(yes(created, customer))) == "insufficient_funds"
    assert (await now_of(world, created)).state is S.AUTHORIZED


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_repeated_cancel_gets_the_same_answer(world: World, confirmed: bool) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world)
    if confirmed:
        await world.payments.confirm_order(yes(created, customer))
    answers: list[tuple[NetOrder, bool]] = []
    for _ in range(2):
        with key("cancel") as call:
            order = await world.payments.cancel_order(CancelOrder(order_id=created.order_id))
            answers.append((order, call.replayed))
    assert answers[0][0] == answers[1][0]
    assert [replayed for _, replayed in answers] == [False, True]


async def test_a_repeated_capture_is_made_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    created = await order_of(world, 700)
    await world.payments.confirm_order(yes(created, customer))
    answers: list[NetOrder] = []
    for _ in range(2):
        with key("capture"):
            part = CaptureOrder(order_id=created.order_id, amount_minor=200, final=False)
            answers.append(await world.payments.capture_order(part))
    assert answers[0] == answers[1]
    assert (await now_of(world, created)).captured_minor == 200


async def test_of_two_confirmations_at_once_one_pays(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        for _ in range(TURNS):
            customers = [await world.customer(funds=1_000) for _ in range(3)]
            created = await order_of(world, 700)
            processes = (world.payments, world.payments, other)
            asks = [each.confirm_order(yes(created, who)) for each, who in zip(processes, customers, strict=True)]
            words = sorted(_word(each) for each in await asyncio.gather(*asks, return_exceptions=True))
            assert words.count("AUTHORIZED") == 1
            assert set(words) <= {"AUTHORIZED", "order_confirming", "order_confirmed"}
            held = sum([1_000 - (await world.balance(who))[1] for who in customers])
            assert held == 700
    finally:
        await other.close()


async def test_confirming_and_canceling_at_once_leaves_one_truth(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        seen: set[S] = set()
        for turn in range(TURNS):
            customer = await world.customer(funds=1_000)
            created = await order_of(world, 700)
            cancel = other.cancel_order(CancelOrder(order_id=created.order_id))
            confirm = world.payments.confirm_order(yes(created, customer))
            both = (cancel, confirm) if turn % 2 else (confirm, cancel)
            await asyncio.gather(*both, return_exceptions=True)
            state = (await now_of(world, created)).state
            available = (await world.balance(customer))[1]
            assert (state, available) in ((S.CANCELED, 1_000), (S.AUTHORIZED, 300))
            seen.add(state)
        assert seen
    finally:
        await other.close()


def _word(answer: NetOrder | BaseException) -> str:
    if isinstance(answer, NetOrder):
        return answer.state.value
    assert isinstance(answer, PaymentError)
    return answer.code


# -- what a shop may ask --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"asset": "USD"}, "wrong_asset"),
        ({"amount_minor": 10_000_001}, "amount_above_limit"),
        ({"success_url": "http://shop.example/"}, "return_url_not_https"),
        ({"cancel_url": "javascript:alert(1)"}, "return_url_not_https"),
        ({"cancel_url": "//shop.example/"}, "return_url_not_https"),
        ({"success_url": "https://"}, "return_url_malformed"),
        ({"success_url": "https:///path"}, "return_url_malformed"),
        ({"success_url": "https://shop.example@evil.example/"}, "return_url_malformed"),
        ({"success_url": "https://shop.example\\@evil.example/"}, "return_url_malformed"),
        ({"success_url": "https://shop.example/#frag"}, "return_url_malformed"),
        ({"success_url": "https://shop.example/ path"}, "return_url_malformed"),
        ({"success_url": "https://shop.example/\r\nSet-Cookie: a=b"}, "return_url_malformed"),
        ({"success_url": "https://shop.example:99999/"}, "return_url_malformed"),
        ({"success_url": "https://[::1/"}, "return_url_malformed"),
        ({"success_url": "https://店.example/"}, "return_url_malformed"),
        ({"success_url": 'https://shop.example/"><script>'}, "return_url_malformed"),
        ({"cancel_url": "https://shop.example/?a=1&%73ignature=forged"}, "return_url_reserved"),
        ({"cancel_url": "https://shop.example/?result"}, "return_url_reserved"),
        ({"capture": True, "capture_days": 3}, "capture_days_without_authorization"),
        ({"capture_days": 61}, "capture_days_too_many"),
        ({"accepted_sources": ["funds", "shells"]}, "unknown_source"),
    ],
)
async def test_an_order_that_cannot_be_is_refused_and_not_kept(
    world: World, changes: dict[str, Any], code: str
) -> None:
    with key("wrong"):
        assert await refusal(world.payments.create_order(asked(**changes))) == code
    assert await world.database.fetch(role_of("payment"), "SELECT order_id FROM payment.net_order") == []


async def test_an_orders_own_time_lies_ahead_and_not_too_far(world: World) -> None:
    world.clock.freeze()
    now = world.clock.now()
    assert await refusal(order_of(world, expires_at=now)) == "expires_in_past"
    far = now + timedelta(minutes=TERMS.live_minutes_max)
    assert await refusal(order_of(world, expires_at=far + timedelta(seconds=1))) == "expires_too_late"
    assert (await order_of(world, expires_at=far)).expires_at == far


@given(st.text(max_size=80))
def test_whatever_comes_as_a_return_address_is_taken_or_refused_with_a_code(text: str) -> None:
    address = f"https://shop.example/{text}"
    try:
        orders.check_return_address(address, "success_url")
    except Invalid as refused:
        code = refused.code
    else:
        code = "taken"
        assert urlsplit(address).hostname == "shop.example"
        assert address.isascii()
    assert code in ("taken", "return_url_malformed", "return_url_reserved")


@pytest.mark.parametrize("query", ["", "?", "?a=1", "?a=%26result%3Dx", "?a=1&b"])
def test_what_is_added_to_a_return_address_is_read_back_beside_what_was_there(query: str) -> None:
    address = f"https://shop.example/back{query}"
    orders.check_return_address(address, "success_url")
    order: Any = msgspec.structs.replace(asked(), success_url=address)
    kept = orders.Order(
        order_id=f"ord_{new_hex()}", own=orders.Own.OPEN, version=1, asked=order, customer_id="cus:1",
        payment_id=f"chg_{new_hex()}", expires_at=NOW, sealed_key=b"", content_sha256=b"", caller="key_test",
        created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    split = urlsplit(orders.redirect_of(kept, S.AUTHORIZED, b"k" * 32))
    said = parse_qs(split.query, keep_blank_values=True)
    assert (split.scheme, split.hostname) == ("https", "shop.example")
    assert (said["result"], said["order_id"]) == (["confirmed"], [kept.order_id])
    assert said.get("a", ["1"]) in (["1"], ["&result=x"])


async def test_a_signature_of_one_result_is_no_signature_of_another(world: World) -> None:
    created = await order_of(world)
    assert created.return_key is not None
    secret = bytes.fromhex(created.return_key)
    results = {orders.signature_of(created.order_id, result, None, secret) for result in ("confirmed", "canceled")}
    other = await order_of(world)
    assert other.return_key is not None
    results.add(orders.signature_of(created.order_id, "confirmed", None, bytes.fromhex(other.return_key)))
    results.add(orders.signature_of(created.order_id, "confirmed", "chg_1", secret))
    assert len(results) == 4


async def test_the_key_of_an_order_is_told_once_and_kept_sealed(world: World) -> None:
    created = await order_of(world)
    assert created.return_key is not None
    assert (await now_of(world, created)).return_key is None
    (row,) = await world.database.fetch(None, "SELECT o::text AS row FROM payment.net_order AS o")
    assert created.return_key not in row["row"]
    assert created.return_key.encode().hex() not in row["row"]


async def test_without_a_vault_no_order_is_created(world: World) -> None:
    line: Any = world.line
    bare = PaymentService(world.database, world.clock, line, world.kinds)
    with pytest.raises(Unavailable) as refused:
        await bare.create_order(asked())
    assert refused.value.code == "vault_not_configured"


# -- look-ups and events --------------------------------------------------------------------------------------------


async def test_a_shop_lists_its_orders_newest_first_page_by_page(world: World) -> None:
    made = [await order_of(world, 100 + n, reference=f"r{n % 2}") for n in range(5)]
    await order_of(world, merchant_id="mer:other")
    customer = await world.customer(funds=1_000)
    await world.payments.confirm_order(yes(made[0], customer))
    found: list[NetOrder] = []
    cursor: str | None = None
    while True:
        page = await world.payments.list_orders(ListOrders(merchant_id="mer:shop", limit=2, cursor=cursor))
        found += page.orders
        if (cursor := page.next_cursor) is None:
            break
    assert [each.order_id for each in found] == [each.order_id for each in reversed(made)]
    assert [each.state for each in found] == [S.OPEN] * 4 + [S.AUTHORIZED]
    some = await world.payments.list_orders(ListOrders(merchant_id="mer:shop", reference="r1"))
    assert [each.amount_minor for each in some.orders] == [103, 101]
    for wrong in ("x", "1-", f"-{'0' * 32}", f"{'9' * 18}-{'0' * 32}"):
        assert await refusal(world.payments.list_orders(ListOrders(merchant_id="m", cursor=wrong))) == "bad_cursor"


async def test_every_step_of_an_order_is_published_once(world: World) -> None:
    customer = await world.customer(funds=1_000)
    first, second = await order_of(world), await order_of(world)
    await world.payments.confirm_order(yes(first, customer))
    await world.payments.cancel_order(CancelOrder(order_id=second.order_id))
    third = await order_of(world)
    world.clock.advance(timedelta(minutes=TERMS.live_minutes + 1))
    await jobs.expire_orders(world.payments)
    rows = await world.database.fetch(
        role_of("payment"), "SELECT payload FROM payment.outbox WHERE topic = 'payment.order' ORDER BY outbox_id"
    )
    events: list[dict[str, Any]] = [each for row in rows for each in msgspec.json.decode(row["payload"])]
    told = [(each["type"].rpartition(".")[2], each["order_id"]) for each in events]
    assert told == [
        ("created", first.order_id),
        ("created", second.order_id),
        ("confirming", first.order_id),
        ("canceled", second.order_id),
        ("created", third.order_id),
        ("expired", third.order_id),
    ]


async def test_an_order_nobody_knows_cannot_be_touched(world: World) -> None:
    order_id = f"ord_{new_hex()}"
    wrong = f"chg_{order_id[4:]}"
    for each in (order_id, wrong):
        asks = [
            world.payments.get_order(GetOrder(order_id=each)),
            world.payments.get_order_history(GetOrder(order_id=each)),
            world.payments.confirm_order(ConfirmOrder(order_id=each, customer_id="cus:1")),
            world.payments.cancel_order(CancelOrder(order_id=each)),
            world.payments.capture_order(CaptureOrder(order_id=each)),
        ]
        assert {await refusal(ask) for ask in asks} == {"order_not_found"}


async def test_an_order_whose_payment_is_in_doubt_says_so_until_it_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kessai.services.payment.service import desk
    from kessai.services.payment.workflows import notes

    monkeypatch.setattr(notes, "ANSWER_S", 0.1)
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.05)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 0.5)
    customer = await world.customer(funds=1_000)
    created = await order_of(world)
    world.line.cut_after = 30
    unknown = await world.payments.confirm_order(yes(created, customer))
    assert (unknown.state, unknown.redirect_url) == (S.CONFIRMING, None)
    while (found := await now_of(world, created)).state is S.CONFIRMING:
        await asyncio.sleep(0.02)
    assert found.state is S.AUTHORIZED
    assert found.payment_id is not None
    payment = await world.payments.get_payment(GetPayment(payment_id=found.payment_id))
    assert payment.state is PaymentState.AUTHORIZED
