"""Taps at a terminal, over the line, through the rules, to the wallet and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Invalid, NotFound
from kessai.foundation.events import Relay
from kessai.services.nfc.api.authorizations import GetAuthorization, ListAuthorizations, ListOpenAuthorizations
from kessai.services.nfc.subscribers import lapsed_payments
from kessai.services.payment.api import CancelPayment
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.wire_world import WireWorld, opened


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


async def test_a_tap_within_the_wallet_is_approved_and_held(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=5_000)
    heard = await world.tap(card, 1_200)
    assert (heard.response, heard.state) == ("00", "approved")
    found = await world.only(customer_id)
    assert (found.state, found.approval_code, found.stands_minor) == ("APPROVED", heard.approval_code, 1_200)
    assert await world.available(customer_id) == 3_800
    payment = await world.payment(found)
    assert (payment.kind, payment.state, payment.reference) == ("id_charge", "AUTHORIZED", found.authorization_id)
    assert payment.processing_id == found.processing_id


async def test_a_tap_above_the_wallet_is_declined_51_and_holds_nothing(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    heard = await world.tap(card, 1_001)
    assert (heard.response, heard.state) == ("51", "declined")
    found = await world.only(customer_id)
    assert (found.state, found.refusal_code, found.stands_minor) == ("DECLINED", "insufficient_funds", 0)
    assert await world.available(customer_id) == 1_000


async def test_points_go_before_funds(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000, free_points=300)
    assert (await world.tap(card, 800)).approved
    payment = await world.payment(await world.only(customer_id))
    assert {each.source: each.amount_minor for each in payment.funding} == {"free_points": 300, "funds": 500}


async def test_an_unknown_card_is_14(world: WireWorld) -> None:
    await world.serve()
    heard = await world.network.tap(Tap(pan="9990000000000000018"[:16], expiry="3012", amount=100))
    assert heard.response == "14"


async def test_what_no_clearing_claims_lapses_and_the_wallet_has_it_again(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    assert (await world.tap(card, 800)).approved
    relay, heard = Relay(world.database, "payment"), lapsed_payments(world.database, world.clock, world.desk)
    await relay.open()
    await heard.open()
    world.pass_days(31)
    await world.payments.expire_due()
    ended = await world.ends(customer_id, "EXPIRED")
    await heard.close()
    await relay.close()
    assert (await world.payment(ended)).state == "EXPIRED"
    assert await world.available(customer_id) == 1_000
    assert await world.desk.expire() == 0


async def test_the_job_marks_what_lapsed_unheard(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    heard = await world.tap(card, 800)
    world.pass_days(31)
    await world.payments.expire_due()
    assert (await world.only(customer_id)).state == "APPROVED"
    assert await world.desk.expire() == 1
    assert (await world.only(customer_id)).state == "EXPIRED"
    assert (await world.network.reverse(heard.id)).response == "00"
    assert (await world.only(customer_id)).state == "EXPIRED"


@pytest.mark.parametrize("limit", ["day_minor", "month_minor"])
async def test_what_was_let_go_of_does_not_count_towards_the_limits_any_more(world: WireWorld, limit: str) -> None:
    await world.serve(limits={limit: 1_000})
    customer_id, card = await world.holder(funds=5_000)
    assert (await world.tap(card, 800)).response == "00"
    assert (await world.tap(card, 800)).response == "61"
    (payment_id,) = [each.payment_id for each in await world.authorizations(customer_id) if each.payment_id]
    await world.payments.cancel_payment(CancelPayment(payment_id=payment_id))
    assert await world.desk.hear_lapsed([payment_id]) == 1
    assert await world.desk.hear_lapsed([payment_id]) == 0
    assert (await world.tap(card, 800)).response == "00"
    assert (await world.tap(card, 800)).response == "61"


async def test_authorizations_are_listed_by_pages_newest_first(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=1_000)
    for amount in (10, 20, 30):
        assert (await world.tap(card, amount)).approved
        world.pass_days(0.01)
    desk, request = world.desk, ListAuthorizations(customer_id=customer_id, limit=2)
    first = await desk.list_id_authorizations(request)
    assert [each.amount_minor for each in first.authorizations] == [30, 20]
    second = await desk.list_id_authorizations(
        ListAuthorizations(customer_id=customer_id, limit=2, cursor=first.next_cursor)
    )
    assert ([each.amount_minor for each in second.authorizations], second.next_cursor) == ([10], None)
    with pytest.raises(Invalid, match="bad_cursor"):
        await desk.list_id_authorizations(ListAuthorizations(customer_id=customer_id, cursor="nonsense"))
    with pytest.raises(NotFound, match="id_authorization_not_found"):
        await desk.get_id_authorization(GetAuthorization(authorization_id="ath_" + "0" * 32))
    assert (await desk.list_open_authorizations(ListOpenAuthorizations())).authorizations == []


async def test_no_table_has_a_card_number(world: WireWorld) -> None:
    await world.serve()
    _, card = await world.holder(funds=1_000)
    heard = await world.tap(card, 800)
    await world.network.reverse(heard.id)
    digits = world.network.books.pan_of(heard)
    for table in ("id_authorization", "id_reversal", "outbox", "card_usage"):
        rows = await world.database.fetch(None, f"SELECT t.*::text AS told FROM nfc.{table} AS t")
        text = " ".join(row["told"] for row in rows)
        assert rows, table
        assert digits not in text
        assert digits.encode().hex() not in text
