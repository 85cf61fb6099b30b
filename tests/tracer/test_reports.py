"""Reports that come late, twice, lost, contradicting; participants that are away; several processes; set-based work."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from kessai.foundation.errors import Conflict, Invalid, Unavailable
from kessai.sdk.processing import participant
from kessai.sdk.processing.api import ConsistencyReport, ListEffects, Outcome, PullNotices, SendReports
from kessai.sdk.processing.participant import report_on
from kessai.sdk.processing.reconcile import digest_of
from kessai.services.tracer.api import GetTotals, ListParticipants, ListProcessings, Verdict
from kessai.services.tracer.service import TracerService

from .toys import FIRST_INSTANT, RULES, World, charge, effect


async def report_of(world: World, name: str, processing_id: str = "prc_1", revision: int = 1) -> ConsistencyReport:
    """What a toy that is asked now would report, of itself alone."""
    own = (await world.toys[name].own_view([processing_id]))[processing_id]
    answers = {}
    if name == "shop":
        page = await world.toys["till"].list_effects(ListEffects(processing_ids=[processing_id], caller="shop"))
        answers = {"till": {each.processing_id: each for each in page.processings}}
    return report_on(processing_id, revision, own, answers)


async def send(world: World, name: str, *reports: ConsistencyReport, position: int | None = None) -> tuple[int, int]:
    """Send reports; gives how many were taken and how many were stale."""
    taken = await world.tracer.send_reports(SendReports(participant=name, position=position, reports=list(reports)))
    return taken.taken, taken.stale


async def test_a_report_that_comes_twice_changes_nothing(world: World) -> None:
    await charge(world)
    await world.settle()
    before = await world.processing("prc_1")
    assert await send(world, "till", await report_of(world, "till")) == (0, 1)
    assert await world.processing("prc_1") == before


async def test_a_report_on_a_revision_that_passed_is_stale(world: World) -> None:
    await charge(world)
    await world.settle()
    await world.touch("shop", "prc_1")
    await world.tracer.open_touched()
    assert await send(world, "till", await report_of(world, "till", revision=1)) == (0, 1)
    assert (await world.processing("prc_1")).waiting_for == ["shop", "till"]


async def test_a_report_on_what_nobody_opened_is_stale(world: World) -> None:
    world.toys["till"].did("shop", "prc_9", effect("exc_9"))
    assert await send(world, "till", await report_of(world, "till", "prc_9")) == (0, 1)


async def test_a_report_that_contradicts_is_refused_and_becomes_a_finding(world: World) -> None:
    await charge(world)
    await charge(world, "prc_2")
    await world.tracer.open_touched()
    first, other = await report_of(world, "till"), await report_of(world, "till", "prc_2")
    assert await send(world, "till", first) == (1, 0)
    changed = [effect("exc_prc_1", amount_minor=-1)]
    second = replace(first, effects=changed, digest=digest_of(changed))
    with pytest.raises(Conflict) as refused:
        await send(world, "till", second, other)
    assert refused.value.code == "report_contradicts"
    assert refused.value.details["processing_ids"] == ["prc_1"]
    finding = await world.finding("prc_1")
    assert finding.kind == "CONTRADICTION"
    assert finding.steps[0].reason.startswith("till told MATCHED")
    assert (await world.processing("prc_2")).waiting_for == ["shop"]  # its neighbour was taken


async def test_a_digest_that_is_not_of_the_effects_is_refused(world: World) -> None:
    await charge(world)
    await world.tracer.open_touched()
    report = replace(await report_of(world, "till"), digest="0" * 64)
    with pytest.raises(Invalid) as refused:
        await send(world, "till", report)
    assert refused.value.code == "digest_mismatch"
    assert (await world.processing("prc_1")).reports == []


async def test_a_report_with_differences_is_a_different_one_whatever_it_says(world: World) -> None:
    await charge(world)
    world.toys["till"].effects["prc_1"].clear()
    await world.tracer.open_touched()
    report = await report_of(world, "shop")
    await send(world, "shop", replace(report, outcome=Outcome.MATCHED))
    await world.participants["till"].turn()
    assert await world.verdict("prc_1") == "INCONSISTENT"


class Lossy:
    """A tracer whose answers to reports get lost, so many times."""

    def __init__(self, tracer: TracerService, times: int, *, before: bool) -> None:
        self._tracer = tracer
        self._times = times
        self._before = before
        """Whether the request is lost rather than the answer."""
        self.announce = tracer.announce
        self.pull_notices = tracer.pull_notices

    async def send_reports(self, request: SendReports, /) -> Any:
        if self._times and self._before:
            self._times -= 1
            raise Unavailable("lost", "The request was lost.")
        answer = await self._tracer.send_reports(request)
        if self._times:
            self._times -= 1
            raise Unavailable("lost", "The answer was lost.")
        return answer


@pytest.mark.parametrize("before", [True, False], ids=["request", "answer"])
async def test_a_lost_report_is_made_again(world: World, before: bool) -> None:
    lossy = Lossy(world.tracer, 1, before=before)
    world.participants["till"] = world.participant("till", [], tracer=lossy)
    await charge(world)
    await world.tracer.open_touched()
    with pytest.raises(Unavailable):
        await world.participants["till"].turn()
    await world.settle()
    assert await world.verdict("prc_1") == "CONSISTENT"


async def test_notices_not_acknowledged_are_pulled_again_after_a_restart(world: World) -> None:
    await charge(world)
    await world.tracer.open_touched()
    pulled = await world.tracer.pull_notices(PullNotices(participant="till"))
    assert [(each.processing_id, each.revision) for each in pulled.notices] == [("prc_1", 1)]
    again = await world.tracer.pull_notices(PullNotices(participant="till"))
    assert again == pulled
    await send(world, "till", position=pulled.position)
    assert (await world.tracer.pull_notices(PullNotices(participant="till"))).notices == []


async def test_notices_come_in_pages_of_any_size(world: World) -> None:
    ids = [f"prc_{number:04}" for number in range(25)]
    for start in (0, 10, 20):
        await world.touch("till", *ids[start : start + 10])
        await world.tracer.open_touched()
    seen: list[str] = []
    position = 0
    while page := await world.tracer.pull_notices(PullNotices(participant="till", after=position, limit=7)):
        if not page.notices:
            break
        assert len(page.notices) <= 7
        seen += [each.processing_id for each in page.notices]
        position = page.position
    assert seen == ids


async def test_whoever_waits_for_notices_is_woken(world: World) -> None:
    waiting = asyncio.create_task(world.tracer.pull_notices(PullNotices(participant="till", wait_ms=20_000)))
    await asyncio.sleep(0)
    await charge(world)
    await world.tracer.open_touched()
    assert [each.processing_id for each in (await waiting).notices] == ["prc_1"]


async def test_a_dependency_that_is_down_holds_up_only_what_it_was_called_for(world: World) -> None:
    await charge(world)
    world.toys["shop"].did("key_1", "prc_2", effect("pay_2"))
    await world.touch("shop", "prc_2", entry=True)
    world.toys["till"].down = True
    world.absent.add("till")
    await world.settle()
    assert await world.verdict("prc_2") == "CONSISTENT"
    assert await world.verdict("prc_1") == "PENDING"
    standings = (await world.tracer.list_participants(ListParticipants())).participants
    assert [(each.name, each.waiting) for each in standings] == [("shop", 2), ("till", 1)]
    world.toys["till"].down = False
    world.absent.clear()
    await world.settle()
    assert await world.verdict("prc_1") == "CONSISTENT"
    standings = (await world.tracer.list_participants(ListParticipants())).participants
    assert [(each.name, each.waiting) for each in standings] == [("shop", 0), ("till", 0)]


async def test_a_processing_whose_account_cannot_be_given_keeps_nobody_waiting(world: World) -> None:
    for number in range(5):
        await charge(world, f"prc_{number}")
    till = world.toys["till"]
    genuine = till.own_view

    async def broken(processing_ids: Any) -> Any:
        if "prc_3" in processing_ids:
            raise ValueError("a row that nobody can read")
        return await genuine(processing_ids)

    till.own_view = broken  # type: ignore[method-assign]
    world.participants["till"] = world.participant("till", [])
    await world.settle()
    verdicts = [await world.verdict(f"prc_{number}") for number in range(5)]
    assert verdicts == ["CONSISTENT"] * 3 + ["INCONSISTENT", "CONSISTENT"]
    (told,) = [each.report for each in (await world.processing("prc_3")).reports if each.participant == "till"]
    assert "a row that nobody can read" in told.differences[0].text


async def test_services_that_depend_on_each_other_come_to_a_verdict(world: World) -> None:
    cycle = World(world.database, {"a": ["b"], "b": ["c"], "c": ["a"]})
    for caller, callee in (("a", "b"), ("b", "c"), ("c", "a")):
        cycle.toys[caller].called(cycle.toys[callee], "prc_1", effect(f"eff_{caller}"))
    await cycle.touch("a", "prc_1", entry=True)
    await cycle.settle()
    found = await cycle.processing("prc_1")
    assert (found.verdict, found.participants) == ("CONSISTENT", ["a", "b", "c"])
    assert len(found.graph) == 3


async def test_two_processes_at_once_come_to_one_verdict_each(world: World) -> None:
    ids = [f"prc_{number:03}" for number in range(60)]
    for one in ids:
        await charge(world, one)
    other = TracerService(world.database, RULES, world.clock)
    await asyncio.gather(world.tracer.open_touched(), other.open_touched())
    reports = {name: [await report_of(world, name, one) for one in ids] for name in ("shop", "till")}
    await asyncio.gather(
        *(
            tracer.send_reports(SendReports(participant=name, reports=reports[name][at : at + 15]))
            for tracer in (world.tracer, other)
            for name in reports
            for at in (0, 15, 30, 45)
        )
    )
    page = await world.tracer.list_processings(ListProcessings(verdict=Verdict.CONSISTENT, limit=100))
    assert [each.processing_id for each in page.processings] == ids
    rows = await world.database.fetch(
        None, "SELECT count(*) AS n, count(DISTINCT processing_id) AS d FROM tracer.verdict"
    )
    assert (rows[0]["n"], rows[0]["d"]) == (60, 60)
    await other.close()


async def test_processings_are_listed_by_verdict_and_age(world: World) -> None:
    for number in range(5):
        await charge(world, f"prc_{number}")
        await world.tracer.open_touched()
        world.clock.advance(timedelta(seconds=10))
    first = await world.tracer.list_processings(ListProcessings(limit=2))
    assert [each.processing_id for each in first.processings] == ["prc_0", "prc_1"]
    second = await world.tracer.list_processings(ListProcessings(limit=2, cursor=first.next_cursor))
    assert [each.processing_id for each in second.processings] == ["prc_2", "prc_3"]
    old = await world.tracer.list_processings(ListProcessings(older_than_s=25))
    assert [each.processing_id for each in old.processings] == ["prc_0", "prc_1", "prc_2"]


async def test_totals_are_counted_by_day(world: World) -> None:
    await charge(world)
    await charge(world, "prc_2")
    world.toys["till"].effects["prc_2"].clear()
    await world.settle()
    day = FIRST_INSTANT.date()
    (totals,) = (await world.tracer.get_totals(GetTotals(first_day=day, last_day=day))).days
    assert (totals.opened, totals.touched, totals.consistent, totals.inconsistent) == (2, 2, 1, 1)


async def test_notices_dealt_with_are_removed_in_time(world: World) -> None:
    await charge(world)
    await world.settle()
    assert await world.tracer.forget_notices() == 0
    world.clock.advance(RULES.notices_kept + timedelta(seconds=1))
    assert await world.tracer.forget_notices() == 2


class Statements:
    """Counts what is sent to the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: Counter[str] = Counter()
        for method in ("execute", "fetch", "fetchrow", "fetchval"):
            self._count(monkeypatch, method)

    def _count(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        genuine = getattr(asyncpg.Connection, method)

        async def counted(connection: Any, query: str, *arguments: Any, **options: Any) -> Any:
            self.sent[query] += 1
            return await genuine(connection, query, *arguments, **options)

        monkeypatch.setattr(asyncpg.Connection, method, counted)

    def taken(self) -> int:
        """How many since it was last asked."""
        total = self.sent.total()
        self.sent.clear()
        return total


async def test_the_number_of_statements_does_not_depend_on_how_many_processings_are_in_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participant, "PAGE", 1_000)
    statements = Statements(monkeypatch)
    found: list[tuple[int, ...]] = []
    for round_, size in enumerate((1, 500)):
        ids = [f"prc_{round_}_{number:03}" for number in range(size)]
        for one in ids:
            world.toys["shop"].did("key_1", one, effect(f"pay_{one}"))
            world.toys["shop"].called(world.toys["till"], one, effect(f"exc_{one}"))
        await world.touch("shop", *ids, entry=True)
        await world.touch("till", *ids)
        steps: list[int] = []
        statements.taken()
        await world.tracer.open_touched()
        steps.append(statements.taken())
        for name in ("till", "shop"):
            assert await world.participants[name].turn() == size
            steps.append(statements.taken())
        found.append(tuple(steps))
        assert await world.verdict(ids[-1]) == "CONSISTENT"
    assert found[0] == found[1]
    assert max(found[1]) <= 13
