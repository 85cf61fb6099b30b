"""What a dated job is, is asked and answers. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from kessai.foundation.contract import Message
from kessai.sdk.workflow import Definition


class JobOrder(Message, frozen=True):
    """What a run of a dated job is asked: the argument of its workflow."""

    name: str
    """Such as `settlement.daily`."""
    day: date
    """The business date (Asia/Tokyo) that it is for."""
    attempt: int = 1
    """A job may be run again for a day that was done: it then finds nothing left to do, or what came since."""
    dry_run: bool = False
    """Say what would be done; write nothing, move nothing."""


class JobDone(Message, frozen=True):
    """What a run came to."""

    done: int
    """How much it did (of a dry run: would do), in the job's own unit."""
    note: str = ""
    """One sentence for the operator."""


FirstBusy = Callable[[Any, date, date], Awaitable[date | None]]
"""Of the engine's deps, the first and the last of some business dates: the first that needs a run, None: none of them.

It only reads, and in few statements however many days there are. Where it cannot tell it names a day too early: a run
that finds nothing to do does no harm.
"""
PassOver = Callable[[Any, date, date], Awaitable[None]]
"""Of the engine's deps, the first and the last of some dates that need no run: write what their runs would have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedJob:
    """A job with a run per business date, and when it falls due by itself."""

    name: str
    """`<service>.<job>`."""
    summary: str
    definition: Definition[Any, Any, Any]
    """Of a workflow `(wf, JobOrder) -> JobDone`."""
    at: str
    """The time of day (Asia/Tokyo) at which it falls due, `HH:MM`."""
    days_back: int = 0
    """The run that falls due on a day is for so many days before it: 1, for a job that closes the day before."""
    business_days: bool = False
    """Whether it falls due on banks' business days only."""
    first_busy: FirstBusy | None = None
    """Tells which of the days that are due need a run; None: each of them does."""
    pass_over: PassOver | None = None
    """What is to be written for those that do not; may be repeated."""


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "RUNNING"
    PARKED = "PARKED"
    """It waits for an operator (`kessai workflow retry …`)."""
    DONE = "DONE"
    FAILED = "FAILED"
    IDLE = "IDLE"
    """No run: there was nothing to do, from `since` to `day`."""


class JobRun(Message, frozen=True):
    """One attempt of a job for a business date. All times are business time."""

    name: str
    day: date
    attempt: int
    workflow_id: str
    dry_run: bool
    state: RunState
    done: int
    """So far, or in all; in the job's own unit."""
    total: int | None
    """What it will come to, where the job knows that beforehand."""
    note: str
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None
    since: date | None = None
    """Of IDLE days: the first of them; `day` is the last."""

    @property
    def order(self) -> JobOrder:
        """What it was asked."""
        return JobOrder(name=self.name, day=self.day, attempt=self.attempt, dry_run=self.dry_run)


def service_of(name: str) -> str:
    """The service whose job it is: the first part of its name."""
    return name.partition(".")[0]


def workflow_id_of(order: JobOrder) -> str:
    """`<job>:<date>#<attempt>`: whoever starts it, it is one run."""
    return f"{order.name}:{order.day.isoformat()}#{order.attempt}"
