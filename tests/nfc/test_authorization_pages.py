"""Many taps at one moment: they share flushes and calls, and a crowd that cannot be served is told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kessai.foundation.db import Database
from kessai.foundation.errors import Forbidden, Invalid, PaymentError, Refused
from kessai.sdk import iso8583
from kessai.services.nfc.api.authorizations import AuthorizationState
from kessai.services.nfc.domain.authorization import Work
from kessai.services.nfc.domain.decide import Abandon, Conclude, Heard, conclude
from kessai.services.nfc.domain.decide import abandon as given_up
from kessai.services.nfc.domain.page import Page
from kessai.services.nfc.service.crowding import FEW, Crowding
from kessai.services.nfc.service.repairing import real_now
from kessai.services.nfc.store import authorizations as store
from kessai.services.payment.api import HoldPayments
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.wire_world import WireWorld, opened

TAPS = 40


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


async def test_taps_of_one_moment_share_flushes_and_calls(world: WireWorld) -> None:
    await world.serve()
    holders = [await world.holder(funds=100) for _ in range(TAPS)]
    before = world.desk.journal.flushes
    heard = await asyncio.gather(*(world.tap(card, 100) for _, card in holders))
    assert [each.response for each in heard] == ["00"] * TAPS
    assert world.line.calls.count("create_payment") < TAPS
    assert world.desk.journal.flushes - before < TAPS
    assert {await world.available(customer_id) for customer_id, _ in holders} == {0}


async def test_taps_of_one_card_at_one_moment_stay_within_the_wallet(world: WireWorld) -> None:
    await world.serve(velocity={"count": 200})
    customer_id, card = await world.holder(funds=1_000)
    heard = await asyncio.gather(*(world.tap(card, 100) for _ in range(TAPS)))
    assert sorted(each.response or "" for each in heard) == ["00"] * 10 + ["51"] * (TAPS - 10)
    assert await world.available(customer_id) == 0


async def test_a_repeat_that_another_process_gets_finds_the_stored_answer(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    first = await world.network.tap(Tap(card=card, amount=300))
    asked = iso8583.encode(world.message(first))
    stored = (await store.load(world.database, [(await world.only(customer_id)).authorization_id[4:]])).popitem()[1]
    other = world.another_desk()
    assert await other.answer(asked, "network") == stored.answer
    assert await world.available(customer_id) == 700


@pytest.mark.parametrize(
    ("error", "response"),
    [
        (Refused("insufficient_funds", "The customer has less."), "51"),
        (Refused("customer_unknown", "There is no such customer."), "05"),
        (Invalid("validation_failed", "It is no request."), "96"),
    ],
    ids=lambda each: getattr(each, "code", each),
)
async def test_a_page_that_is_refused_as_a_whole_tells_each_its_own_reason(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch, error: PaymentError, response: str
) -> None:
    """One of it is what the payment service does not take; the others are none the worse for it."""
    await world.serve()
    holders = [await world.holder(funds=100) for _ in range(5)]
    ask, odd = world.payments.hold_payments, holders[3][0]

    async def hold(request: HoldPayments) -> object:
        if any(each.customer_id == odd for each in request.holds):
            raise error
        return await ask(request)

    monkeypatch.setattr(world.payments, "hold_payments", hold)
    heard = await asyncio.gather(*(world.tap(card, 100) for _, card in holders))
    assert [each.response for each in heard] == ["00", "00", "00", response, "00"]
    assert [await world.available(customer_id) for customer_id, _ in holders] == [0, 0, 0, 100, 0]
    assert (await world.only(odd)).refusal_code == error.code


async def test_a_payment_service_that_takes_no_request_of_ours_declines_nothing_for_a_customers_sake(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.serve(stand_in={"policy": "approve"})
    customer_id, card = await world.holder(funds=100)

    async def hold(request: HoldPayments) -> object:
        raise Forbidden("scope_missing", "The key may not.")

    monkeypatch.setattr(world.payments, "hold_payments", hold)
    assert (await world.tap(card, 100)).response == "96"
    found = await world.only(customer_id)
    assert (found.state, found.refusal_code, found.stood_in, found.open_work) == (
        "DECLINED", "scope_missing", False, None,
    )  # fmt: skip
    assert await world.available(customer_id) == 100


async def test_a_crowd_whose_oldest_waits_for_long_takes_nobody_more() -> None:
    crowding, taps = Crowding(window_s=1.0), [object() for _ in range(FEW)]
    for each in taps[1:]:
        crowding.enter(each, until=1.0)
    assert not crowding.is_crowded(now=0.9)
    crowding.enter(taps[0], until=1.4)
    assert not crowding.is_crowded(now=0.4)
    assert crowding.is_crowded(now=0.6)
    for each in taps[1:]:
        crowding.leave(each)
    assert not crowding.is_crowded(now=0.6)


async def test_what_nobody_was_asked_for_is_declined_and_leaves_nothing_to_undo(world: WireWorld) -> None:
    page, message = await instructed(world)
    ((authorization_id, row),) = page.rows.items()
    assert row is not None
    now = world.clock.now()
    after = given_up(page, Abandon(authorization_id, message, now, real_now(), told=True, asked=False))
    assert (after.state, after.work, after.response, after.stands_minor) == (AuthorizationState.DECLINED, None, "91", 0)


async def test_what_was_held_after_it_was_declined_unasked_is_undone(world: WireWorld) -> None:
    page, message = await instructed(world)
    ((authorization_id, row),) = page.rows.items()
    assert row is not None
    now = world.clock.now()
    down = Conclude(authorization_id, message, Heard.DOWN, now, real_now(), code="payment_crowded")
    declined = conclude(page, down)
    assert (declined.state, declined.refusal_code) == (AuthorizationState.DECLINED, "payment_crowded")
    held = Conclude(
        authorization_id, message, Heard.HELD, now, real_now(), payment_id="idc_one", payment_state="AUTHORIZED"
    )
    after = conclude(page, held)
    assert (after.state, after.work, after.answer) == (AuthorizationState.LATE, Work.UNDO, declined.answer)
    assert after.payment_id == "idc_one"


async def instructed(world: WireWorld) -> tuple[Page, iso8583.Message]:
    """A page with an authorization that waits for the payment service, made of one that was approved."""
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    heard = await world.tap(card, 300)
    found = await store.load(world.database, [(await world.only(customer_id)).authorization_id[4:]])
    page = Page(world.desk.rules)
    for name, row in found.items():
        page.rows[name] = replace(
            row, state=AuthorizationState.INSTRUCTED, work=Work.ASK, work_since=real_now(), answer=None, payment_id=None
        )
    return page, world.message(heard)
