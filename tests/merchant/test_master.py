"""The merchant master: ids mapped and ended, imports line by line, conflicts found and listed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from kessai.foundation.clock import TOKYO
from kessai.services.merchant.api import (
    LINES_MAX,
    DismissConflict,
    EndId,
    GetIdHistory,
    GetImport,
    IdQuestion,
    IdStepKind,
    ImportIds,
    ImportMode,
    ListConflicts,
    ListImports,
    ListMappedIds,
    MapId,
    MasterIdChanged,
    MerchantKind,
    MerchantProfile,
    RegisterMerchant,
    ResolveIds,
)
from tests.merchant.world import ANNA, BEN, S, World, calling, fresh_key, refusal

HEADER = "payment_method,methods_id,merchant_id,valid_from,valid_until\n"
ALL, GOOD = ImportMode.ALL_OR_NOTHING, ImportMode.TAKE_WHAT_IS_GOOD


async def _end(world: World, methods_id: str, **other: object) -> str:
    request = EndId(payment_method="id", methods_id=methods_id, reason="moved", **other)  # pyright: ignore[reportArgumentType]
    return await refusal(world.service.end_id(await world.approved(request, "merchant.master", "merchant-master")))


async def _meant(world: World, methods_id: str, days: float = 0) -> str | None:
    at = world.clock.now() + timedelta(days=days)
    questions = [IdQuestion(payment_method="id", methods_id=methods_id, at=at)]
    return (await world.service.resolve_ids(ResolveIds(questions=questions))).answers[0].merchant_id


# -- single ids ---------------------------------------------------------------------------------------------------


async def test_an_id_means_a_merchant_from_when_it_is_mapped_until_it_ends(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    start = world.clock.now() + timedelta(days=1)
    await world.map_id("A1", "mer:1", valid_from=start, valid_until=start + timedelta(days=1))
    assert [await _meant(world, "A1", days) for days in (0.9, 1, 1.9, 2)] == [None, "mer:1", "mer:1", None]


async def test_an_id_means_one_merchant_at_most(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each, S.APPLIED)
    await world.map_id("A1", "mer:1")
    assert await refusal(world.map_id("A1", "mer:2")) == "master_id_conflict"
    change = world.clock.now() + timedelta(days=3)
    assert await _end(world, "A1", valid_until=change) == "done"
    assert await refusal(world.map_id("A1", "mer:2", valid_from=change)) == "done"
    assert [await _meant(world, "A1", days) for days in (2.9, 3)] == ["mer:1", "mer:2"]
    assert await refusal(world.map_id("A1", "mer:2", method="quicpay")) == "done"


async def test_of_two_that_map_an_id_at_once_one_is_refused(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each, S.APPLIED)
    codes = await asyncio.gather(refusal(world.map_id("A1", "mer:1")), refusal(world.map_id("A1", "mer:2")))
    assert sorted(codes) == ["done", "master_id_conflict"]


async def test_mapping_what_is_mapped_changes_nothing(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    first = await world.map_id("A1", "mer:1")
    world.pass_time(days=1)
    alone = MapId(payment_method="id", methods_id="A1", merchant_id="mer:1", reason="again")
    assert await world.service.map_id(alone) == first
    part = world.clock.now() + timedelta(days=1)
    await _end(world, "A1", valid_until=part)
    assert await refusal(world.map_id("A1", "mer:1")) == "validity_overlaps"


async def test_an_id_that_may_not_be_mapped_is_refused(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    await world.merchant("mer:closed", S.CLOSED)
    now = world.clock.now()
    assert await refusal(world.map_id("A1", "mer:x")) == "merchant_not_found"
    assert await refusal(world.map_id("A1", "mer:closed")) == "merchant_closed"
    assert await refusal(world.map_id("mer:1", "mer:1")) == "id_is_a_merchants"
    assert await refusal(world.map_id("A1", "mer:1", valid_until=now)) == "validity_reversed"
    assert await refusal(world.map_id("A1", "mer:1", valid_from=now - timedelta(seconds=1))) == "in_the_past"
    alone = MapId(payment_method="id", methods_id="A1", merchant_id="mer:1", reason="alone")
    assert await refusal(world.service.map_id(alone)) == "approval_required"


async def test_a_merchant_does_not_take_an_id_that_the_master_knows(world: World) -> None:
    company_id = await world.company()
    await world.merchant("mer:1", S.APPLIED)
    await world.map_id("A1", "mer:1")
    profile = MerchantProfile(name="x", kind=MerchantKind.SHOP, company_id=company_id)
    request = RegisterMerchant(profile=profile, merchant_id="A1")
    assert await refusal(world.service.register_merchant(request)) == "id_mapped_by_master"


async def test_what_has_not_begun_never_comes_to_be_once_ended(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    await world.map_id("A1", "mer:1", valid_from=world.clock.now() + timedelta(days=5))
    assert await _end(world, "A1", valid_until=world.clock.now() - timedelta(seconds=1)) == "in_the_past"
    assert await _end(world, "A1", valid_until=world.clock.now() + timedelta(days=1)) == "done"
    assert await _meant(world, "A1", 6) is None
    assert await _end(world, "A1") == "id_not_mapped"
    assert (await world.service.list_ids(ListMappedIds())).ids == []


async def test_every_step_of_an_id_is_kept(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    with calling(ANNA):
        await world.map_id("A1", "mer:1")
        world.pass_time(days=1)
        await _end(world, "A1")
    history = await world.service.get_id_history(GetIdHistory(payment_method="id", methods_id="A1"))
    assert [(each.sequence, each.kind) for each in history.steps] == [(1, IdStepKind.MAPPED), (2, IdStepKind.ENDED)]
    assert {(each.changed_by, each.approved_by) for each in history.steps} == {(ANNA, BEN)}
    assert history.steps[1].valid_until == world.clock.now()


async def test_the_same_call_maps_once(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    request = MapId(payment_method="id", methods_id="A1", merchant_id="mer:1", reason="as agreed")
    request = await world.approved(request, "merchant.master", "merchant-master")
    key = fresh_key()
    with calling(ANNA, key):
        first = await world.service.map_id(request)
    with calling(ANNA, key) as call:
        assert await world.service.map_id(request) == first
    assert (call.replayed, len(first.ids)) == (True, 1)
    with calling(ANNA, key):
        assert await refusal(world.service.map_id(replace(request, reason="x"))) == "idempotency_key_reused"


async def test_ids_are_listed_in_pages_and_by_merchant(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each, S.APPLIED)
    for methods_id, merchant_id in (("A1", "mer:1"), ("A2", "mer:2"), ("A3", "mer:1")):
        await world.map_id(methods_id, merchant_id)
    first = await world.service.list_ids(ListMappedIds(limit=2))
    rest = await world.service.list_ids(ListMappedIds(limit=2, cursor=first.next_cursor))
    assert [each.methods_id for each in (*first.ids, *rest.ids)] == ["A1", "A2", "A3"]
    of_one = await world.service.list_ids(ListMappedIds(merchant_id="mer:1", payment_method="id"))
    assert [each.methods_id for each in of_one.ids] == ["A1", "A3"]


async def test_what_becomes_of_ids_is_published(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    await world.map_id("A1", "mer:1")
    await _end(world, "A1")
    rows = await world.database.fetch(
        None, "SELECT payload FROM merchant.outbox WHERE topic = 'merchant.master' ORDER BY recorded_at, outbox_id"
    )
    events = [each for row in rows for each in msgspec.json.decode(row["payload"], type=list[MasterIdChanged])]
    assert [(each.methods_id, each.valid_until is None) for each in events] == [("A1", True), ("A1", False)]


# -- imports ------------------------------------------------------------------------------------------------------


async def test_good_lines_are_taken_and_wrong_ones_listed(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    await world.merchant("mer:closed", S.CLOSED)
    day = (world.clock.now().astimezone(TOKYO) + timedelta(days=2)).date()
    csv = HEADER + "\n".join(
        (
            "id,A1,mer:1,,",
            f"id,A2,mer:1,{day},{day + timedelta(days=1)}",
            "",
            "id,A3,mer:x,,",
            "id,A4,mer:closed,,",
            "id,mer:1,mer:1,,",
            "id,A 5,mer:1,,",
            "id,A6,mer:1,yesterday,",
            "id,A7,mer:1,2020-01-01,",
            f"id,A8,mer:1,{day},{day}",
            "id,A9,mer:1",
            "id,A1,mer:1,,",
            "id,A10,mer:1,2040-01-01T00:00:00,",
        )
    )
    done = await world.import_csv(csv, GOOD)
    assert (done.lines, done.taken, done.unchanged, done.wrong) == (12, 2, 1, 9)
    assert [(each.line, each.field, each.code) for each in done.errors] == [
        (5, "merchant_id", "merchant_not_found"),
        (6, "merchant_id", "merchant_closed"),
        (7, "methods_id", "id_is_a_merchants"),
        (8, "methods_id", "field_malformed"),
        (9, "valid_from", "field_malformed"),
        (10, "valid_from", "in_the_past"),
        (11, "valid_until", "validity_reversed"),
        (12, None, "columns_wrong"),
        (14, "valid_from", "field_malformed"),
    ]
    assert [await _meant(world, each) for each in ("A1", "A2", "A3")] == ["mer:1", None, None]
    assert await world.service.get_import(GetImport(import_id=str(done.import_id))) == done


async def test_all_or_nothing_takes_nothing_when_a_line_is_wrong(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    csv = HEADER + "id,A1,mer:1,,\nid,A2,mer:x,,\n"
    done = await world.import_csv(csv, ALL)
    assert (done.lines, done.taken, done.wrong) == (2, 0, 1)
    assert await _meant(world, "A1") is None
    await world.merchant("mer:x", S.APPLIED)
    assert (await world.import_csv(csv, ALL)).taken == 2
    assert [await _meant(world, each) for each in ("A1", "A2")] == ["mer:1", "mer:x"]


async def test_an_import_needs_two_persons_and_a_dry_run_none(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    request = ImportIds(csv=HEADER + "id,A1,mer:1,,\nid,A2,mer:x,,", mode=GOOD, reason="x")
    assert await refusal(world.service.import_ids(request)) == "approval_required"
    dry = await world.service.import_ids(replace(request, dry_run=True))
    assert (dry.import_id, dry.taken, dry.wrong) == (None, 1, 1)
    assert await _meant(world, "A1") is None
    assert (await world.service.list_imports(ListImports())).imports == []


async def test_the_same_import_again_is_the_same_import(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    request = ImportIds(csv=HEADER + "id,A1,mer:1,,\nid,A2,mer:x,,", mode=GOOD, reason="x")
    request = await world.approved(request, "merchant.master", "merchant-master")
    key = fresh_key()
    with calling(ANNA, key):
        first = await world.service.import_ids(request)
    with calling(ANNA, key) as call:
        assert await world.service.import_ids(request) == first
    assert call.replayed
    with calling(ANNA, key):
        assert await refusal(world.service.import_ids(replace(request, reason="y"))) == "idempotency_key_reused"
    (listed,) = (await world.service.list_imports(ListImports())).imports
    assert listed == replace(first, errors=[])


async def test_what_is_no_such_csv_is_refused_whole(world: World) -> None:
    for csv, code in (
        ("a,b\n", "csv_header_wrong"),
        (HEADER + 'id,"A1,mer:1,,', "csv_malformed"),
        (HEADER + "id,A,mer:1,,\n" * (LINES_MAX + 1), "too_many_lines"),
    ):
        request = ImportIds(csv=csv, mode=GOOD, reason="x")
        assert await refusal(world.service.import_ids(request)) == code


async def test_a_spreadsheets_csv_is_read(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    csv = "\ufeff" + HEADER.strip() + "\r\n" + '"id","A1","mer:1","",""\r\n'
    assert (await world.import_csv(csv, ALL)).taken == 1


# -- conflicts ----------------------------------------------------------------------------------------------------


async def test_a_conflict_is_listed_until_it_is_no_more(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each, S.APPLIED)
    await world.map_id("A1", "mer:1")
    done = await world.import_csv(HEADER + "id,A1,mer:2,,\nid,A2,mer:1,,\nid,A2,mer:2,,", GOOD)
    assert [(each.line, each.code) for each in done.errors] == [(2, "master_id_conflict"), (4, "master_id_conflict")]
    conflicts = (await world.service.list_conflicts(ListConflicts())).conflicts
    assert [(each.methods_id, each.merchant_id, each.wanted_merchant_id, each.line) for each in conflicts] == [
        ("A1", "mer:1", "mer:2", 2),
        ("A2", "mer:1", "mer:2", 4),
    ]
    assert {each.import_id for each in conflicts} == {done.import_id}
    dismiss = DismissConflict(payment_method="id", methods_id="A2", wanted_merchant_id="mer:2", reason="a typo")
    assert (await world.service.dismiss_conflict(dismiss)).dismissed == 1
    assert await refusal(world.service.dismiss_conflict(dismiss)) == "conflict_not_found"
    await _end(world, "A1")
    assert (await world.service.list_conflicts(ListConflicts())).conflicts == []


async def test_conflicts_come_in_pages(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each, S.APPLIED)
    csv = HEADER + "".join(f"id,A{number},mer:{who},,\n" for number in range(3) for who in (1, 2))
    await world.import_csv(csv, GOOD)
    first = await world.service.list_conflicts(ListConflicts(limit=2))
    rest = await world.service.list_conflicts(ListConflicts(limit=2, cursor=first.next_cursor, payment_method="id"))
    assert [each.methods_id for each in (*first.conflicts, *rest.conflicts)] == ["A0", "A1", "A2"]
    assert rest.next_cursor is None
