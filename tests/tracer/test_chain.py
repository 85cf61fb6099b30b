"""The chain of verdicts: it recomputes, and whatever is changed afterwards is found by name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.services.tracer.domain.sealing import climbed, path_of, root_of
from kessai.services.tracer.service.checking import check_chain

from .toys import RULES, World, charge, effect

LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40)


@given(LEAVES, st.data())
def test_every_leaf_climbs_to_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    assert climbed(leaves[index], path_of(leaves, index)) == root_of(leaves)


@given(LEAVES, st.data())
def test_another_leaf_in_its_place_gives_another_root(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = bytes(32) if leaves[index] != bytes(32) else b"\x01" * 32
    assert climbed(other, path_of(leaves, index)) != root_of(leaves)


async def several(world: World) -> None:
    """Four processings: two consistent, one inconsistent, one first incomplete and then consistent."""
    for number in (1, 2, 3, 4):
        await charge(world, f"prc_{number}")
    world.toys["till"].did("shop", "prc_3", effect("exc_unheard_of"))
    await world.settle()
    world.toys["shop"].called(world.toys["till"], "prc_4", effect("exc_refund", amount_minor=1000))
    await world.touch("shop", "prc_4")
    world.absent.add("till")
    await world.settle()
    world.clock.advance(RULES.deadline + timedelta(seconds=1))
    await world.tracer.expire_overdue()
    world.absent.clear()
    await world.settle()


async def problems(world: World) -> list[str]:
    """What does not agree."""
    return [each async for each in check_chain(world.database, role="kessai_auditor")]


async def test_an_untouched_chain_recomputes(world: World) -> None:
    await several(world)
    assert [await world.verdict(f"prc_{number}") for number in (1, 2, 3, 4)] == [
        "CONSISTENT", "CONSISTENT", "INCONSISTENT", "CONSISTENT",
    ]  # fmt: skip
    assert await problems(world) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            "UPDATE tracer.verdict SET verdict = 'CONSISTENT' WHERE processing_id = 'prc_3'",
            "tracer.verdict (prc_3, 1, CONSISTENT): is not what was sealed.",
        ),
        (
            "UPDATE tracer.verdict SET late = '{}' WHERE processing_id = 'prc_4' AND verdict = 'INCOMPLETE'",
            "tracer.verdict (prc_4, 2, INCOMPLETE): is not what was sealed.",
        ),
        (
            "DELETE FROM tracer.verdict WHERE processing_id = 'prc_1'",
            "tracer.verdict: 5 rows, but 6 leaves are sealed.",
        ),
        (
            "UPDATE tracer.report SET body = (SELECT body FROM tracer.report WHERE processing_id = 'prc_2'"
            " AND participant = 'till') WHERE processing_id = 'prc_1' AND participant = 'till'",
            "tracer.report (prc_1, 1, till): its effects are not those of its digest.",
        ),
        (
            "UPDATE tracer.report SET outcome = 'MATCHED' WHERE processing_id = 'prc_3' AND participant = 'shop'",
            "tracer.report (prc_3, 1, shop): its content is not that of its digest.",
        ),
        (
            "DELETE FROM tracer.report WHERE processing_id = 'prc_2' AND participant = 'till'",
            "tracer.verdict (prc_2, 1, CONSISTENT): the report of till that it rests on is not there.",
        ),
        (
            "UPDATE tracer.processing SET verdict = 'CONSISTENT' WHERE processing_id = 'prc_3'",
            "tracer.processing prc_3: shows CONSISTENT, which was not its last verdict.",
        ),
        (
            "UPDATE tracer.seal SET root = sha256(root) WHERE batch = 1",
            "tracer.seal batch 1: its root is not that of its leaves.",
        ),
        (
            "UPDATE tracer.seal SET seal = sha256(seal) WHERE batch = 1",
            "tracer.seal batch 2: its seal does not follow from the one before.",
        ),
        ("DELETE FROM tracer.seal WHERE batch = 1", "tracer.seal batch 1: is missing."),
        ("UPDATE tracer.seal_head SET batch = 2", "tracer.seal_head: is not the seal of batch 3, the last one."),
    ],
)
async def test_what_is_changed_afterwards_is_found(world: World, change: str, named: str) -> None:
    await several(world)
    await world.database.fetch(None, change)
    assert named in await problems(world)


async def test_the_tracers_own_role_cannot_change_what_is_sealed(world: World) -> None:
    await several(world)
    connection = await world.database.connect("kessai_tracer")
    try:
        for table in ("report", "verdict", "seal", "finding_step"):
            with pytest.raises(Exception, match=f"permission denied for table {table}"):
                await connection.execute(f"DELETE FROM tracer.{table}")
    finally:
        await connection.close()
