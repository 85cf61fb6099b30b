"""Findings are worked: assigned, explained, repaired, closed, each step with who, why and when."""

from __future__ import annotations

import pytest

from kessai.foundation.call import Call, enter_call
from kessai.foundation.errors import Invalid, NotFound, Refused
from kessai.services.tracer.api import (
    AssignFinding,
    CloseFinding,
    ExplainFinding,
    Finding,
    FindingState,
    GetFinding,
    LinkRepair,
    ListFindings,
    RepairKind,
)

from .toys import World, charge, effect

SURPLUS = effect("exc_unheard_of")


async def wrong(world: World, processing_id: str = "prc_1") -> Finding:
    """The till did more than the shop knows."""
    enter_call(Call(caller="key_1"))
    await charge(world, processing_id)
    world.toys["till"].did("shop", processing_id, SURPLUS)
    await world.settle()
    return await world.finding(processing_id)


async def mended(world: World, processing_id: str = "prc_1") -> None:
    """The surplus is undone, and both sides tell it."""
    world.toys["till"].effects[processing_id].remove(("shop", SURPLUS))
    await world.touch("till", processing_id)
    await world.settle()


async def link(world: World, finding: Finding) -> Finding:
    """Name what repairs it."""
    return await world.tracer.link_repair(
        LinkRepair(
            finding_id=finding.finding_id, repair_kind=RepairKind.PAYMENT, repair_id="pay_adjustment", reason="Undone."
        )
    )


async def test_a_finding_goes_from_open_to_closed_with_every_step_on_record(world: World) -> None:
    finding = await wrong(world)
    named = finding.finding_id
    await world.tracer.assign_finding(AssignFinding(finding_id=named, assignee="aiko"))
    await world.tracer.explain_finding(ExplainFinding(finding_id=named, reason="The till rang twice."))
    await link(world, finding)
    await mended(world)
    done = await world.finding("prc_1")
    assert [(each.state, each.by, each.reason) for each in done.steps] == [
        ("OPEN", "tracer", "Revision 1: shop found records that differ."),
        ("ASSIGNED", "key_1", "Assigned."),
        ("EXPLAINED", "key_1", "The till rang twice."),
        ("REPAIRED", "key_1", "Undone."),
        ("CLOSED", "tracer", "Closed: revision 2 is consistent."),
    ]
    assert (done.assignee, done.steps[1].assignee, done.steps[3].repair_id) == ("aiko", "aiko", "pay_adjustment")


async def test_a_repair_that_is_linked_after_the_proof_closes_it_at_once(world: World) -> None:
    finding = await wrong(world)
    await mended(world)
    noted = await world.finding("prc_1")
    assert (noted.state, noted.steps[-1].reason) == ("OPEN", "Revision 2 is consistent, without a linked repair.")
    assert (await link(world, finding)).state == "CLOSED"


async def test_a_repair_that_did_not_mend_it_opens_it_again(world: World) -> None:
    finding = await wrong(world)
    assert (await link(world, finding)).state == "REPAIRED"
    await world.touch("till", "prc_1")
    await world.settle()
    again = await world.finding("prc_1")
    assert (again.state, again.revision) == ("OPEN", 2)


async def test_a_closed_one_is_left_alone_and_opens_again_when_it_is_found_wrong(world: World) -> None:
    finding = await wrong(world)
    closing = CloseFinding(finding_id=finding.finding_id, reason="Accepted.")
    assert (await world.tracer.close_finding(closing)).state == "CLOSED"
    with pytest.raises(Refused) as refused:
        await world.tracer.close_finding(closing)
    assert refused.value.code == "finding_closed"
    await world.touch("shop", "prc_1")
    await world.settle()
    assert (await world.finding("prc_1")).state == "OPEN"


async def test_findings_are_listed_by_state_oldest_first(world: World) -> None:
    ids = [(await wrong(world, f"prc_{number}")).finding_id for number in range(3)]
    first = await world.tracer.list_findings(ListFindings(limit=2))
    rest = await world.tracer.list_findings(ListFindings(limit=2, cursor=first.next_cursor))
    assert sorted(each.finding_id for each in (*first.findings, *rest.findings)) == sorted(ids)
    assert rest.next_cursor is None
    assert await world.findings(FindingState.CLOSED) == []


async def test_there_is_one_finding_a_processing_however_often_it_is_wrong(world: World) -> None:
    first = await wrong(world)
    await world.touch("shop", "prc_1")
    await world.settle()
    assert [each.finding_id for each in await world.findings()] == [first.finding_id]
    assert len((await world.finding("prc_1")).steps) == 2


async def test_an_unknown_finding_and_a_foreign_cursor_are_refused(world: World) -> None:
    with pytest.raises(NotFound) as refused:
        await world.tracer.get_finding(GetFinding(finding_id="fnd_" + "0" * 32))
    assert refused.value.code == "finding_not_found"
    with pytest.raises(Invalid) as malformed:
        await world.tracer.list_findings(ListFindings(cursor="no"))
    assert malformed.value.code == "bad_cursor"
