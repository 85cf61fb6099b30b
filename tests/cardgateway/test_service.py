"""The card gateway's verbs: what they do, what they refuse, and what a repetition gives."""

from __future__ import annotations

from typing import Any

import pytest

from kessai.foundation.errors import KeyReused, NotFound, PaymentError, Refused
from kessai.foundation.ids import new_id
from kessai.services.cardgateway.api import (
    AuthorizationState,
    CaptureCard,
    CardState,
    CompleteAuthorization,
    GetCard,
    ListAuthorizations,
    ListCards,
    RefundCard,
    RegisterCard,
    RemoveCard,
    VoidCard,
)
from kessai.simulators.cardgateway import Declined
from tests.cardgateway.agreement import differences
from tests.cardgateway.world import World, hold, operation_id, seen, settled

S = AuthorizationState


async def _refusal(work: Any) -> str:
    with pytest.raises(PaymentError) as caught:
        await work
    return caught.value.code


# -- cards ------------------------------------------------------------------------------------------------------


async def test_a_card_is_kept_as_a_token_and_never_by_its_number(world: World) -> None:
    service = await world.another_process()
    number = "4242 4242 4242 4242"
    form_token = world.simulator.books.fill_form(number, 4, 2031)
    card = await service.register_card(RegisterCard(customer_id="cus:1", form_token=form_token))
    assert (card.brand, card.last_four, card.expiry_month, card.expiry_year) == ("visa", "4242", 4, 2031)
    rows = await world.database.fetch(None, "SELECT card::text AS it FROM cardgateway.card")
    rows += await world.database.fetch(None, "SELECT outcome::text || steps::text AS it FROM cardgateway.workflow_done")
    assert not any("42424242" in row["it"].replace(" ", "") for row in rows)


async def test_a_card_number_in_place_of_a_form_token_is_refused_at_the_door() -> None:
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"customer_id": "c", "form_token": "4242424242424242"}', type=RegisterCard)


async def test_a_form_token_is_good_for_one_card(world: World) -> None:
    service = await world.another_process()
    form_token = world.simulator.books.fill_form("5555555555554444", 1, 2030)
    await service.register_card(RegisterCard(customer_id="cus:1", form_token=form_token))
    again = RegisterCard(customer_id="cus:1", form_token=form_token)
    assert await _refusal(service.register_card(again)) == "invalid_form_token"
    assert len((await service.list_cards(ListCards(customer_id="cus:1"))).cards) == 1


async def test_registering_again_under_the_same_id_gives_the_same_card(world: World) -> None:
    service = await world.another_process()
    request = RegisterCard(customer_id="cus:1", form_token="tok_visa", card_id=new_id("crd"))
    assert await service.register_card(request) == await service.register_card(request)
    other = RegisterCard(customer_id="cus:1", form_token="tok_jcb", card_id=request.card_id)
    with pytest.raises(KeyReused):
        await service.register_card(other)


async def test_a_removed_card_is_listed_only_on_demand_and_cannot_be_charged(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    removed = await service.remove_card(RemoveCard(card_id=card_id))
    assert (removed.state, (await service.remove_card(RemoveCard(card_id=card_id))).state) == (
        CardState.REMOVED,
        CardState.REMOVED,
    )
    assert (await service.list_cards(ListCards(customer_id="cus:1"))).cards == []
    assert len((await service.list_cards(ListCards(customer_id="cus:1", include_removed=True))).cards) == 1
    assert await _refusal(service.authorize(hold(card_id))) == "card_removed"
    await service.close()
    assert [each.verb for each in world.simulator.requests][-1] == "forget"


async def test_cards_that_are_not_there_are_not_found(world: World) -> None:
    service = await world.another_process()
    with pytest.raises(NotFound):
        await service.get_card(GetCard(card_id=new_id("crd")))
    card_id = await world.card(service)
    assert await _refusal(service.authorize(hold(card_id, customer_id="cus:other"))) == "card_not_found"


# -- a life -----------------------------------------------------------------------------------------------------


async def test_an_authorization_is_captured_in_parts_and_refunded_in_parts(world: World) -> None:
    service = await world.another_process()
    request = hold(await world.card(service))
    held = await service.authorize(request)
    cau = held.authorization_id
    assert (held.state, held.amount_minor, held.captured_minor) == (S.AUTHORIZED, 1_000, 0)
    part = await service.capture(CaptureCard(authorization_id=cau, amount_minor=300, final=False))
    assert (part.state, part.captured_minor) == (S.AUTHORIZED, 300)
    rest = await service.capture(CaptureCard(authorization_id=cau, amount_minor=500))
    assert (rest.state, rest.captured_minor) == (S.CAPTURED, 800)
    back = await service.refund(RefundCard(authorization_id=cau, amount_minor=200))
    assert (back.state, back.refunded_minor) == (S.CAPTURED, 200)
    assert (await service.refund(RefundCard(authorization_id=cau))).refunded_minor == 800
    assert [(each.kind, each.amount_minor) for each in (await seen(service, cau)).operations] == [
        ("authorize", 1_000),
        ("capture", 300),
        ("capture", 500),
        ("refund", 200),
        ("refund", 600),
    ]
    assert await differences(world.database, world.simulator.books) == []


async def test_a_void_releases_what_is_held_and_what_is_left(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    whole, part = hold(card_id), hold(card_id)
    await service.authorize(whole)
    await service.authorize(part)
    assert part.authorization_id is not None
    assert whole.authorization_id is not None
    assert (await service.void(VoidCard(authorization_id=whole.authorization_id))).state is S.VOIDED
    await service.capture(CaptureCard(authorization_id=part.authorization_id, amount_minor=1, final=False))
    assert (await service.void(VoidCard(authorization_id=part.authorization_id))).state is S.CAPTURED
    assert await differences(world.database, world.simulator.books) == []


async def test_what_the_issuer_refuses_is_refused_with_its_code(world: World) -> None:
    service = await world.another_process()
    request = hold(await world.card(service, "tok_insufficient_funds"))
    with pytest.raises(Refused) as caught:
        await service.authorize(request)
    assert caught.value.code == "insufficient_funds"
    assert request.authorization_id is not None
    stored = await seen(service, request.authorization_id)
    assert (stored.state, stored.refusal_code) == (S.REFUSED, "insufficient_funds")
    assert await _refusal(service.authorize(request)) == "insufficient_funds"
    assert await differences(world.database, world.simulator.books) == []


async def test_a_code_that_we_do_not_know_is_passed_on_as_the_gateways(world: World) -> None:
    service = await world.another_process()
    from kessai.simulators.faults import Fault

    card_id = await world.card(service)
    world.simulator.faults.program(Fault(verb="authorize", refuse="moon_in_the_wrong_phase"))
    with pytest.raises(Refused) as caught:
        await service.authorize(hold(card_id))
    assert (caught.value.code, caught.value.details["gateway_code"]) == ("gateway_refused", "moon_in_the_wrong_phase")


async def test_what_cannot_be_is_refused_and_the_gateway_never_hears_of_it(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    held, taken = hold(card_id), hold(card_id)
    await service.authorize(held)
    await service.authorize(taken)
    assert held.authorization_id is not None
    assert taken.authorization_id is not None
    await service.capture(CaptureCard(authorization_id=taken.authorization_id))
    heard = len(world.simulator.requests)
    cau, captured, none = held.authorization_id, taken.authorization_id, new_id("cau")
    assert [
        await _refusal(service.authorize(hold(card_id, asset="USD"))),
        await _refusal(service.capture(CaptureCard(authorization_id=none))),
        await _refusal(service.capture(CaptureCard(authorization_id=cau, amount_minor=1_001))),
        await _refusal(service.capture(CaptureCard(authorization_id=captured))),
        await _refusal(service.refund(RefundCard(authorization_id=cau))),
        await _refusal(service.refund(RefundCard(authorization_id=captured, amount_minor=1_001))),
        await _refusal(service.void(VoidCard(authorization_id=captured))),
        await _refusal(service.complete_authorization(CompleteAuthorization(authorization_id=cau))),
    ] == [
        "wrong_asset",
        "authorization_not_found",
        "capture_above_authorized",
        "authorization_not_authorized",
        "authorization_not_captured",
        "refund_above_captured",
        "already_captured",
        "authorization_not_waiting",
    ]
    assert len(world.simulator.requests) == heard


# -- 3-D Secure -------------------------------------------------------------------------------------------------


async def test_a_customer_who_proves_who_they_are_is_authorized(world: World) -> None:
    service = await world.another_process()
    request = hold(await world.card(service, "tok_3ds"), return_url="https://shop.example/back")
    waiting = await service.authorize(request)
    cau = waiting.authorization_id
    assert waiting.state is S.REQUIRES_ACTION
    assert waiting.action_url == f"{world.simulator.url}/challenges/{cau}"
    complete = CompleteAuthorization(authorization_id=cau)
    assert await _refusal(service.complete_authorization(complete)) == "action_pending"
    assert (await seen(service, cau)).state is S.REQUIRES_ACTION
    world.simulator.books.challenge(cau, passed=True)
    done = await service.complete_authorization(complete)
    assert (done.state, done.action_url) == (S.AUTHORIZED, None)
    assert await differences(world.database, world.simulator.books) == []


async def test_a_customer_who_fails_is_refused_and_one_who_does_not_come_back_is_voided(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service, "tok_3ds")
    failing, leaving = (hold(card_id, return_url="https://shop.example/back") for _ in range(2))
    assert failing.authorization_id is not None
    assert leaving.authorization_id is not None
    await service.authorize(failing)
    await service.authorize(leaving)
    world.simulator.books.challenge(failing.authorization_id, passed=False)
    complete = CompleteAuthorization(authorization_id=failing.authorization_id)
    assert await _refusal(service.complete_authorization(complete)) == "authentication_failed"
    assert (await seen(service, failing.authorization_id)).state is S.REFUSED
    assert (await service.void(VoidCard(authorization_id=leaving.authorization_id))).state is S.VOIDED
    with pytest.raises(Declined):
        world.simulator.books.complete(leaving.authorization_id, "late")
    assert await differences(world.database, world.simulator.books) == []


async def test_without_a_way_back_for_the_customer_3d_secure_is_a_refusal(world: World) -> None:
    service = await world.another_process()
    assert await _refusal(service.authorize(hold(await world.card(service, "tok_3ds")))) == "authentication_required"


# -- the same again ---------------------------------------------------------------------------------------------


async def test_the_same_id_gives_the_same_answer_and_one_effect_whichever_process_is_asked(world: World) -> None:
    first, second = await world.another_process(), await world.another_process()
    request = hold(await world.card(first))
    held = await first.authorize(request)
    cau = held.authorization_id
    assert await second.authorize(request) == held
    capture = CaptureCard(authorization_id=cau, amount_minor=400, final=False, operation_id=operation_id())
    taken = await first.capture(capture)
    assert await second.capture(capture) == taken
    assert (await seen(second, cau)).captured_minor == 400
    assert [each.verb for each in world.simulator.requests].count("authorize") == 1
    assert [each.verb for each in world.simulator.requests].count("capture") == 1


async def test_an_id_that_comes_back_with_other_content_is_refused(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    request = hold(card_id)
    await service.authorize(request)
    assert request.authorization_id is not None
    with pytest.raises(KeyReused):
        await service.authorize(hold(card_id, 999, authorization_id=request.authorization_id))
    capture = CaptureCard(authorization_id=request.authorization_id, operation_id=operation_id())
    await service.capture(capture)
    with pytest.raises(KeyReused):
        await service.refund(RefundCard(authorization_id=request.authorization_id, operation_id=capture.operation_id))


async def test_an_authorization_that_was_voided_before_it_came_never_comes(world: World) -> None:
    service = await world.another_process()
    request = hold(await world.card(service))
    assert request.authorization_id is not None
    assert (await service.void(VoidCard(authorization_id=request.authorization_id))).state is S.VOIDED
    assert await _refusal(service.authorize(request)) == "authorization_voided"
    assert (await settled(service, request.authorization_id)).state is S.VOIDED
    assert world.simulator.books.authorizations == {}


async def test_authorizations_of_a_customer_are_listed_newest_first_in_pages(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    made = [(await service.authorize(hold(card_id, 100 + number))).authorization_id for number in range(5)]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await service.list_authorizations(ListAuthorizations(customer_id="cus:1", limit=2, cursor=cursor))
        found += [each.authorization_id for each in page.authorizations]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == made[::-1]
    assert await _refusal(service.list_authorizations(ListAuthorizations(customer_id="c", cursor="zz"))) == "bad_cursor"
