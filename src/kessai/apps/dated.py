"""The dated jobs (バッチ) of all services: found by name, run for a day, and kept up with as their days fall due.

What is due is run in the order in which it fell due, over all services, one run at a time: a day's clearing before
that day's payouts, and those before the bank's file. A run that fails or waits for an operator holds up the later ones
of its own service only. Days on which no job has anything to do are passed over without a run, however many they are:
before each run, every job that is due is asked for the first day that needs one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog

from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError, PaymentError, Unknown
from kessai.sdk import jobs as runs
from kessai.sdk.jobs import DatedJob, JobRun, RunState, Started
from kessai.sdk.jobs.due import (
    day_of,
    due_at,
    due_at_or_after,
    due_on_or_after,
    last_due_before,
    last_due_on,
    next_due_on,
)
from kessai.sdk.jobs.schedule import keep, move, next_days, pass_over
from kessai.sdk.workflow import Engine

log = structlog.get_logger(__name__)

RETRY_S = 600.0
"""How long a failed run is left alone before its next attempt, in real time."""
STILL_S = 60.0
"""A run that has told of no progress for so long (real time) is left to itself, and holds up its own service only."""
LOOK_S = 2.0
"""How often it is asked how far it has come."""
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Desk:
    """A service's jobs, and the engine that carries them."""

    engine: Engine[Any]
    jobs: tuple[DatedJob, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A job on a day on which it falls due."""

    at: datetime
    job: DatedJob
    due_on: date

    @property
    def day(self) -> date:
        """The business date that it is for."""
        return day_of(self.job, self.due_on)


class DatedJobs:
    """One in each process; any number of them may keep the same jobs."""

    def __init__(self, database: Database, clock: Clock, desks: Sequence[Desk]) -> None:
        self._database = database
        self._clock = clock
        self._desks = {desk.engine.service: desk for desk in desks if desk.jobs}
        self._turn = asyncio.Lock()
        self._failed_at: dict[str, float] = {}
        self.still_s = STILL_S
        self.jobs: dict[str, DatedJob] = {job.name: job for desk in desks for job in desk.jobs}
        """By name; those that fall due at the same instant are run in this order."""

    async def open(self) -> None:
        """Keep the jobs from now on: each falls due first when its time of day comes next."""
        for service, desk in self._desks.items():
            await keep(self._database, service, desk.jobs, self._clock.now())

    def named(self, name: str) -> DatedJob:
        """A job; OperatorError when there is none of that name."""
        if (job := self.jobs.get(name)) is None:
            raise OperatorError(f"There is no dated job {name}; there are {', '.join(self.jobs)}.")
        return job

    def usual_day(self, job: DatedJob) -> date:
        """The business date of the run that fell due last."""
        return day_of(job, last_due_on(job, self._clock.now()))

    def refuse_day_to_come(self, job: DatedJob, day: date) -> None:
        """Raises OperatorError when a business date has not begun: there is nothing yet that its run is for."""
        if day > (today := business_date(self._clock.now())):
            told = f"{day} is still to come (it is {today})"
            raise OperatorError(f"{told}: {job.name} can only be tried, with --dry-run.")

    async def start(self, job: DatedJob, day: date, *, dry_run: bool = False) -> Started:
        """Join the run of a day that is under way, or start the next attempt; it is durable when this returns."""
        return await runs.start(self._database, self._engine(job), job, day, dry_run=dry_run)

    async def finish(self, started: Started) -> JobRun:
        """Wait for a run's end; a failed one is given. Raises Unknown when it waits for an operator."""
        return await runs.finish(self._database, self._engine(self.jobs[started.run.name]), started)

    async def seen(self, run: JobRun) -> JobRun:
        """The same run, as it stands now."""
        for each in await runs.runs_of_day(self._database, run.name, run.day):
            if each.attempt == run.attempt:
                return each
        return run

    def _engine(self, job: DatedJob) -> Engine[Any]:
        return self._desks[runs.service_of(job.name)].engine

    # -- what falls due by itself ---------------------------------------------------------------------------------

    async def run_due(self, *, at_once: bool = False, ended: list[JobRun] | None = None) -> list[JobRun]:
        """Run what has fallen due, oldest first; gives the runs that came to their end, each into `ended` as it does.

        `at_once`: also what failed a moment ago.
        """
        ended = [] if ended is None else ended
        async with self._turn:
            if at_once:
                self._failed_at.clear()
            days, standing = await self._next_days(), set[str]()
            while (due := await self._next_busy(days, standing)) is not None:
                run = await self._caught_up(due)
                if run is None or run.state is not RunState.DONE:
                    standing.add(runs.service_of(due.job.name))
                    continue
                ended.append(run)
                following = next_due_on(due.job, due.due_on)
                await move(self._database, runs.service_of(due.job.name), due.job.name, due.due_on, following)
                days[due.job.name] = following
        return ended

    async def is_behind(self) -> bool:
        """Whether anything has fallen due that was not run or passed over."""
        return bool(self._all_due(await self._next_days(), set()))

    async def settle(self) -> None:
        """Keep what runs came to whose starter did not live to do it."""
        for service, desk in self._desks.items():
            names = {job.name: job for job in desk.jobs}
            for run in await runs.open_runs(self._database, service, list(names)):
                await runs.settle(self._database, desk.engine, names[run.name], run)

    async def _next_days(self) -> dict[str, date]:
        found: dict[str, date] = {}
        for service, desk in self._desks.items():
            found |= await next_days(self._database, service, [job.name for job in desk.jobs])
        return found

    def _all_due(self, days: dict[str, date], standing: set[str]) -> list[Due]:
        """Each job that has fallen due, on the first day on which it did."""
        now = self._clock.now()
        found = [
            Due(due_at(job, days[name]), job, days[name])
            for name, job in self.jobs.items()
            if name in days and runs.service_of(name) not in standing
        ]
        return [each for each in found if each.at <= now]

    async def _next_busy(self, days: dict[str, date], standing: set[str]) -> Due | None:
        """What is to be run next, once all days before it on which there was nothing to do are passed over."""
        now, all_due = self._clock.now(), self._all_due(days, standing)
        busy = [found for each in all_due if (found := await self._first_busy(each, now)) is not None]
        first = min(busy, key=lambda each: each.at, default=None)
        for each in all_due:
            following = due_at_or_after(each.job, now + INSTANT if first is None else first.at)
            if following > each.due_on:
                await self._pass_over(each, following, now)
                days[each.job.name] = following
        return first

    async def _first_busy(self, due: Due, now: datetime) -> Due | None:
        """The first day, of all on which a job has fallen due, that needs a run; None: none of them does."""
        job, last = due.job, last_due_on(due.job, now)
        if job.first_busy is None:
            return due
        try:
            found = await job.first_busy(self._engine(job).deps, due.day, day_of(job, last))
        except PaymentError as error:
            log.warning("job_not_looked_at", job=job.name, day=due.day.isoformat(), error=str(error))
            return due  # the run itself waits for whom it cannot reach
        if found is None:
            return None
        due_on = max(due.due_on, due_on_or_after(job, found + timedelta(days=job.days_back)))
        return None if due_on > last else Due(due_at(job, due_on), job, due_on)

    async def _pass_over(self, due: Due, following: date, now: datetime) -> None:
        """The days up to another need no run: write what theirs would have, and that there was none."""
        job, service = due.job, runs.service_of(due.job.name)
        if job.pass_over is not None:
            await job.pass_over(self._engine(job).deps, due.day, day_of(job, last_due_before(job, following)))
        await pass_over(self._database, service, job, due.due_on, following, now)

    async def _caught_up(self, due: Due) -> JobRun | None:
        """The run that this due time asks for; None when it is not for now, or has no end yet."""
        runs_of_day = await runs.runs_of_day(self._database, due.job.name, due.day)
        newest = next((each for each in runs_of_day if not each.dry_run), None)
        if newest is not None and newest.state is RunState.DONE and newest.started_at >= due.at:
            return newest
        if self._is_left_alone(due):
            return None
        # Exactly the attempt that was missing: one that another process has meanwhile made and ended is as good.
        under_way = newest is not None and newest.state is RunState.RUNNING
        attempt = newest.attempt if newest is not None and under_way else 1 + len(runs_of_day)
        try:
            started = await runs.start(self._database, self._engine(due.job), due.job, due.day, attempt=attempt)
            run = await self._ended(started)
        except Unknown as error:
            log.warning("job_waits", job=due.job.name, day=due.day.isoformat(), error=str(error))
            return None
        except PaymentError as error:
            log.warning("job_not_started", job=due.job.name, day=due.day.isoformat(), error=str(error))
            return None
        if run is None:
            log.warning("job_stands_still", job=due.job.name, day=due.day.isoformat())
            return None
        if run.state is RunState.FAILED:
            self._failed_at[due.job.name] = asyncio.get_running_loop().time()
            log.error("job_failed", job=run.name, day=run.day.isoformat(), attempt=run.attempt, note=run.note)
        return run

    async def _ended(self, started: Started) -> JobRun | None:
        """A run that came to its end; None for one that stands still: it is durable, and is joined next time."""
        ending = asyncio.create_task(self.finish(started))
        loop, seen = asyncio.get_running_loop(), started.run
        moved_at = loop.time()
        try:
            while not (await asyncio.wait((ending,), timeout=min(LOOK_S, self.still_s)))[0]:
                now = await self.seen(started.run)
                if (now.done, now.note) != (seen.done, seen.note):
                    seen, moved_at = now, loop.time()
                if loop.time() - moved_at >= self.still_s:
                    return None
            return ending.result()
        finally:
            ending.cancel()

    def _is_left_alone(self, due: Due) -> bool:
        failed_at = self._failed_at.get(due.job.name)
        return failed_at is not None and asyncio.get_running_loop().time() - failed_at < RETRY_S
