"""Cron schedules: a workflow started at each due time of business time, once whatever number of processes run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

import structlog
from cronsim import CronSim, CronSimError

from kessai.foundation.clock import TOKYO, Clock
from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import NotFound, PaymentError
from kessai.sdk.workflow.definition import Definition
from kessai.sdk.workflow.host import operations

log = structlog.get_logger(__name__)

Overlap: TypeAlias = Literal["skip", "wait", "allow", "cancel"]
Backfill: TypeAlias = Literal["none", "latest", "all"]
SCHEDULE_POLL_S = 5.0
"""How often the rows are read again, for what other processes and operators did."""
CLOCK_LOOK_S = 0.5
LATE_S = 60.0
"""A time that is over by more than this was missed, and is a matter of the backfill policy."""
BACKFILL_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When to start what. Declared in code by every process of the service; its progress is in the database."""

    name: str
    definition: Definition[Any, Any, Any]
    request: Callable[[datetime], object]
    """The request for a due time; the same for the same time."""
    cron: str
    """Five fields (or six, with seconds first); in `zone`, by whose daylight saving it goes."""
    zone: ZoneInfo = TOKYO
    overlap: Overlap = "skip"
    """While the run before it is open: leave this time out, start when it has ended, start beside it, cancel it."""
    backfill: Backfill = "latest"
    """Of the times that passed while no process ran: start none, one for the latest, or one for each."""

    def __post_init__(self) -> None:
        try:
            CronSim(self.cron, datetime(2000, 1, 1, tzinfo=self.zone))
        except CronSimError as error:
            raise ValueError(f"schedule {self.name}: {self.cron!r} is no cron expression: {error}") from error

    def after(self, moment: datetime) -> datetime:
        """The first due time after a moment, in UTC."""
        return next(CronSim(self.cron, moment.astimezone(self.zone))).astimezone(UTC)

    def workflow_id(self, due_at: datetime) -> str:
        """The id of the run for a due time: whoever starts it, it is one run."""
        return f"{self.name}@{due_at:%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a schedule has come."""

    next_at: datetime
    last_id: str | None
    paused: bool


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done now: start the run of `due_at` (None: leave out what is over), then wait for `next_at`."""

    due_at: datetime | None
    next_at: datetime


def decide(schedule: Schedule, next_at: datetime, now: datetime) -> Due | None:
    """What a schedule asks for at a moment; None when nothing is due. Pure."""
    if next_at > now:
        return None
    following = schedule.after(next_at)
    missed = (now - next_at).total_seconds() > LATE_S
    if missed and schedule.backfill == "none":
        return Due(None, schedule.after(now))
    if missed and schedule.backfill == "latest":
        for _ in range(BACKFILL_MAX):
            if following > now:
                break
            next_at, following = following, schedule.after(following)
    return Due(next_at, following)


Begin: TypeAlias = "Callable[[Schedule, datetime, tuple[Any, ...]], Awaitable[None]]"


class Schedules:
    """Starts what is due, from one executor; others do the same, and the first one wins."""

    def __init__(
        self,
        database: Database,
        service: str,
        clock: Clock,
        schedules: Iterable[Schedule],
        *,
        begin: Begin,
        is_open: Callable[[str], Awaitable[bool]],
        cancel: Callable[[str], Awaitable[None]],
    ) -> None:
        self.schedules = {each.name: each for each in schedules}
        self._database = database
        self._role = role_of(service)
        self._clock = clock
        self._queries = operations(service)
        self._begin = begin
        self._is_open = is_open
        self._cancel = cancel
        self._progress: dict[str, Progress] = {}
        self._read_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Keep the schedules from now on; a new one begins with its next due time."""
        if not self.schedules:
            return
        for each in self.schedules.values():
            row = (each.name, each.after(self._clock.now()))
            await self._database.fetch(self._role, self._queries["schedule_create"], *row)
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Start nothing more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                busy = await self.turn()
            except PaymentError as error:
                busy = False
                log.warning("schedule_waits", error=repr(error))
            except Exception:
                busy = False
                log.exception("schedule_failed")
            if not busy:
                await asyncio.sleep(CLOCK_LOOK_S)

    async def turn(self) -> bool:
        """Start what is due; True when anything was, so that more may be."""
        await self._read()
        busy = False
        for name, progress in list(self._progress.items()):
            schedule = self.schedules[name]
            due = None if progress.paused else decide(schedule, progress.next_at, self._clock.now())
            if due is not None and await self._act(schedule, progress, due):
                self._read_at, busy = float("-inf"), True
        return busy

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._read_at < SCHEDULE_POLL_S:
            return
        rows = await self._database.fetch(self._role, self._queries["schedules_read"], list(self.schedules))
        self._progress = {row["schedule"]: Progress(row["next_at"], row["last_id"], row["paused"]) for row in rows}
        self._read_at = now

    async def _act(self, schedule: Schedule, progress: Progress, due: Due) -> bool:
        overlapping = (
            due.due_at is not None
            and schedule.overlap != "allow"
            and progress.last_id is not None
            and await self._is_open(progress.last_id)
        )
        if overlapping and schedule.overlap == "wait":
            return False
        if overlapping and schedule.overlap == "cancel":
            assert progress.last_id is not None
            await self._cancel(progress.last_id)
            return False  # it is started once that one has ended
        if due.due_at is None or overlapping:
            row = ([schedule.name], [progress.next_at], [due.next_at], [None])
            await self._database.fetch(self._role, self._queries["schedule_move"], *row)
            return True
        moved = (schedule.name, progress.next_at, due.next_at, schedule.workflow_id(due.due_at))
        await self._begin(schedule, due.due_at, moved)
        return True

    # -- operators ------------------------------------------------------------------------------------------------

    async def set_paused(self, name: str, *, paused: bool) -> None:
        """Stop starting, or start again from the next due time after now. Raises NotFound `schedule_not_found`."""
        schedule = self.schedules.get(name)
        next_at = None if paused or schedule is None else schedule.after(self._clock.now())
        rows = await self._database.fetch(self._role, self._queries["schedule_pause"], name, paused, next_at)
        if not rows:
            raise NotFound("schedule_not_found", f"There is no schedule {name}.")
        self._read_at = float("-inf")

    def times(self, name: str, since: datetime, until: datetime) -> list[datetime]:
        """The due times in a period, both ends included; raises NotFound `schedule_not_found`."""
        schedule = self.schedules.get(name)
        if schedule is None:
            raise NotFound("schedule_not_found", f"There is no schedule {name}.")
        found: list[datetime] = []
        due_at = schedule.after(since - timedelta(seconds=1))
        while due_at <= until and len(found) < BACKFILL_MAX:
            found.append(due_at)
            due_at = schedule.after(due_at)
        return found
