"""When a job falls due by itself, in Asia/Tokyo. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

from kessai.foundation.calendar import ONE_DAY, business_day_on_or_after
from kessai.foundation.clock import TOKYO, business_date
from kessai.sdk.jobs.model import DatedJob


def due_at(job: DatedJob, due_on: date) -> datetime:
    """The instant, in UTC, at which a job falls due on a day."""
    return datetime.combine(due_on, time.fromisoformat(job.at), tzinfo=TOKYO).astimezone(UTC)


def day_of(job: DatedJob, due_on: date) -> date:
    """The business date that the run which falls due on a day is for."""
    return due_on - timedelta(days=job.days_back)


def due_on_or_after(job: DatedJob, day: date) -> date:
    """The first day from this one on, on which the job falls due."""
    return business_day_on_or_after(day) if job.business_days else day


def next_due_on(job: DatedJob, due_on: date) -> date:
    """The day after this one, on which the job falls due."""
    return due_on_or_after(job, due_on + ONE_DAY)


def due_at_or_after(job: DatedJob, at: datetime) -> date:
    """The first day on which the job falls due at an instant or after it."""
    found = due_on_or_after(job, business_date(at))
    return found if due_at(job, found) >= at else next_due_on(job, found)


def last_due_before(job: DatedJob, due_on: date) -> date:
    """The last day before this one, on which the job falls due."""
    day = due_on - ONE_DAY
    while due_on_or_after(job, day) != day:
        day -= ONE_DAY
    return day


def first_due_on(job: DatedJob, now: datetime) -> date:
    """Of a job that nobody kept before: the first day on which it falls due for today, or for a day to come.

    So the jobs that build on each other all begin with the same business date.
    """
    first = due_on_or_after(job, business_date(now) + timedelta(days=job.days_back))
    return first if due_at(job, first) > now else next_due_on(job, first)


def last_due_on(job: DatedJob, now: datetime) -> date:
    """The last day on which the job fell due up to an instant."""
    found = due_on_or_after(job, business_date(now))
    return found if due_at(job, found) <= now else last_due_before(job, found)
