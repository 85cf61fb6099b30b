"""Runs of dated jobs: started or joined, followed, ended, listed. Each is a workflow `<job>:<date>#<attempt>`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import asyncpg
from msgspec.structs import replace

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database, Queries, load_queries, role_of
from kessai.foundation.errors import PaymentError, Unavailable, Unknown
from kessai.sdk.jobs.model import DatedJob, JobDone, JobOrder, JobRun, RunState, service_of, workflow_id_of
from kessai.sdk.workflow import Conflicted, Engine, Handle, Write

PACKAGE = "kessai.sdk.jobs"
"""The component, as a SchemaSpec names it."""
START_TRIES_MAX = 5
NOTE_MAX = 400


def queries_of(service: str) -> Queries:
    """The component's statements, for one service's schema."""
    return load_queries(PACKAGE, schema=service)


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was started, or joined."""

    run: JobRun
    handle: Handle[JobDone]
    joined: bool
    """Whether it was under way already."""


async def start(
    database: Database,
    engine: Engine[Any],
    job: DatedJob,
    day: date,
    *,
    dry_run: bool = False,
    attempt: int | None = None,
) -> Started:
    """Join the job's run for a day that is under way, else start the next attempt.

    A dry run joins only a dry run, and a run only a run. `attempt`: that one, under way, over, or the next. It is
    durable when this returns. Raises what Engine.start raises.
    """
    for _ in range(START_TRIES_MAX):
        runs = await runs_of_day(database, job.name, day)
        for run in runs:
            if (joined := await _joined(database, engine, job, run, dry_run=dry_run, attempt=attempt)) is not None:
                return joined
        following = attempt or 1 + max((each.attempt for each in runs), default=0)
        order = JobOrder(name=job.name, day=day, attempt=following, dry_run=dry_run)
        try:
            return await _begin(database, engine, job, order)
        except Conflicted:
            continue  # another process made this attempt first
    raise Unavailable("job_not_started", f"The job {job.name} could not be started; try again.")


async def _joined(
    database: Database, engine: Engine[Any], job: DatedJob, run: JobRun, *, dry_run: bool, attempt: int | None
) -> Started | None:
    """A run that is what is asked for; None for any other."""
    asked_for = run.attempt == attempt
    if not asked_for and not (attempt is None and run.state is RunState.RUNNING and run.dry_run == dry_run):
        return None
    handle = await engine.attach(job.definition, run.workflow_id)
    if handle is not None and (asked_for or not handle.replayed):
        return Started(run, handle, joined=True)
    await settle(database, engine, job, run)
    return None


async def _begin(database: Database, engine: Engine[Any], job: DatedJob, order: JobOrder) -> Started:
    workflow_id, now = workflow_id_of(order), engine.clock.now()
    row = (order.name, order.day, order.attempt, workflow_id, order.dry_run, now)
    insert = Write(queries_of(service_of(job.name))["run_insert"], row, guarded=True)
    handle = await engine.start(job.definition, order, workflow_id=workflow_id, writes=[insert])
    for run in await runs_of_day(database, job.name, order.day):
        if run.attempt == order.attempt:
            return Started(run, handle, joined=False)
    raise Conflicted


async def finish(database: Database, engine: Engine[Any], started: Started) -> JobRun:
    """Wait for a run's end, and keep what it came to; a failed one is given, not raised.

    Raises Unknown when it waits for an operator (`workflow_parked`), or this process is closing
    (`workflow_interrupted`): it stays to be resumed.
    """
    return await _end(database, engine.clock, started.run, started.handle)


async def settle(database: Database, engine: Engine[Any], job: DatedJob, run: JobRun) -> JobRun:
    """Keep what a run came to whose starter did not live to do it; an open one is given as it stands."""
    handle = await engine.attach(job.definition, run.workflow_id)
    if handle is None:
        return await _ended(database, engine.clock, run, RunState.FAILED, run.done, "It was never begun.")
    return await _end(database, engine.clock, run, handle) if handle.replayed else run


async def _end(database: Database, clock: Clock, run: JobRun, handle: Handle[JobDone]) -> JobRun:
    try:
        answer = await handle.result()
    except Unknown:
        raise
    except PaymentError as error:
        return await _ended(database, clock, run, RunState.FAILED, run.done, f"{error.code}: {error.message}")
    return await _ended(database, clock, run, RunState.DONE, answer.done, answer.note)


async def _ended(database: Database, clock: Clock, run: JobRun, state: RunState, done: int, note: str) -> JobRun:
    service, now = service_of(run.name), clock.now()
    row = (run.name, run.day, run.attempt, state.value, done, note[:NOTE_MAX], now)
    await database.fetch(role_of(service), queries_of(service)["run_end"], *row)
    for each in await runs_of_day(database, run.name, run.day):
        if each.attempt == run.attempt:
            return each
    raise AssertionError("a run's row is never removed")


async def progress(
    database: Database, clock: Clock, order: JobOrder, *, done: int, total: int | None = None, note: str = ""
) -> None:
    """Tell, from an activity of a job, how far it has come: one small statement, so once a page rather than a row."""
    service = service_of(order.name)
    row = (order.name, order.day, order.attempt, done, total, note[:NOTE_MAX], clock.now())
    await database.fetch(role_of(service), queries_of(service)["run_progress"], *row)


async def runs_of_day(database: Database, name: str, day: date) -> list[JobRun]:
    """All attempts of a job for a day, the newest first."""
    service = service_of(name)
    rows = await database.fetch(role_of(service), queries_of(service)["runs_of_day"], name, day)
    return [_run(row) for row in rows]


async def open_runs(database: Database, service: str, names: Sequence[str]) -> list[JobRun]:
    """Runs whose end is not kept yet."""
    rows = await database.fetch(role_of(service), queries_of(service)["runs_open"], list(names))
    return [_run(row) for row in rows]


async def status(database: Database, service: str, *, name: str | None = None, limit: int = 50) -> list[JobRun]:
    """A service's newest runs, of all its jobs or of one; a parked one says so, with the reason.

    Among them, as IDLE, the days on which there was nothing to do.
    """
    role, sql = role_of(service), queries_of(service)
    found = [_seen(row) for row in await database.fetch(role, sql["runs_newest"], name, limit)]
    found += [_idle(row) for row in await database.fetch(role, sql["idle_newest"], name, limit)]
    return sorted(found, key=lambda run: (run.day, run.started_at), reverse=True)[:limit]


def _seen(row: asyncpg.Record) -> JobRun:
    run = _run(row)
    if run.state is RunState.RUNNING and row["parked_error"] is not None:
        return replace(run, state=RunState.PARKED, note=str(row["parked_error"])[:NOTE_MAX])
    return run


def _run(row: asyncpg.Record) -> JobRun:
    return JobRun(
        name=row["name"],
        day=row["business_date"],
        attempt=row["attempt"],
        workflow_id=row["workflow_id"],
        dry_run=row["dry_run"],
        state=RunState(row["state"]),
        done=row["done"],
        total=row["total"],
        note=row["note"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
    )


def _idle(row: asyncpg.Record) -> JobRun:
    at = row["looked_at"]
    return JobRun(
        name=row["name"],
        day=row["last_day"],
        attempt=0,
        workflow_id="",
        dry_run=False,
        state=RunState.IDLE,
        done=0,
        total=0,
        note="nothing to do",
        started_at=at,
        updated_at=at,
        ended_at=at,
        since=row["first_day"],
    )
