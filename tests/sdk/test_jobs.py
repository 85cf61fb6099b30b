"""Dated jobs: one run a date and attempt, joined while it is under way, resumed after a crash, dry on demand."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from kessai.foundation.clock import TOKYO
from kessai.sdk.jobs import RunState, Started, finish, progress, runs_of_day, settle, start, status
from kessai.sdk.jobs.due import day_of, due_at, first_due_on, last_due_on, next_due_on
from kessai.sdk.workflow import Engine
from tests.sdk.batches import COUNT, PACK, PARTS, REFUSED
from tests.sdk.conftest import Engines, eventually
from tests.sdk.shop.workflows import World

DAY = date(2030, 1, 31)


async def _run(engine: Engine[World], engines: Engines, *, dry_run: bool = False) -> Started:
    return await start(engines.database, engine, COUNT, DAY, dry_run=dry_run)


async def test_run_is_a_workflow_named_by_job_date_and_attempt(engines: Engines) -> None:
    engine = await engines.open()
    run = await finish(engines.database, engine, await _run(engine, engines))
    assert (run.workflow_id, run.state, run.done, run.note) == (
        "shop.count:2030-01-31#1",
        RunState.DONE,
        PARTS,
        "counted",
    )
    assert run.ended_at is not None
    assert await status(engines.database, "shop", name="shop.count") == [run]


async def test_day_that_was_done_is_run_anew_as_the_next_attempt(engines: Engines) -> None:
    engine = await engines.open()
    for attempt in (1, 2):
        run = await finish(engines.database, engine, await _run(engine, engines))
        assert run.attempt == attempt


async def test_run_that_is_under_way_is_joined_by_every_process(engines: Engines) -> None:
    engines.world.gate = asyncio.Event()
    one, other = await engines.open(), await engines.open()
    begun = await _run(one, engines)
    joined = await asyncio.gather(*(_run(engine, engines) for engine in (one, other, other)))
    assert [each.run.attempt for each in joined] == [1, 1, 1]
    assert all(each.joined for each in joined)
    engines.world.gate.set()
    ended = await asyncio.gather(
        finish(engines.database, one, begun), *(finish(engines.database, other, each) for each in joined)
    )
    assert {each.state for each in ended} == {RunState.DONE}
    assert len(engines.world.effects) == PARTS


async def test_starts_at_the_same_moment_are_one_run(engines: Engines) -> None:
    engines.world.gate = asyncio.Event()
    processes = [await engines.open() for _ in range(3)]
    begun = await asyncio.gather(*(_run(engine, engines) for engine in processes))
    assert {each.run.attempt for each in begun} == {1}
    engines.world.gate.set()
    for engine, each in zip(processes, begun, strict=True):
        assert (await finish(engines.database, engine, each)).done == PARTS
    assert len(engines.world.effects) == PARTS


async def test_dry_run_takes_no_effect_and_is_no_run_of_the_day(engines: Engines) -> None:
    engine = await engines.open()
    dry = await finish(engines.database, engine, await _run(engine, engines, dry_run=True))
    assert (dry.dry_run, dry.done, engines.world.effects) == (True, PARTS, {})
    wet = await finish(engines.database, engine, await _run(engine, engines))
    assert (wet.dry_run, wet.attempt, len(engines.world.effects)) == (False, 2, PARTS)


async def test_run_of_a_process_that_died_is_resumed_by_whoever_asks_next(engines: Engines) -> None:
    engines.world.gate = asyncio.Event()
    first = await engines.open()
    await _run(first, engines)
    await engines.world.entered.wait()
    await first.crash()
    engines.world.gate.set()
    second = await engines.open()
    resumed = await _run(second, engines)
    run = await finish(engines.database, second, resumed)
    assert (resumed.joined, run.attempt, run.done, len(engines.world.effects)) == (True, 1, PARTS, PARTS)


async def test_end_that_nobody_kept_is_kept_later(engines: Engines) -> None:
    engine = await engines.open()
    begun = await _run(engine, engines)
    await begun.handle.result()
    (run,) = await runs_of_day(engines.database, "shop.count", DAY)
    assert run.state is RunState.RUNNING

    async def is_kept() -> bool:
        return (await settle(engines.database, engine, COUNT, run)).state is RunState.DONE

    await eventually(is_kept)
    assert (await _run(engine, engines)).run.attempt == 2


async def test_refused_run_says_why_and_the_next_attempt_may_do_it(engines: Engines) -> None:
    engines.world.faults["pack"] = [REFUSED]
    engine = await engines.open()
    failed = await finish(engines.database, engine, await start(engines.database, engine, PACK, DAY))
    assert (failed.state, failed.note) == (RunState.FAILED, "shop_closed: The shop is closed.")
    done = await finish(engines.database, engine, await start(engines.database, engine, PACK, DAY))
    assert (done.state, done.attempt) == (RunState.DONE, 2)


async def test_progress_is_seen_while_the_run_is_under_way_and_not_after(engines: Engines) -> None:
    engines.world.gate = asyncio.Event()
    engine = await engines.open()
    begun = await _run(engine, engines)
    await progress(engines.database, engines.clock, begun.run.order, done=1, total=3, note="page 2")
    (seen,) = await status(engines.database, "shop")
    assert (seen.done, seen.total, seen.note, seen.state) == (1, 3, "page 2", RunState.RUNNING)
    engines.world.gate.set()
    await finish(engines.database, engine, begun)
    await progress(engines.database, engines.clock, begun.run.order, done=1, total=9)
    (seen,) = await status(engines.database, "shop")
    assert (seen.done, seen.total, seen.state) == (PARTS, 3, RunState.DONE)


async def test_run_that_waits_for_an_operator_says_so(engines: Engines) -> None:
    engines.world.faults["pack"] = [ZeroDivisionError("a bug")]  # type: ignore[list-item]  # no PaymentError: it parks
    engine = await engines.open()
    await start(engines.database, engine, PACK, DAY)

    async def is_parked() -> bool:
        (seen,) = await status(engines.database, "shop")
        return seen.state is RunState.PARKED and "a bug" in seen.note

    await eventually(is_parked)


@pytest.mark.parametrize(
    ("now", "first", "last"),
    [
        (datetime(2030, 1, 4, 15, 0, tzinfo=UTC), date(2030, 1, 7), date(2030, 1, 4)),  # Saturday 00:00 in Tokyo
        (datetime(2030, 1, 3, 23, 59, tzinfo=UTC), date(2030, 1, 4), date(2029, 12, 28)),  # before the year's first
        (datetime(2030, 1, 4, 0, 0, tzinfo=UTC), date(2030, 1, 7), date(2030, 1, 4)),  # at its time of day
    ],
)
def test_job_of_business_days_falls_due_on_those_only(now: datetime, first: date, last: date) -> None:
    assert (first_due_on(PACK, now), last_due_on(PACK, now)) == (first, last)


def test_first_run_is_for_the_day_on_which_it_is_kept_first() -> None:
    for hour in (14, 16):  # before and after midnight in Tokyo, on the last day of the year
        now = datetime(2029, 12, 30, hour, 45, tzinfo=UTC)
        assert day_of(COUNT, first_due_on(COUNT, now)) == now.astimezone(TOKYO).date()


def test_due_time_is_in_tokyo_and_its_run_is_for_the_day_before() -> None:
    due_on = date(2030, 1, 1)
    assert due_at(COUNT, due_on) == datetime(2029, 12, 31, 15, 30, tzinfo=UTC)
    assert day_of(COUNT, due_on) == date(2029, 12, 31)
    assert next_due_on(COUNT, due_on) == due_on + timedelta(days=1)
    assert next_due_on(PACK, date(2029, 12, 28)) == date(2030, 1, 4)
