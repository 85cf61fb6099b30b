"""Processes that die, callers who go away: another process brings what is in doubt to a known end, within its bound."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.cardgateway.api import (
    AuthorizationState,
    AuthorizeCard,
    CaptureCard,
    CompleteAuthorization,
    RefundCard,
    VoidCard,
)
from kessai.services.cardgateway.domain import Patience
from kessai.services.cardgateway.jobs import repair_cards
from kessai.services.cardgateway.service import CardGatewayService
from kessai.simulators.faults import PRESETS, Fault
from tests.cardgateway.agreement import differences
from tests.cardgateway.test_faults import asked_until_told
from tests.cardgateway.world import PATIENCE, World, hold, operation_id, seen, settled

S = AuthorizationState
HASTY = Patience(answer_s=0.3, reach_s=0.2, abandon_after_s=0.0, converge_within_s=60)
"""Gives an outcome up as soon as nobody came for it."""
FLUSHES_MAX = 8


async def _told_unknown(service: CardGatewayService, request: Any) -> None:
    """The caller goes away with nothing in hand."""
    with pytest.raises(Unknown) as caught:
        await service.authorize(request)
    assert caught.value.code == "card_outcome_unknown"


async def _repaired(service: CardGatewayService, authorization_id: str) -> AuthorizationState:
    """Let the repairer run until nothing is left to do for it."""
    async with asyncio.timeout(20):
        while True:
            await repair_cards(service)
            found = await settled(service, authorization_id)
            if found.state not in (S.VOIDING, S.PENDING):
                return found.state
            await asyncio.sleep(0.02)


# -- a process that dies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["none", "drop_after", "drop_before"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_every_journal_boundary_comes_to_the_same_end(
    world: World, when: Literal["before", "after"], fault: str
) -> None:
    survivor = await world.another_process()
    card_id = await world.card(survivor)
    for flush in range(1, FLUSHES_MAX):
        crash = CrashAt(flush, when)
        doomed = await world.another_process(hook=crash)
        request = hold(card_id)
        cau = str(request.authorization_id)
        if fault != "none":
            world.simulator.faults.program(replace(PRESETS[fault], about=cau))
        for step in _life_of(request):
            await _attempted(doomed, step)
            assert await asked_until_told(partial(step, survivor)) == "done"
        found = await settled(survivor, cau)
        assert (found.state, found.captured_minor, found.refunded_minor) == (S.CAPTURED, 700, 300)
        world.simulator.faults.clear()
        if not crash.crashed:
            break
    else:
        pytest.fail("the story is longer than was thought")
    assert flush > 6
    assert await differences(world.database, world.simulator.books) == []


def _life_of(request: AuthorizeCard) -> list[Callable[[CardGatewayService], Awaitable[Any]]]:
    """Authorize, capture a part, refund a part: each under one id, whoever does it."""
    cau = str(request.authorization_id)
    capture = CaptureCard(authorization_id=cau, amount_minor=700, operation_id=operation_id())
    refund = RefundCard(authorization_id=cau, amount_minor=300, operation_id=operation_id())
    return [lambda s: s.authorize(request), lambda s: s.capture(capture), lambda s: s.refund(refund)]


async def _attempted(service: CardGatewayService, step: Callable[[CardGatewayService], Awaitable[Any]]) -> None:
    """As long as the process lives; what it says then may only be that it does not know, or did nothing."""
    if service.engine.closing:
        return
    with contextlib.suppress(Unknown, Unavailable):
        await step(service)


async def test_what_a_killed_process_left_in_doubt_is_found_out_without_being_asked_for(world: World) -> None:
    doomed = await world.another_process()
    request = hold(await world.card(doomed))
    cau = str(request.authorization_id)
    world.simulator.faults.program(replace(PRESETS["slow_reply"], verb="authorize"))
    asked = asyncio.create_task(doomed.authorize(request))
    while cau not in world.simulator.books.authorizations:
        await asyncio.sleep(0.005)
    await doomed.engine.crash()
    with pytest.raises(PaymentError):
        await asked
    survivor = await world.another_process()
    assert (await settled(survivor, cau)).state is S.AUTHORIZED
    doubt = await survivor.doubt()
    assert doubt.operations == 0
    assert 0 < doubt.longest_s < PATIENCE.converge_within_s
    assert await survivor.authorize(request) == await survivor.authorize(request)
    assert await differences(world.database, world.simulator.books) == []


async def test_what_a_killed_process_authorized_and_nobody_comes_for_is_voided(world: World) -> None:
    doomed = await world.another_process()
    request = hold(await world.card(doomed))
    cau = str(request.authorization_id)
    world.simulator.faults.program(replace(PRESETS["slow_reply"], verb="authorize"))
    asked = asyncio.create_task(doomed.authorize(request))
    while cau not in world.simulator.books.authorizations:
        await asyncio.sleep(0.005)
    await doomed.engine.crash()
    with pytest.raises(PaymentError):
        await asked
    survivor = await world.another_process(patience=HASTY)
    assert (await settled(survivor, cau)).state is S.AUTHORIZED
    assert await _repaired(survivor, cau) is S.VOIDED
    assert world.simulator.books.authorizations[cau].state == "voided"
    with pytest.raises(Refused) as caught:
        await survivor.authorize(request)
    assert caught.value.code == "authorization_voided"
    assert await differences(world.database, world.simulator.books) == []


# -- callers who go away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "drop_before", "late_effect"])
async def test_an_authorization_that_its_caller_gave_up_is_voided_whatever_became_of_it(
    world: World, fault: str
) -> None:
    service = await world.another_process(patience=HASTY)
    request = hold(await world.card(service))
    cau = str(request.authorization_id)
    known = PRESETS.get(fault, Fault(delay_ms=500))
    world.simulator.faults.program(replace(known, verb="authorize", times=1))
    world.simulator.faults.program(replace(PRESETS["fail_before"], verb="inquire", times=12))
    await _told_unknown(service, request)
    assert await _repaired(service, cau) is S.VOIDED
    await asyncio.sleep(0.5)  # what is still on its way arrives, and finds the door closed
    assert world.simulator.books.authorizations[cau].state == "voided"
    assert await differences(world.database, world.simulator.books) == []


async def test_an_authorization_that_its_caller_comes_back_for_is_kept(world: World) -> None:
    service = await world.another_process(patience=replace(HASTY, abandon_after_s=3600))
    request = hold(await world.card(service))
    cau = str(request.authorization_id)
    world.simulator.faults.program(replace(PRESETS["drop_after"], verb="authorize"))
    world.simulator.faults.program(replace(PRESETS["fail_before"], verb="inquire", times=8))
    await _told_unknown(service, request)
    assert await asked_until_told(lambda: service.authorize(request)) == "done"
    hasty = await world.another_process(patience=HASTY)
    assert await repair_cards(hasty) == 0
    assert (await settled(hasty, cau)).state is S.AUTHORIZED


async def test_what_was_held_after_3d_secure_is_given_up_unless_its_caller_comes_back(world: World) -> None:
    service = await world.another_process(patience=replace(HASTY, abandon_after_s=3600))
    card_id, told = await world.card(service, "tok_3ds"), dict[str, str]()
    for story in ("leaves", "comes back"):
        waiting = await service.authorize(hold(card_id, return_url="https://shop.example/back"))
        cau = told[story] = waiting.authorization_id
        world.simulator.books.challenge(cau, passed=True)
        complete = CompleteAuthorization(authorization_id=cau, operation_id=operation_id())
        world.simulator.faults.program(replace(PRESETS["drop_after"], verb="complete"))
        world.simulator.faults.program(replace(PRESETS["fail_before"], verb="inquire", times=8))
        with pytest.raises(Unknown):
            await service.complete_authorization(complete)
        if story == "comes back":
            assert await asked_until_told(partial(service.complete_authorization, complete)) == "done"
        assert (await settled(service, cau)).state is S.AUTHORIZED
    hasty = await world.another_process(patience=HASTY)
    assert await _repaired(hasty, told["leaves"]) is S.VOIDED
    assert (await settled(hasty, told["comes back"])).state is S.AUTHORIZED
    assert await differences(world.database, world.simulator.books) == []


async def test_an_answer_that_was_heard_is_never_given_up(world: World) -> None:
    service = await world.another_process(patience=HASTY)
    made = await service.authorize(hold(await world.card(service)))
    assert await repair_cards(service) == 0
    assert (await seen(service, made.authorization_id)).state is S.AUTHORIZED


async def test_a_caller_whose_own_time_is_over_counts_as_gone(world: World) -> None:
    service = await world.another_process()
    request = hold(await world.card(service))
    cau = str(request.authorization_id)
    world.simulator.faults.program(Fault(verb="authorize", delay_ms=150))
    token = enter_call(Call(deadline=asyncio.get_running_loop().time() + 0.25))
    try:
        await _told_unknown(service, request)
    finally:
        leave_call(token)
    assert (await settled(service, cau)).state is S.AUTHORIZED
    hasty = await world.another_process(patience=HASTY)
    assert await _repaired(hasty, cau) is S.VOIDED
    assert await differences(world.database, world.simulator.books) == []


# -- aborts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "drop_before"])
async def test_voiding_what_is_in_doubt_undoes_it_whatever_became_of_it(world: World, fault: str) -> None:
    service = await world.another_process(patience=replace(HASTY, abandon_after_s=3600))
    request = hold(await world.card(service))
    cau = str(request.authorization_id)
    world.simulator.faults.program(replace(PRESETS[fault], verb="authorize"))
    world.simulator.faults.program(replace(PRESETS["fail_before"], verb="inquire", times=12))
    await _told_unknown(service, request)
    assert (await service.void(VoidCard(authorization_id=cau))).state in (S.VOIDING, S.VOIDED)
    assert await _repaired(service, cau) is S.VOIDED
    assert (await service.void(VoidCard(authorization_id=cau))).state is S.VOIDED
    assert world.simulator.books.authorizations[cau].state == "voided"
    assert await differences(world.database, world.simulator.books) == []


async def test_a_void_is_journalled_while_the_gateway_is_away_and_done_when_it_is_back(world: World) -> None:
    service = await world.another_process(patience=HASTY)
    made = await service.authorize(hold(await world.card(service)))
    await world.simulator.go_away()
    voiding = await service.void(VoidCard(authorization_id=made.authorization_id))
    assert voiding.state is S.VOIDING
    await world.simulator.start()
    assert await _repaired(service, made.authorization_id) is S.VOIDED
    assert await differences(world.database, world.simulator.books) == []


async def test_an_abort_that_a_killed_process_journalled_is_done_by_another(world: World) -> None:
    doomed = await world.another_process(patience=HASTY)
    made = await doomed.authorize(hold(await world.card(doomed)))
    world.simulator.faults.program(replace(PRESETS["drop_before"], verb="void", times=0))
    assert (await doomed.void(VoidCard(authorization_id=made.authorization_id))).state is S.VOIDING
    await doomed.engine.crash()
    world.simulator.faults.clear()
    survivor = await world.another_process()
    assert await _repaired(survivor, made.authorization_id) is S.VOIDED
    assert await differences(world.database, world.simulator.books) == []


async def test_doubt_past_its_bound_is_told(
    world: World, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    impatient = Patience(answer_s=0.1, reach_s=5.0, abandon_after_s=3600, converge_within_s=0.1)
    service = await world.another_process(patience=impatient)
    made = await service.authorize(hold(await world.card(service)))
    await world.simulator.go_away()
    with pytest.raises(Unknown):
        await service.capture(CaptureCard(authorization_id=made.authorization_id))
    await asyncio.sleep(0.2)
    await repair_cards(service)
    assert "card_outcome_unknown_too_long" in capsys.readouterr().out + caplog.text
    assert (await service.doubt()).operations == 1
    await world.simulator.start()
    await settled(service, made.authorization_id)
    assert (await service.doubt()).operations == 0
