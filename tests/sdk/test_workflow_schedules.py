"""Cron schedules: each due time once, whatever the number of processes; overlap and backfill by policy."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from kessai.foundation.errors import NotFound
from kessai.sdk.workflow import Schedule
from kessai.sdk.workflow.schedules import Due, decide
from tests.sdk.conftest import Engines, eventually, rows
from tests.sdk.errands import errand_child
from tests.sdk.shop.workflows import Order

BEGIN = datetime(2030, 1, 1, 14, 30, tzinfo=UTC)  # 23:30 in Tokyo
MIDNIGHT = datetime(2030, 1, 1, 15, 0, tzinfo=UTC)
DONE = "SELECT workflow_id FROM shop.workflow_done ORDER BY 1"


def _nightly(**options: object) -> Schedule:
    return Schedule(
        name="nightly",
        definition=errand_child,
        request=lambda due_at: Order(order_id=f"{due_at:%d}", amount=1),
        cron="0 0 * * *",
        **options,  # type: ignore[arg-type]
    )


def test_due_times_are_of_the_schedules_own_zone() -> None:
    assert _nightly().after(BEGIN) == MIDNIGHT
    berlin = _nightly(zone=ZoneInfo("Europe/Berlin"))
    assert berlin.after(datetime(2030, 3, 30, 23, 30, tzinfo=UTC)).hour == 22  # summer time has begun


def test_what_was_missed_is_a_matter_of_policy() -> None:
    day = timedelta(days=1)
    late = MIDNIGHT + 3 * day + timedelta(hours=1)
    assert decide(_nightly(), MIDNIGHT, BEGIN) is None
    assert decide(_nightly(backfill="none"), MIDNIGHT, late) == Due(None, MIDNIGHT + 4 * day)
    assert decide(_nightly(backfill="latest"), MIDNIGHT, late) == Due(MIDNIGHT + 3 * day, MIDNIGHT + 4 * day)
    assert decide(_nightly(backfill="all"), MIDNIGHT, late) == Due(MIDNIGHT, MIDNIGHT + day)
    assert decide(_nightly(backfill="none"), MIDNIGHT, MIDNIGHT) == Due(MIDNIGHT, MIDNIGHT + day)


def test_what_is_no_cron_expression_is_told_when_it_is_declared() -> None:
    with pytest.raises(ValueError, match="is no cron expression"):
        Schedule(name="x", definition=errand_child, request=str, cron="every day")


async def test_each_due_time_is_started_once_by_any_number_of_processes(engines: Engines) -> None:
    engines.clock.restore(timedelta(0), BEGIN)
    for _ in range(3):
        await engines.open(schedules=[_nightly()])
    await asyncio.sleep(0.1)
    assert await rows(engines.database, DONE) == []
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(seconds=1))
    await eventually(lambda: rows(engines.database, DONE))
    assert await rows(engines.database, DONE) == [("nightly@20300101T150000Z",)]
    assert engines.world.attempts == {"nightly@20300101T150000Z:1": 1}
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(days=1))
    await eventually(lambda: len(engines.world.attempts) == 2)


async def test_all_that_was_missed_is_made_good(engines: Engines) -> None:
    engines.clock.restore(timedelta(0), BEGIN)
    first = await engines.open(schedules=[_nightly(backfill="all")])
    await first.close()
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(days=2, hours=1))
    second = await engines.open(schedules=[_nightly(backfill="all", overlap="allow")])
    await eventually(lambda: len(engines.world.attempts) == 3)
    assert await second.search(schedule="nightly") == [f"nightly@2030010{n}T150000Z" for n in (1, 2, 3)]


@pytest.mark.parametrize(("overlap", "left_out"), [("skip", True), ("allow", False), ("wait", True), ("cancel", False)])
async def test_a_run_that_is_open_when_the_next_is_due(engines: Engines, overlap: str, left_out: bool) -> None:
    engines.clock.restore(timedelta(0), BEGIN)
    engine = await engines.open(schedules=[_nightly(overlap=overlap)])
    engines.world.faults = {}
    engines.world.gate = asyncio.Event()
    engines.clock.restore(timedelta(0), MIDNIGHT)
    await eventually(lambda: engines.world.attempts)
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(days=1))
    if overlap == "allow":
        await eventually(lambda: engine.open_runs == 2)
    elif overlap == "skip":
        moved = "SELECT 1 FROM shop.workflow_schedule WHERE next_at > '2030-01-03'"
        await eventually(lambda: rows(engines.database, moved))
    else:
        await asyncio.sleep(0.7)
        assert len(engines.world.attempts) == 1
    engines.world.gate.set()
    await eventually(lambda: len(engines.world.attempts) == (1 if overlap == "skip" else 2))
    assert left_out is (overlap in ("skip", "wait"))


async def test_a_paused_schedule_starts_nothing_and_goes_on_from_now(engines: Engines) -> None:
    engines.clock.restore(timedelta(0), BEGIN)
    engine = await engines.open(schedules=[_nightly()])
    await engine.schedules.set_paused("nightly", paused=True)
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(hours=1))
    await asyncio.sleep(0.6)
    assert engines.world.attempts == {}
    await engine.schedules.set_paused("nightly", paused=False)
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(days=1))
    await eventually(lambda: list(engines.world.attempts) == ["nightly@20300102T150000Z:1"])
    with pytest.raises(NotFound, match="schedule_not_found"):
        await engine.schedules.set_paused("hourly", paused=True)


async def test_a_period_can_be_made_good_by_hand(engines: Engines) -> None:
    engines.clock.restore(timedelta(0), MIDNIGHT + timedelta(days=3))
    engine = await engines.open(schedules=[_nightly()])
    ids = await engine.backfill("nightly", MIDNIGHT, MIDNIGHT + timedelta(days=1))
    assert ids == ["nightly@20300101T150000Z", "nightly@20300102T150000Z"]
    assert await engine.backfill("nightly", MIDNIGHT, MIDNIGHT) == ids[:1]
    await eventually(lambda: len(engines.world.attempts) == 2)
