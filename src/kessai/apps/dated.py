"""The dated jobs (バッチ) of all services: found by name, run for a day, and kept up with as their days fall due.

What is due is run in the order in which it fell due, over all services, one run at a time: a day's clearing before
that day's payouts, and those before the bank's file. A run that fails or waits for an operator holds up the later ones
of its own service only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError, PaymentError, Unknown
from kessai.sdk import jobs as runs
from kessai.sdk.jobs import DatedJob, JobRun, RunState, Started
from kessai.sdk.jobs.due import day_of, due_at, last_due_on, next_due_on
from kessai.sdk.jobs.schedule import keep, move, next_days
from kessai.sdk.workflow import Engine

log = structlog.get_logger(__name__)

RETRY_S = 600.0
"""How long a failed run is left alone before its next attempt, in real time."""


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

    async def run_due(self, *, at_once: bool = False) -> list[JobRun]:
        """Run what has fallen due, oldest first; gives the runs that came to their end.

        `at_once`: also what failed a moment ago.
        """
        async with self._turn:
            if at_once:
                self._failed_at.clear()
            days = await self._next_days()
            standing, ended = set[str](), list[JobRun]()
            while (due := self._next(days, standing)) is not None:
                run = await self._caught_up(due)
                if run is None or run.state is not RunState.DONE:
                    standing.add(runs.service_of(due.job.name))
                    continue
                ended.append(run)
                following = next_due_on(due.job, due.due_on)
                await move(self._database, runs.service_of(due.job.name), due.job.name, due.due_on, following)
                days[due.job.name] = following
            return ended

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

    def _next(self, days: dict[str, date], standing: set[str]) -> Due | None:
        now = self._clock.now()
        found = [
            Due(due_at(job, days[name]), job, days[name])
            for name, job in self.jobs.items()
            if name in days and runs.service_of(name) not in standing
        ]
        return min((each for each in found if each.at <= now), key=lambda each: each.at, default=None)

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
            run = await self.finish(started)
        except Unknown as error:
            log.warning("job_waits", job=due.job.name, day=due.day.isoformat(), error=str(error))
            return None
        except PaymentError as error:
            log.warning("job_not_started", job=due.job.name, day=due.day.isoformat(), error=str(error))
            return None
        if run.state is RunState.FAILED:
            self._failed_at[due.job.name] = asyncio.get_running_loop().time()
            log.error("job_failed", job=run.name, day=run.day.isoformat(), attempt=run.attempt, note=run.note)
        return run

    def _is_left_alone(self, due: Due) -> bool:
        failed_at = self._failed_at.get(due.job.name)
        return failed_at is not None and asyncio.get_running_loop().time() - failed_at < RETRY_S
