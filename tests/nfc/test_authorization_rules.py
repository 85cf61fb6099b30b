"""The rules of a 0100: each by what it answers, and through a terminal where they count."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.config import ConfigError, TomlDocument, load_toml
from kessai.foundation.db import Database
from kessai.sdk.iso8583 import Message, Mti, name_and_location
from kessai.services.nfc.api.authorizations import AuthorizationKind, Category
from kessai.services.nfc.api.cards import NumberStanding
from kessai.services.nfc.api.words import DeviceState, LockReason, PrepaidCardState
from kessai.services.nfc.domain.authorization import Usage
from kessai.services.nfc.domain.rules import category_of, decline_of, micros, read_rules
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.wire_world import WireWorld, opened

NOW = datetime(2026, 4, 30, 3, tzinfo=UTC)
TODAY = date(2026, 4, 30)
RULES = read_rules()
STANDING = NumberStanding(
    token="tok_" + "0" * 32,
    last_four="0018",
    expiry="2812",
    expires_on=date(2028, 12, 31),
    card_id="vpc_" + "1" * 32,
    customer_id="cus:anna",
    card_state=PrepaidCardState.ACTIVE,
    lock_reason=None,
    device_id=None,
    platform=None,
    device_state=None,
    version=1,
)
DEVICE: dict[str, Any] = {"device_id": "dev_" + "2" * 32, "device_state": DeviceState.ACTIVE}
LOCKED: dict[str, Any] = {"card_state": PrepaidCardState.LOCKED}
USAGE = Usage(card_id="vpc_" + "1" * 32, day=TODAY)
ASKED = Message(
    mti=Mti.AUTHORIZATION,
    processing_code="000000",
    amount=1_000,
    transmitted="0430030000",
    stan="000001",
    expiry="2812",
    mcc="5812",
    entry_mode="071",
    acquirer="10000000001",
    rrn="612012000001",
    place=name_and_location("KISSA", "TOKYO", "JP"),
    currency="392",
)
AGO = micros(NOW - timedelta(minutes=1))
LIMITS = RULES.limits


def answered(
    *, asked: dict[str, Any] | None = None, standing: dict[str, Any] | None = None, usage: dict[str, Any] | None = None
) -> tuple[str, str] | None:
    """Response and code; None: the payment service is asked."""
    found = decline_of(
        replace(ASKED, **(asked or {})),
        AuthorizationKind.PURCHASE,
        replace(STANDING, **(standing or {})),
        replace(USAGE, **(usage or {})),
        RULES,
        NOW,
        TODAY,
    )
    return None if found is None else (found.response.value, found.code)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ({}, None),
        ({"asked": {"processing_code": "310000"}}, ("12", "processing_not_offered")),
        ({"asked": {"processing_code": "990000"}}, ("12", "processing_not_offered")),
        ({"asked": {"currency": "840"}}, ("12", "currency_not_accepted")),
        ({"asked": {"amount": 0}}, ("13", "amount_is_zero")),
        ({"standing": {"card_id": None, "customer_id": None, "card_state": None}}, ("14", "no_such_card")),
        ({"standing": {"card_state": PrepaidCardState.CLOSED}}, ("14", "card_closed")),
        ({"standing": LOCKED | {"lock_reason": LockReason.LOST}}, ("41", "card_locked_lost")),
        ({"standing": LOCKED | {"lock_reason": LockReason.STOLEN}}, ("43", "card_locked_stolen")),
        ({"standing": LOCKED | {"lock_reason": LockReason.CUSTOMER}}, ("62", "card_locked_customer")),
        ({"standing": DEVICE}, None),
        ({"standing": DEVICE | {"device_state": DeviceState.SUSPENDED}}, ("57", "device_not_active")),
        ({"standing": DEVICE | {"device_state": DeviceState.DELETED}}, ("14", "card_closed")),
        ({"asked": {"expiry": "2811"}}, ("54", "card_expired")),
        ({"asked": {"expiry": "2603"}, "standing": {"expiry": "2603", "expires_on": date(2026, 3, 31)}},
         ("54", "card_expired")),
        ({"asked": {"entry_mode": "021"}}, ("57", "entry_mode_not_offered")),
        ({"asked": {"place": name_and_location("SHOP", "PARIS", "FR")}}, ("62", "country_not_accepted")),
        ({"asked": {"mcc": "7995"}}, ("57", "merchant_category_denied")),
        ({"asked": {"amount": LIMITS.transaction_minor + 1}}, ("61", "over_transaction_limit")),
        ({"usage": {"day_minor": LIMITS.day_minor - 1_000}}, None),
        ({"usage": {"day_minor": LIMITS.day_minor - 999}}, ("61", "over_day_limit")),
        ({"usage": {"month_minor": LIMITS.month_minor - 999}}, ("61", "over_month_limit")),
        ({"usage": {"day_count": LIMITS.day_count}}, ("65", "over_day_count")),
        ({"usage": {"recent": (AGO,) * RULES.velocity.count}}, ("65", "over_velocity")),
        ({"usage": {"recent": (AGO - 3_600_000_000,) * RULES.velocity.count}}, None),
    ],
)  # fmt: skip
def test_each_rule_answers_by_its_response(case: dict[str, Any], expected: tuple[str, str] | None) -> None:
    assert answered(**case) == expected


@pytest.mark.parametrize(
    ("entry_mode", "mcc", "expected"),
    [
        ("071", "5812", Category.CONTACTLESS),
        ("810", "5812", Category.IN_APP),
        ("810", "4111", Category.E_MONEY),
        ("071", "4111", Category.E_MONEY),
        ("021", "5812", Category.OTHER),
    ],
)
def test_in_app_payments_and_top_ups_of_e_money_are_told_apart(entry_mode: str, mcc: str, expected: Category) -> None:
    assert category_of(replace(ASKED, entry_mode=entry_mode, mcc=mcc), RULES) is expected


def test_usage_of_an_earlier_day_or_month_does_not_count() -> None:
    used = USAGE.raised(900, micros(NOW), 20)
    assert (used.on(date(2026, 5, 1)).day_minor, used.on(date(2026, 5, 1)).month_minor) == (0, 0)
    same_month = replace(used, day=date(2026, 4, 29)).on(TODAY)
    assert (same_month.day_minor, same_month.day_count, same_month.month_minor) == (0, 0, 900)


def test_a_window_without_time_for_the_payment_service_is_refused_with_its_line() -> None:
    text = load_toml("kessai.config", "nfc_authorization.toml")
    assert text.data["window"]["answer_ms"] == 1_000
    source = TomlDocument("[window]\nanswer_ms = 1000\njournal_ms = 600\n", "mine.toml")
    with pytest.raises(ConfigError, match=r"mine\.toml, line"):
        read_rules(source)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


async def test_limits_count_what_was_approved_and_not_what_was_declined_or_came_back(world: WireWorld) -> None:
    await world.serve(limits={"day_minor": 1_000})
    _, card = await world.holder(funds=900)
    heard = await world.tap(card, 600)
    assert heard.response == "00"
    assert (await world.tap(card, 401)).response == "61"
    assert (await world.tap(card, 400)).response == "51"
    assert (await world.tap(card, 300)).response == "00"
    await world.network.reverse(heard.id)
    assert (await world.tap(card, 600)).response == "00"
    world.pass_days(1)
    assert (await world.tap(card, 700)).response == "51"


async def test_limits_hold_across_processes(world: WireWorld) -> None:
    from kessai.sdk import iso8583

    desks = [world.another_desk(limits={"day_minor": 1_000}) for _ in range(2)]
    _, card = await world.holder(funds=50_000)
    answers: list[str | None] = []
    for turn in range(6):
        message = world.message(world.network.books.open(Tap(card=card, amount=400)))
        answer = await desks[turn % 2].answer(iso8583.encode(message), "network")
        answers.append(iso8583.decode(answer or b"").response)
    assert answers == ["00", "00", "61", "61", "61", "61"]


async def test_too_many_taps_in_a_short_time_are_65(world: WireWorld) -> None:
    await world.serve(velocity={"count": 2, "minutes": 10})
    _, card = await world.holder(funds=900)
    assert [(await world.tap(card, 10)).response for _ in range(3)] == ["00", "00", "65"]
    world.clock.advance(timedelta(minutes=11))
    assert (await world.tap(card, 10)).response == "00"


async def test_a_locked_card_and_a_phones_own_number_are_known_on_the_line(world: WireWorld) -> None:
    await world.serve()
    customer_id = await world.customer(funds=900)
    lost = await world.card(customer_id, state="LOCKED", lock_reason="lost")
    assert (await world.tap(lost, 10)).response == "41"
    card = await world.card(customer_id)
    phone, away = await world.device(card), await world.device(card, "SUSPENDED")
    assert (await world.network.tap(Tap(pan=phone.digits, expiry="3112", amount=10, entry="in_app"))).response == "00"
    assert (await world.network.tap(Tap(pan=away.digits, expiry="3112", amount=10))).response == "57"
    approved = [each for each in await world.authorizations(customer_id) if each.state == "APPROVED"]
    assert [(each.category, each.last_four, bool(each.device_id)) for each in approved] == [
        ("in_app", phone.last4, True)
    ]
    assert (await world.payment(approved[0])).metadata["category"] == "in_app"


async def test_a_refund_is_approved_and_moves_nothing_before_the_clearing(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=900)
    heard = await world.tap(card, 500, processing="refund")
    assert heard.response == "00"
    found = await world.only(customer_id)
    assert (found.kind, found.state, found.payment_id) == ("refund", "APPROVED", None)
    assert await world.available(customer_id) == 900
    assert (await world.tap(card, 0, processing="balance")).response == "12"
