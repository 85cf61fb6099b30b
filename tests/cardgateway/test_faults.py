"""Every fault × every call ends where an oracle says, and the gateway's books agree with ours to the yen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.errors import PaymentError
from kessai.foundation.outbound import Outbound
from kessai.services.cardgateway.api import (
    AuthorizationState,
    CaptureCard,
    CardAuthorization,
    CompleteAuthorization,
    GetCard,
    ListCards,
    RefundCard,
    RegisterCard,
    VoidCard,
)
from kessai.services.cardgateway.domain import Patience
from kessai.services.cardgateway.service import CardGatewayService
from kessai.simulators.faults import PRESETS, Fault
from tests.cardgateway.agreement import differences
from tests.cardgateway.world import World, hold, operation_id, settled

S = AuthorizationState
AMOUNT = 1_000

FAULTS: dict[str, Fault] = {
    **{name: fault for name, fault in PRESETS.items() if name not in ("hang", "undone")},
    "hang_without_effect": replace(PRESETS["hang"], delay_ms=600),
    "late_effect": Fault(delay_ms=600),
    "dropped_thrice": Fault(reply="drop", times=3),
    "lost_thrice": Fault(effect=False, reply="drop", times=3),
    "refused": Fault(refuse="card_declined"),
    "refused_and_dropped": Fault(refuse="card_declined", reply="drop"),
}
REFUSING = ("refused", "refused_and_dropped")


@dataclass(frozen=True)
class Story:
    """A call under a fault: what comes before, the call itself, and where it ends: (state, captured, refunded)."""

    begin: Callable[[World, CardGatewayService], Awaitable[str]]
    call: Callable[[CardGatewayService, str, str], Awaitable[CardAuthorization]]
    done: tuple[AuthorizationState, int, int]
    refused: tuple[AuthorizationState, int, int]


async def _held(world: World, service: CardGatewayService) -> str:
    return (await service.authorize(hold(await world.card(service), AMOUNT))).authorization_id


async def _challenged(world: World, service: CardGatewayService) -> str:
    card_id = await world.card(service, "tok_3ds")
    waiting = await service.authorize(hold(card_id, AMOUNT, return_url="https://shop.example/back"))
    world.simulator.books.challenge(waiting.authorization_id, passed=True)
    return waiting.authorization_id


async def _taken(world: World, service: CardGatewayService) -> str:
    cau = await _held(world, service)
    await service.capture(CaptureCard(authorization_id=cau))
    return cau


STORIES: dict[str, Story] = {
    "complete": Story(
        _challenged,
        lambda service, cau, cop: service.complete_authorization(
            CompleteAuthorization(authorization_id=cau, operation_id=cop)
        ),
        (S.AUTHORIZED, 0, 0),
        (S.REFUSED, 0, 0),
    ),
    "capture": Story(
        _held,
        lambda service, cau, cop: service.capture(
            CaptureCard(authorization_id=cau, operation_id=cop, amount_minor=600)
        ),
        (S.CAPTURED, 600, 0),
        (S.AUTHORIZED, 0, 0),
    ),
    "void": Story(
        _held,
        lambda service, cau, cop: service.void(VoidCard(authorization_id=cau, operation_id=cop)),
        (S.VOIDED, 0, 0),
        (S.AUTHORIZED, 0, 0),
    ),
    "refund": Story(
        _taken,
        lambda service, cau, cop: service.refund(RefundCard(authorization_id=cau, operation_id=cop, amount_minor=250)),
        (S.CAPTURED, AMOUNT, 250),
        (S.CAPTURED, AMOUNT, 0),
    ),
}


async def asked_until_told(ask: Callable[[], Awaitable[Any]]) -> str:
    """As a client does it: the same request under the same id, until it is told something definite."""
    async with asyncio.timeout(20):
        while True:
            try:
                await ask()
            except PaymentError as error:
                if not error.retryable:
                    return error.code
                await asyncio.sleep(0.02)
            else:
                return "done"


def _expected(fault: str, code: str = "card_declined") -> str:
    return code if fault in REFUSING else "done"


def _where(found: CardAuthorization) -> tuple[AuthorizationState, int, int]:
    return found.state, found.captured_minor, found.refunded_minor


@pytest.mark.parametrize("fault", FAULTS)
async def test_authorizing_under_a_fault_ends_where_it_should(world: World, fault: str) -> None:
    service = await world.another_process()
    request = hold(await world.card(service), AMOUNT)
    assert request.authorization_id is not None
    world.simulator.faults.program(replace(FAULTS[fault], verb="authorize"))
    assert await asked_until_told(lambda: service.authorize(request)) == _expected(fault)
    found = await settled(service, request.authorization_id)
    assert _where(found) == (S.REFUSED if fault in REFUSING else S.AUTHORIZED, 0, 0)
    assert await differences(world.database, world.simulator.books) == []


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", STORIES)
async def test_an_operation_under_a_fault_ends_where_it_should(world: World, verb: str, fault: str) -> None:
    story, service = STORIES[verb], await world.another_process()
    cau, cop = await story.begin(world, service), operation_id()
    world.simulator.faults.program(replace(FAULTS[fault], verb=verb))
    assert await asked_until_told(lambda: story.call(service, cau, cop)) == _expected(fault)
    found = await settled(service, cau)
    assert _where(found) == (story.refused if fault in REFUSING else story.done)
    assert await differences(world.database, world.simulator.books) == []


@pytest.mark.parametrize("fault", FAULTS)
async def test_registering_under_a_fault_keeps_one_card_or_none(world: World, fault: str) -> None:
    service = await world.another_process()
    request = RegisterCard(customer_id="cus:1", form_token="tok_visa", card_id=operation_id().replace("cop", "crd"))
    world.simulator.faults.program(replace(FAULTS[fault], verb="register"))
    told = await asked_until_told(lambda: service.register_card(request))
    if fault == "refused_and_dropped":
        assert told == "invalid_form_token"
    else:
        assert told == _expected(fault)
    assert len((await service.list_cards(ListCards(customer_id="cus:1"))).cards) == (told == "done")


@pytest.mark.parametrize("inquiry", ["drop_before", "garbage_after", "fail_before", "twice", "delay"])
async def test_inquiries_may_fail_as_well(world: World, inquiry: str) -> None:
    service = await world.another_process()
    request = hold(await world.card(service), AMOUNT)
    assert request.authorization_id is not None
    world.simulator.faults.program(replace(PRESETS["drop_after"], verb="authorize"))
    world.simulator.faults.program(replace(PRESETS[inquiry], verb="inquire", times=3))
    assert await asked_until_told(lambda: service.authorize(request)) == "done"
    assert (await settled(service, request.authorization_id)).state is S.AUTHORIZED
    assert [each.verb for each in world.simulator.requests].count("authorize") == 1
    assert await differences(world.database, world.simulator.books) == []


async def test_an_outcome_that_may_be_known_is_inquired_before_anything_is_sent_again(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    world.simulator.faults.program(replace(PRESETS["drop_before"], verb="authorize"))
    await service.authorize(hold(card_id, AMOUNT))
    verbs = [each.verb for each in world.simulator.requests if each.verb != "register"]
    assert verbs == ["authorize", "inquire", "authorize"]


async def test_the_second_of_two_answers_is_not_taken_for_the_next_calls(world: World) -> None:
    service = await world.another_process(destination={"concurrency_max": 1})
    card_id = await world.card(service)
    world.simulator.faults.program(Fault(verb="authorize", reply="twice", times=0))
    made = [await service.authorize(hold(card_id, AMOUNT + number)) for number in range(10)]
    assert [each.amount_minor for each in made] == [AMOUNT + number for number in range(10)]
    assert await differences(world.database, world.simulator.books) == []


# -- somebody between us and the gateway ------------------------------------------------------------------------


BETWEEN = {
    "timed_out": (408, b'{"code":"request_timeout"}'),
    "too_early": (425, b""),
    "throttled": (429, b"slow down"),
    "a proxy's page": (403, b"<html>denied</html>"),
    "a proxy's word for a refusal": (409, b"<html>conflict</html>"),
    "not found": (404, b'{"code":"authorization_not_found","id":"cau_0"}'),
}


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("between", BETWEEN)
async def test_an_answer_that_is_no_documented_refusal_says_nothing_of_what_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch, between: str, *, arrives: bool
) -> None:
    service = await world.another_process(patience=Patience(answer_s=2.0, reach_s=1.0))
    request = hold(await world.card(service), AMOUNT)
    assert request.authorization_id is not None
    exchange, left = Outbound._exchange, [4]  # pyright: ignore[reportPrivateUsage]  # what comes over the wire

    async def answered_by_another(self: Outbound, method: str, path: str, *more: Any) -> tuple[int, bytes]:
        if method != "PUT" or "/authorizations/" not in path or not left[0]:
            return await exchange(self, method, path, *more)
        left[0] -= 1
        if arrives:
            await exchange(self, method, path, *more)
        return BETWEEN[between]

    monkeypatch.setattr(Outbound, "_exchange", answered_by_another)
    assert await asked_until_told(lambda: service.authorize(request)) == "done"
    assert _where(await settled(service, request.authorization_id)) == (S.AUTHORIZED, 0, 0)
    assert await differences(world.database, world.simulator.books) == []


# -- a gateway that is away -------------------------------------------------------------------------------------


async def test_an_authorization_that_surely_was_not_sent_is_refused_soon(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    await world.simulator.go_away()
    request = hold(card_id)
    assert await asked_until_told(lambda: service.authorize(request)) == "card_gateway_unavailable"
    await world.simulator.start()
    assert request.authorization_id is not None
    assert (await settled(service, request.authorization_id)).state is S.REFUSED
    assert await differences(world.database, world.simulator.books) == []


async def test_a_capture_waits_for_a_gateway_that_is_away(world: World) -> None:
    service = await world.another_process()
    cau = await _held(world, service)
    await world.simulator.go_away()
    asked = asyncio.create_task(
        asked_until_told(lambda: service.capture(CaptureCard(authorization_id=cau, operation_id=cop)))
    )
    cop = operation_id()
    await asyncio.sleep(0.3)
    await world.simulator.start()
    assert await asked == "done"
    assert (await settled(service, cau)).captured_minor == AMOUNT
    assert await differences(world.database, world.simulator.books) == []


async def test_what_was_in_doubt_when_the_gateway_went_down_is_known_when_it_is_back(world: World) -> None:
    service = await world.another_process()
    card_id = await world.card(service)
    world.simulator.faults.program(Fault(verb="authorize", reply="drop", times=0))
    requests = [hold(card_id, AMOUNT + number) for number in range(8)]
    asked = [asyncio.create_task(asked_until_told(lambda r=r: service.authorize(r))) for r in requests]
    await asyncio.sleep(0.1)
    world.simulator.faults.down = True
    await asyncio.sleep(0.3)
    world.simulator.faults.clear()
    assert await asyncio.gather(*asked) == ["done"] * 8
    for request in requests:
        assert request.authorization_id is not None
        assert (await settled(service, request.authorization_id)).state is S.AUTHORIZED
    assert await differences(world.database, world.simulator.books) == []


async def test_the_gateways_books_survive_its_restart(world: World, tmp_path: Any) -> None:
    from kessai.simulators.cardgateway import CardGatewaySimulator

    path = tmp_path / "books" / "cardgateway.jsonl"
    first = CardGatewaySimulator(path=path)
    token = first.books.register("crd_1", "tok_visa").card_token
    first.books.authorize("cau_1", token, 500, "JPY")
    first.books.capture("cau_1", "cop_1", 200, final=False)
    first.books.close()
    with path.open("ab") as file:
        file.write(b'{"do": "refund", "id": "cau_1", "opera')  # cut short by a crash, and told to nobody
    second = CardGatewaySimulator(path=path)
    assert second.books.authorizations == first.books.authorizations
    second.books.refund("cau_1", "cop_2", 100)
    second.books.close()
    third = CardGatewaySimulator(path=path)
    assert third.books.authorizations["cau_1"].refunded == 100
    third.books.close()


async def test_get_card_of_a_refused_registration_finds_nothing(world: World) -> None:
    service = await world.another_process()
    request = RegisterCard(customer_id="cus:1", form_token="form_unknown", card_id=operation_id().replace("cop", "crd"))
    assert await asked_until_told(lambda: service.register_card(request)) == "invalid_form_token"
    assert request.card_id is not None
    assert await asked_until_told(lambda: service.get_card(GetCard(card_id=request.card_id or ""))) == "card_not_found"


@pytest.mark.parametrize("verb", ["refund", "capture", "complete"])
async def test_while_a_capture_is_in_doubt_nothing_is_refused_for_good(world: World, verb: str) -> None:
    service = await world.another_process(
        patience=Patience(answer_s=0.3, reach_s=0.4, abandon_after_s=3600, converge_within_s=60)
    )
    authorization_id = await _held(world, service)
    capture = CaptureCard(authorization_id=authorization_id, operation_id=operation_id())
    for each in ("capture", "inquire"):
        world.simulator.faults.program(Fault(verb=each, reply="drop", times=0))
    with pytest.raises(PaymentError, match="card_outcome_unknown"):
        await service.capture(capture)
    others: dict[str, Callable[[], Awaitable[Any]]] = {
        "refund": lambda: service.refund(RefundCard(authorization_id=authorization_id)),
        "capture": lambda: service.capture(CaptureCard(authorization_id=authorization_id, amount_minor=AMOUNT + 1)),
        "complete": lambda: service.complete_authorization(CompleteAuthorization(authorization_id=authorization_id)),
    }
    with pytest.raises(PaymentError) as caught:
        await others[verb]()
    assert (caught.value.code, caught.value.retryable) == ("authorization_busy", True)
    world.simulator.faults.clear()
    found = await settled(service, authorization_id)
    assert _where(found) == (S.CAPTURED, AMOUNT, 0)
