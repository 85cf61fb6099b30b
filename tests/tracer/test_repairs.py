"""Differences that a rule covers are repaired without anybody, once, and proved; everything else is for people."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError, Refused, Unavailable
from kessai.sdk.processing.api import EffectRecord, Repair, Repaired
from kessai.services.tracer.api import AssignFinding
from kessai.services.tracer.domain.rules import RepairRule
from kessai.services.tracer.service import TracerService
from kessai.services.tracer.service.repairing import Repairer

from .toys import RULES, World, effect

HOLD = effect("exc_hold", state="AUTHORIZED")
RULE = RULES.repair[1]
VOID = replace(RULE, name="void-hold", participant="shop", dependency="till", service="till")


class Till:
    """What the till's holds are repaired with."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.told: list[Repair] = []
        self.fails: list[Exception] = []
        """Raised one after the other, before anything is done."""
        self.forgets: list[BaseException] = []
        """Raised after it was done."""

    async def repair(self, request: Repair, /) -> Repaired:
        """Remove a hold, once."""
        assert (current_call().caller, current_call().request_key) == ("tracer", request.repair_id)
        self.told.append(request)
        if self.fails:
            raise self.fails.pop(0)
        effects = self._world.toys["till"].effects[request.processing_id]
        effects[:] = [each for each in effects if each[1].effect_id != request.effect_id]
        if self.forgets:
            raise self.forgets.pop(0)
        return Repaired(reference=f"op_{request.effect_id}")


class Shop:
    """A world with a rule, and its repairer."""

    def __init__(self, database: Database, *rules: RepairRule) -> None:
        self.world = World(database, {"shop": ["till"], "till": []})
        self.rules = list(rules)
        self.till = Till(self.world)
        self.world.tracer = TracerService(database, replace(RULES, repair=self.rules), self.world.clock)
        calls = {"shop": ["till"], "till": []}
        self.world.participants = {name: self.world.participant(name, calls[name]) for name in calls}
        self.repairer = self.another()

    def another(self) -> Repairer:
        """As a process after a crash has it."""
        return Repairer(self.world.database, self.world.tracer, {"till": self.till}, self.world.clock)

    async def held(self, processing_id: str = "prc_1", *holds: EffectRecord, state: str = "REFUSED") -> None:
        """A payment that came to nothing, of whose holds at the till the shop knows nothing."""
        self.world.toys["shop"].did("key_1", processing_id, effect(f"pay_{processing_id}", account=None, state=state))
        for each in holds or (HOLD,):
            self.world.toys["till"].did("shop", processing_id, each)
        await self.world.touch("shop", processing_id, entry=True)
        await self.world.touch("till", processing_id)
        await self.world.settle()
        assert await self.world.verdict(processing_id) == "INCONSISTENT"

    async def repaired(self) -> int:
        """One turn of the repairer, and what comes of it."""
        answers = await self.repairer.run()
        await self.world.settle()
        return answers

    async def steps(self, processing_id: str = "prc_1") -> list[tuple[str, str]]:
        """The finding's states and who brought them about."""
        return [(each.state, each.by) for each in (await self.world.finding(processing_id)).steps]


@pytest.fixture
async def shop(database: Database) -> AsyncIterator[Shop]:
    """With one rule."""
    made = Shop(database, VOID)
    yield made
    await made.world.tracer.close()


async def test_a_hold_that_nobody_wants_is_voided_proved_and_closed(shop: Shop) -> None:
    await shop.held()
    assert await shop.repaired() == 1
    done = await shop.world.finding("prc_1")
    assert [(each.state, each.by, each.reason) for each in done.steps[1:]] == [
        ("OPEN", "rule:void-hold", "Told till to void exc_hold."),
        ("REPAIRED", "rule:void-hold", "till did void exc_hold."),
        ("CLOSED", "tracer", "Closed: revision 2 is consistent."),
    ]
    assert (done.steps[2].repair_kind, done.steps[2].repair_id) == ("instruction", "op_exc_hold")
    assert await shop.world.verdict("prc_1") == "CONSISTENT"


async def test_running_again_changes_nothing(shop: Shop) -> None:
    await shop.held()
    assert [await shop.repaired() for _ in range(3)] == [1, 0, 0]
    assert (len(shop.till.told), len(await shop.steps())) == (1, 4)


async def test_a_crash_between_the_instruction_and_its_effect_is_taken_up_under_the_same_id(shop: Shop) -> None:
    await shop.held()
    await shop.repairer.order()
    shop.repairer = shop.another()
    assert await shop.repaired() == 1
    assert (await shop.steps())[-1] == ("CLOSED", "tracer")


async def test_a_crash_between_the_effect_and_its_answer_is_taken_up_under_the_same_id(shop: Shop) -> None:
    await shop.held()
    shop.till.forgets.append(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await shop.repairer.run()
    await shop.world.touch("till", "prc_1")  # the till's own flush
    await shop.world.settle()
    assert (await shop.steps())[-1] == ("OPEN", "tracer")
    shop.repairer = shop.another()
    shop.world.clock.advance(timedelta(minutes=1))
    assert await shop.repaired() == 1
    assert len({each.repair_id for each in shop.till.told}) == 1
    assert (len(shop.till.told), (await shop.steps())[-1]) == (2, ("CLOSED", "tracer"))


@pytest.mark.parametrize("error", [Unavailable("away", "Down."), RuntimeError("bug")])
async def test_a_service_that_does_not_answer_is_told_again_later(shop: Shop, error: Exception) -> None:
    await shop.held()
    shop.till.fails.append(error)
    assert [await shop.repaired(), await shop.repaired()] == [0, 0]
    shop.world.clock.advance(timedelta(seconds=2))
    assert await shop.repaired() == 1
    assert (len(shop.till.told), (await shop.steps())[-1]) == (2, ("CLOSED", "tracer"))


async def test_a_refusal_is_kept_and_left_to_people(shop: Shop) -> None:
    await shop.held()
    shop.till.fails.append(Refused("already_captured", "No."))
    assert [await shop.repaired(), await shop.repaired()] == [1, 0]
    finding = await shop.world.finding("prc_1")
    assert (finding.state, len(shop.till.told)) == ("OPEN", 1)
    assert "till refused to void exc_hold: already_captured." in [each.reason for each in finding.steps]


async def test_a_repair_that_mends_nothing_is_tried_once(shop: Shop) -> None:
    await shop.held()

    async def lie(request: Repair, /) -> Repaired:
        shop.till.told.append(request)
        return Repaired(reference="op_nothing")

    shop.till.repair = lie
    assert [await shop.repaired() for _ in range(3)] == [1, 0, 0]
    assert (len(shop.till.told), (await shop.world.finding("prc_1")).state) == (1, "OPEN")


async def test_two_holds_are_voided_and_linked_before_it_is_proved_anew(shop: Shop) -> None:
    await shop.held("prc_1", HOLD, effect("exc_other", state="AUTHORIZED"))
    assert await shop.repaired() == 2
    assert [each.state for each in (await shop.world.finding("prc_1")).steps] == [
        "OPEN", "OPEN", "OPEN", "REPAIRED", "REPAIRED", "CLOSED",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "held",
    [
        effect("exc_hold", state="CAPTURED"),
        effect("exc_hold", state="AUTHORIZED", captured_minor=1),
        effect("exc_hold", state="AUTHORIZED", amount_minor=-50_001),
    ],
)
async def test_what_is_taken_or_too_large_is_left_to_people(database: Database, held: EffectRecord) -> None:
    shop = Shop(database, replace(VOID, amount_minor_max=50_000))
    await shop.held("prc_1", held)
    assert await shop.repaired() == 0
    assert (shop.till.told, await shop.steps()) == ([], [("OPEN", "tracer")])
    await shop.world.tracer.close()


async def test_an_unfinished_payment_and_a_second_difference_are_left_to_people(shop: Shop) -> None:
    await shop.held("prc_1", state="AUTHORIZED")
    await shop.held("prc_2", HOLD, effect("exc_taken", state="CAPTURED"))
    assert (await shop.repaired(), shop.till.told) == (0, [])


async def test_what_somebody_has_taken_up_is_left_to_them(shop: Shop) -> None:
    await shop.held()
    finding = await shop.world.finding("prc_1")
    await shop.world.tracer.assign_finding(AssignFinding(finding_id=finding.finding_id, assignee="aiko"))
    assert (await shop.repaired(), shop.till.told) == (0, [])


async def test_a_rule_that_is_switched_off_does_nothing_and_does_it_once_it_is_on(database: Database) -> None:
    shop = Shop(database, replace(VOID, enabled=False))
    await shop.held()
    assert await shop.repaired() == 0
    shop.rules[0] = VOID
    shop.repairer = shop.another()
    assert await shop.repaired() == 1
    await shop.world.tracer.close()


async def test_a_hold_that_the_outside_kept_is_told_to_whoever_answers_for_it(database: Database) -> None:
    shop = Shop(database, replace(VOID, own=[]))
    await shop.held()
    assert await shop.repaired() == 1
    await shop.held("prc_2", replace(HOLD, effect_id="pay_prc_2"))
    assert await shop.repaired() == 0  # the shop tells of that one itself
    await shop.world.tracer.close()


async def test_a_rule_for_a_service_that_can_repair_nothing_is_refused_at_the_start(database: Database) -> None:
    shop = Shop(database, VOID)
    with pytest.raises(OperatorError, match="void-hold tells till, which can repair nothing"):
        Repairer(database, shop.world.tracer, {})
    await shop.world.tracer.close()


def test_the_platforms_own_rules_void_holds_of_ended_payments_only() -> None:
    found: dict[str, Any] = {each.name: (each.theirs, each.own, each.difference.value) for each in RULES.repair}
    assert {tuple(each[0]) for each in found.values()} == {("AUTHORIZED",)}
    assert all(set(each[1]) <= {"REFUSED", "CANCELED", "EXPIRED"} for each in found.values())
