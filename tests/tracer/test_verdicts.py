"""What becomes of a processing: consistent, inconsistent with evidence, incomplete with names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.sdk.processing.api import Difference, DifferenceKind
from kessai.services.tracer.api import GetProcessingOfPayment, ListVerdicts

from .toys import RULES, World, charge, effect

PAST_DEADLINE = RULES.deadline + timedelta(seconds=1)


async def differences(world: World, participant: str = "shop", processing_id: str = "prc_1") -> list[Difference]:
    """What a participant's last report says."""
    reports = (await world.processing(processing_id)).reports
    return [each for each in reports if each.participant == participant][-1].report.differences


async def test_a_processing_on_which_all_agree_is_consistent(world: World) -> None:
    await charge(world)
    await world.settle()
    found = await world.processing("prc_1")
    assert (found.verdict, found.revision, found.entry) == ("CONSISTENT", 1, "shop")
    assert found.participants == ["shop", "till"]
    assert found.waiting_for == []
    assert [(each.caller, each.callee, each.told_by_caller, each.told_by_callee) for each in found.graph] == [
        ("shop", "till", True, True)
    ]
    assert "p_shop --> p_till" in found.drawing
    assert found.finding_id is None


async def test_it_is_found_by_the_payment_where_it_began(world: World) -> None:
    await charge(world)
    await world.settle()
    found = await world.tracer.get_processing_of_payment(GetProcessingOfPayment(payment_id="pay_prc_1"))
    assert found.processing_id == "prc_1"


async def test_the_present_verdicts_of_many_processings_are_told_at_once(world: World) -> None:
    for processing_id in ("prc_1", "prc_2", "prc_3"):
        await charge(world, processing_id)
    world.toys["till"].effects["prc_2"].clear()
    await world.settle()
    await world.touch("shop", "prc_3")  # its next revision is not decided yet
    await world.tracer.open_touched()
    asked = ListVerdicts(processing_ids=["prc_3", "prc_9", "prc_1", "prc_2", "prc_1"])
    told = (await world.tracer.list_verdicts(asked)).verdicts
    assert [(each.processing_id, each.verdict.value, each.revision) for each in told] == [
        ("prc_1", "CONSISTENT", 1),
        ("prc_2", "INCONSISTENT", 1),
        ("prc_3", "PENDING", 2),
    ]
    decided = [(await world.processing(each.processing_id)).verdicts[-1].decided_at for each in told[:2]]
    assert [each.decided_at for each in told] == [*decided, None]


async def test_a_dependency_that_told_nothing_is_found_through_its_caller(world: World) -> None:
    shop, till = world.toys["shop"], world.toys["till"]
    shop.called(till, "prc_1", effect("exc_1"))
    await world.touch("shop", "prc_1", entry=True)
    await world.settle()
    assert (await world.processing("prc_1")).participants == ["shop", "till"]
    assert await world.verdict("prc_1") == "CONSISTENT"


async def test_an_effect_that_the_callee_lacks_is_a_difference(world: World) -> None:
    await charge(world)
    world.toys["till"].effects["prc_1"].clear()
    await world.settle()
    assert await world.verdict("prc_1") == "INCONSISTENT"
    (found,) = await differences(world)
    assert (found.kind, found.dependency, found.effect_id) == (DifferenceKind.MISSING_AT_CALLEE, "till", "exc_prc_1")


async def test_an_effect_that_was_done_twice_is_a_difference(world: World) -> None:
    await charge(world)
    till = world.toys["till"]
    till.effects["prc_1"].append(till.effects["prc_1"][0])
    await world.settle()
    assert await world.verdict("prc_1") == "INCONSISTENT"
    assert [each.kind for each in await differences(world)] == [DifferenceKind.MISSING_AT_CALLER]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount_minor", -1001),
        ("asset", "USD"),
        ("state", "VOIDED"),
        ("party", "bob"),
        ("account", "points"),
        ("kind", "top_up"),
        ("captured_minor", 1),
        ("returned_minor", 1),
    ],
)
async def test_a_record_that_differs_in_one_field_is_a_difference_with_both(
    world: World, field: str, value: Any
) -> None:
    await charge(world)
    told = world.toys["till"].effects["prc_1"]
    told[0] = (told[0][0], replace(told[0][1], **{field: value}))
    await world.settle()
    assert await world.verdict("prc_1") == "INCONSISTENT"
    (found,) = await differences(world)
    assert (found.kind, found.fields) == (DifferenceKind.DIFFERS, [field])
    assert found.mine is not None
    assert found.theirs is not None
    assert getattr(found.theirs, field) == value


async def test_what_the_callee_did_and_the_caller_does_not_know_is_a_difference(world: World) -> None:
    await charge(world)
    world.toys["till"].did("shop", "prc_1", effect("exc_unheard_of"))
    await world.settle()
    assert await world.verdict("prc_1") == "INCONSISTENT"
    (found,) = await differences(world)
    assert (found.kind, found.effect_id) == (DifferenceKind.MISSING_AT_CALLER, "exc_unheard_of")


async def test_the_finding_of_an_inconsistent_processing_says_who_found_it(world: World) -> None:
    await charge(world)
    world.toys["till"].effects["prc_1"].clear()
    await world.settle()
    finding = await world.finding("prc_1")
    assert (finding.state, finding.kind, finding.revision) == ("OPEN", "INCONSISTENT", 1)
    assert finding.steps[0].reason == "Revision 1: shop found records that differ."
    assert finding.steps[0].by == "tracer"


async def test_a_service_that_hides_a_dependency_is_found_out_by_that_one(world: World) -> None:
    await charge(world)
    world.participants["shop"] = world.participant("shop", [])
    world.toys["shop"].hides.add("till")
    await world.settle()
    found = await world.processing("prc_1")
    assert found.verdict == "INCONSISTENT"
    assert [(each.caller, each.callee) for each in found.verdicts[-1].undeclared] == [("shop", "till")]
    assert (await world.finding("prc_1")).steps[0].reason == (
        "Revision 1: till was called by shop, which does not name it."
    )


async def test_a_caller_that_never_announced_itself_is_asked_too(world: World) -> None:
    world.toys["till"].did("shop", "prc_1", effect("exc_1"))
    await world.touch("till", "prc_1")
    await world.settle()
    found = await world.processing("prc_1")
    assert found.participants == ["shop", "till"]
    assert found.verdict == "INCONSISTENT"


async def test_what_is_in_flight_waits_and_is_no_false_alarm(world: World) -> None:
    await charge(world)
    shop, till = world.toys["shop"], world.toys["till"]
    shop.in_flight.add("prc_1")
    till.effects["prc_1"].clear()  # the call is on its way
    await world.settle()
    world.clock.advance(PAST_DEADLINE)
    assert await world.tracer.expire_overdue() == 0
    assert await world.verdict("prc_1") == "PENDING"
    shop.in_flight.clear()
    till.did("shop", "prc_1", effect("exc_prc_1"))
    await world.touch("shop", "prc_1")
    await world.settle()
    found = await world.processing("prc_1")
    assert (found.verdict, found.revision) == ("CONSISTENT", 2)
    assert await world.findings() == []


async def test_what_has_been_in_flight_too_long_is_incomplete(world: World) -> None:
    await charge(world)
    world.toys["till"].in_flight.add("prc_1")
    await world.settle()
    world.clock.advance(RULES.in_flight_deadline + timedelta(seconds=1))
    assert await world.tracer.expire_overdue() == 1
    assert (await world.processing("prc_1")).verdicts[-1].late == ["shop", "till"]


async def test_a_change_between_the_two_readings_is_not_an_alarm(world: World) -> None:
    await charge(world)
    shop, till = world.toys["shop"], world.toys["till"]
    listed = till.list_effects

    async def meanwhile(request: Any, /) -> Any:
        """The shop charges once more after its own side was read, before the till's is."""
        if till.reads == 0 and len(till.effects["prc_1"]) == 1:
            shop.called(till, "prc_1", effect("exc_second"))
        return await listed(request)

    till.list_effects = meanwhile  # type: ignore[method-assign]
    await world.settle()
    assert await world.verdict("prc_1") == "PENDING"
    await world.touch("shop", "prc_1")
    await world.settle()
    assert await world.verdict("prc_1") == "CONSISTENT"
    assert await world.findings() == []


async def test_a_later_touch_makes_it_pending_again_under_the_next_revision(world: World) -> None:
    await charge(world)
    await world.settle()
    world.toys["shop"].called(world.toys["till"], "prc_1", effect("exc_refund", amount_minor=1000))
    await world.touch("shop", "prc_1")
    await world.tracer.open_touched()
    found = await world.processing("prc_1")
    assert (found.verdict, found.revision) == ("PENDING", 2)
    await world.settle()
    found = await world.processing("prc_1")
    assert (found.verdict, found.revision) == ("CONSISTENT", 2)
    assert [(each.revision, each.verdict) for each in found.verdicts] == [(1, "CONSISTENT"), (2, "CONSISTENT")]


async def test_touches_that_come_together_make_one_revision(world: World) -> None:
    await charge(world)
    for _ in range(3):
        await world.touch("till", "prc_1")
    await world.settle()
    assert (await world.processing("prc_1")).revision == 1


async def test_past_the_deadline_it_is_incomplete_and_names_who_is_late(world: World) -> None:
    await charge(world)
    world.absent.add("till")
    await world.settle()
    assert await world.tracer.expire_overdue() == 0
    world.clock.advance(PAST_DEADLINE)
    assert await world.tracer.expire_overdue() == 1
    found = await world.processing("prc_1")
    assert found.verdict == "INCOMPLETE"
    assert found.verdicts[-1].late == ["till"]
    assert found.waiting_for == ["till"]
    assert (await world.finding("prc_1")).steps[0].reason == "Revision 1: Not reported in time: till."
    assert await world.tracer.expire_overdue() == 0


async def test_a_participant_that_comes_back_completes_what_was_incomplete(world: World) -> None:
    await charge(world)
    world.absent.add("till")
    await world.settle()
    world.clock.advance(PAST_DEADLINE)
    await world.tracer.expire_overdue()
    world.absent.clear()
    await world.settle()
    found = await world.processing("prc_1")
    assert [(each.revision, each.verdict) for each in found.verdicts] == [(1, "INCOMPLETE"), (1, "CONSISTENT")]
    finding = await world.finding("prc_1")
    assert finding.state == "CLOSED"
    assert finding.steps[-1].reason == "Closed: revision 1 is consistent."


async def test_past_the_deadline_records_that_differ_come_before_who_is_late(world: World) -> None:
    await charge(world)
    world.toys["till"].effects["prc_1"].clear()
    world.absent.add("till")
    await world.settle()
    world.clock.advance(PAST_DEADLINE)
    await world.tracer.expire_overdue()
    found = await world.processing("prc_1")
    assert (found.verdict, found.verdicts[-1].late) == ("INCONSISTENT", ["till"])
