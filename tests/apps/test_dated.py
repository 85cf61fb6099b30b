"""What falls due by itself: each day once and in order, by any number of processes; what fails holds up its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from kessai.apps.dated import DatedJobs, Desk
from kessai.foundation.errors import OperatorError, Unavailable
from kessai.sdk.jobs import DatedJob, RunState, status
from kessai.sdk.workflow import Engine
from tests.sdk.batches import COUNT, PACK, REFUSED, SWEEP
from tests.sdk.conftest import Engines
from tests.sdk.conftest import engines as _engines
from tests.sdk.conftest import shop as _shop
from tests.sdk.shop.workflows import World

engines, shop = _engines, _shop

BEGIN = datetime(2030, 1, 3, 3, 0, tzinfo=UTC)  # Thursday noon in Tokyo; banks open on Friday for the first time
DAY = timedelta(days=1)


def _move(engines: Engines, to: datetime) -> None:
    engines.clock.restore(timedelta(0), to)


async def _process(engines: Engines, *jobs: DatedJob) -> DatedJobs:
    engine: Engine[World] = await engines.open()
    dated = DatedJobs(engines.database, engines.clock, [Desk(engine, jobs or (COUNT, PACK))])
    await dated.open()
    return dated


async def test_nothing_is_due_before_its_time_of_day_comes(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines)
    assert await dated.run_due() == []
    assert await status(engines.database, "shop") == []


async def test_each_missed_day_is_run_in_order(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines)
    _move(engines, BEGIN + 4 * DAY)
    ran = [(run.name, run.day) for run in await dated.run_due()]
    assert ran == [
        ("shop.count", date(2030, 1, 3)),
        ("shop.pack", date(2030, 1, 4)),
        ("shop.count", date(2030, 1, 4)),
        ("shop.count", date(2030, 1, 5)),
        ("shop.count", date(2030, 1, 6)),
        ("shop.pack", date(2030, 1, 7)),
    ]
    assert await dated.run_due() == []


async def test_several_processes_run_each_day_once(engines: Engines) -> None:
    _move(engines, BEGIN)
    processes = [await _process(engines) for _ in range(3)]
    _move(engines, BEGIN + 3 * DAY)
    await asyncio.gather(*(each.run_due() for each in processes))
    ran = [(run.name, run.day, run.attempt) for run in await status(engines.database, "shop")]
    assert sorted(ran) == [
        ("shop.count", date(2030, 1, 3), 1),
        ("shop.count", date(2030, 1, 4), 1),
        ("shop.count", date(2030, 1, 5), 1),
        ("shop.pack", date(2030, 1, 4), 1),
    ]


async def test_process_that_starts_later_goes_on_where_the_last_one_was(engines: Engines) -> None:
    _move(engines, BEGIN)
    await _process(engines)
    _move(engines, BEGIN + 2 * DAY)
    assert [run.day for run in await (await _process(engines)).run_due()] == [
        date(2030, 1, 3),
        date(2030, 1, 4),
        date(2030, 1, 4),
    ]


async def test_failed_run_holds_up_what_comes_after_it_until_it_is_done(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines)
    engines.world.faults["pack"] = [REFUSED]
    _move(engines, BEGIN + 2 * DAY)
    assert [run.name for run in await dated.run_due()] == ["shop.count"]
    assert await dated.run_due() == []  # left alone for a while
    again = [(run.name, run.attempt) for run in await dated.run_due(at_once=True)]
    assert again == [("shop.pack", 2), ("shop.count", 1)]


async def test_run_that_somebody_made_after_its_due_time_is_not_made_again(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines)
    early = await dated.finish(await dated.start(PACK, date(2030, 1, 4)))
    _move(engines, BEGIN + DAY)
    by_hand = await dated.finish(await dated.start(COUNT, date(2030, 1, 3)))
    ran = [(run.name, run.attempt) for run in await dated.run_due()]
    assert (early.attempt, by_hand.attempt) == (1, 1)
    assert ran == [("shop.count", 1), ("shop.pack", 2)]


async def test_days_without_anything_to_do_are_passed_over_without_a_run(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines, SWEEP)
    busy = date(2032, 2, 29)
    engines.world.busy = {busy}
    _move(engines, BEGIN + 3_653 * DAY)  # ten years
    ran = await dated.run_due()
    assert [(run.name, run.day) for run in ran] == [("shop.sweep", busy)]
    assert (engines.world.closed[0], engines.world.closed[-1]) == (date(2030, 1, 3), date(2040, 1, 3))
    assert len(engines.world.closed) == len(set(engines.world.closed)) == 3_653 - 1
    assert busy not in engines.world.closed
    assert engines.world.asked == 2
    assert not await dated.is_behind()


async def test_days_that_were_passed_over_are_told_with_the_runs(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines, SWEEP)
    engines.world.busy = {date(2030, 1, 6)}
    _move(engines, BEGIN + 5 * DAY)
    await dated.run_due()
    told = [(run.state, run.since, run.day) for run in await status(engines.database, "shop")]
    assert told == [
        (RunState.IDLE, date(2030, 1, 7), date(2030, 1, 7)),
        (RunState.DONE, None, date(2030, 1, 6)),
        (RunState.IDLE, date(2030, 1, 3), date(2030, 1, 5)),
    ]


async def test_no_day_is_passed_over_before_an_earlier_one_of_another_job_was_run(engines: Engines) -> None:
    _move(engines, BEGIN)
    dated = await _process(engines, COUNT, SWEEP)
    _move(engines, BEGIN + 2 * DAY)
    await dated.run_due()
    # Asked anew before each run: what ran may have made something to sweep.
    assert engines.world.asked == 3
    assert engines.world.closed == [date(2030, 1, 3), date(2030, 1, 4)]


async def test_days_are_passed_over_once_by_several_processes(engines: Engines) -> None:
    _move(engines, BEGIN)
    processes = [await _process(engines, SWEEP) for _ in range(3)]
    _move(engines, BEGIN + 9 * DAY)
    await asyncio.gather(*(each.run_due() for each in processes))
    (told,) = await status(engines.database, "shop")
    assert (told.since, told.day) == (date(2030, 1, 3), date(2030, 1, 11))


async def test_day_is_run_where_it_cannot_be_told_whether_there_is_anything_to_do(engines: Engines) -> None:
    async def unreachable(world: World, since: date, until: date) -> date | None:
        raise Unavailable("bank_away", "The bank does not answer.")

    _move(engines, BEGIN)
    dated = await _process(engines, replace(SWEEP, first_busy=unreachable))
    _move(engines, BEGIN + DAY)
    assert [run.day for run in await dated.run_due()] == [date(2030, 1, 3)]


async def test_run_that_stands_still_holds_up_its_own_service_only_for_a_while(engines: Engines) -> None:
    engines.world.gate = asyncio.Event()
    _move(engines, BEGIN)
    dated = await _process(engines)
    dated.still_s = 0.1
    _move(engines, BEGIN + DAY)
    assert await dated.run_due() == []
    assert await dated.is_behind()
    engines.world.gate.set()
    dated.still_s = 60.0
    joined = [(run.name, run.attempt) for run in await dated.run_due()]
    assert joined == [("shop.count", 1), ("shop.pack", 1)]


async def test_unknown_job_is_told_with_those_there_are(engines: Engines) -> None:
    dated = await _process(engines)
    with pytest.raises(OperatorError, match=r"There is no dated job x; there are shop\.count, shop\.pack\."):
        dated.named("x")
    _move(engines, BEGIN)
    assert (dated.usual_day(COUNT), dated.usual_day(PACK)) == (date(2030, 1, 2), date(2029, 12, 28))
