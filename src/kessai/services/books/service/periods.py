"""Periods at work: opened, closed, locked and reopened, each step with who and why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import date, datetime, time
from typing import Protocol

from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import TOKYO, Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, Refused
from kessai.services.books.api.accounting import (
    ClosePeriod,
    GetPeriod,
    ListPeriods,
    LockPeriod,
    Period,
    Periods,
    PeriodState,
    ReopenPeriod,
)
from kessai.services.books.api.statements import MONTHS_MAX
from kessai.services.books.domain import periods as rules
from kessai.services.books.domain.periods import ClosingFacts, Standing, month_end, month_of, months_between, next_month
from kessai.services.books.store import ROLE, periods
from kessai.services.identity.api import Approval, ConsumeApproval, content_digest

LOCKING = "books.lock_period"
"""The action that an approval of locking is asked for."""

BeforeClosing = Callable[[Connection, date, datetime], Awaitable[object]]
"""What is booked into a month just before it is closed, within the same transaction."""
Told = Callable[[date], Awaitable[None]]
"""Raises while something of a day, or of one before it, may still be on its way into the books."""


class Approvals(Protocol):
    """Where a second person's consent is kept; identity's door is one."""

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by its consumer. Refuses one that is not for this very content."""
        ...


class PeriodDesk:
    """Who closes what. Every change moves the gate first, so that those who book see it."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        before_closing: BeforeClosing,
        require_told: Told | None,
        needs_approval: bool,
        approvals: Approvals | None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._before_closing = before_closing
        self._require_told = require_told
        self._needs_approval = needs_approval
        self._approvals = approvals

    async def get(self, request: GetPeriod) -> Period:
        """A month's state, and its history."""
        month = month_named(request.month)
        return await self._database.transaction(ROLE, lambda connection: _period(connection, month))

    async def list(self, request: ListPeriods) -> Periods:
        """Months and their states."""
        today = business_date(self._clock.now())

        async def read(connection: Connection) -> Periods:
            first = await periods.first_booked_on(connection)
            until = month_named(request.until) if request.until else month_of(today)
            since = month_named(request.since) if request.since else min(until, month_of(first or today))
            months = require_months(since, until) if request.since else months_between(since, until)[-MONTHS_MAX:]
            standing = await periods.standing(connection)
            steps = await periods.steps_between(connection, months[0], months[-1])
            return Periods(
                periods=[
                    Period(month=f"{month:%Y-%m}", state=standing.state_of(month), steps=steps.get(month, []))
                    for month in months
                ]
            )

        return await self._database.transaction(ROLE, read)

    async def close(self, request: ClosePeriod) -> Period:
        """Close a month, its accruals booked; one that is closed stays as it is."""
        month, now = month_named(request.month), self._clock.now()
        standing = await self._database.transaction(ROLE, periods.standing)
        if standing.state_of(month) is PeriodState.OPEN:
            await self._require_over(month, now)

        async def write(connection: Connection) -> Period:
            standing = await periods.move_gate(connection, now)
            match standing.state_of(month):
                case PeriodState.CLOSED:
                    return await _period(connection, month)
                case PeriodState.LOCKED:
                    refusal = standing.refusal_of(month)
                case PeriodState.OPEN:
                    refusal = rules.refuse_closing(standing, month, await _facts(connection, month, now))
            if refusal is not None:
                raise refusal
            await self._before_closing(connection, month, now)
            return await _write(connection, month, PeriodState.CLOSED, request.reason, now)

        return await self._database.transaction(ROLE, write)

    async def _require_over(self, month: date, now: datetime) -> None:
        """Raises `period_not_ended`, `feed_behind`."""
        if (refusal := rules.refuse_early(month, business_date(now))) is not None:
            raise refusal
        if self._require_told is not None:
            await self._require_told(month_end(month))

    async def reopen(self, request: ReopenPeriod) -> Period:
        """Open the last closed month again; one that is open stays as it is."""
        month, now = month_named(request.month), self._clock.now()

        async def write(connection: Connection) -> Period:
            standing = await periods.move_gate(connection, now)
            if standing.state_of(month) is PeriodState.OPEN:
                return await _period(connection, month)
            if (refusal := rules.refuse_reopening(standing, month)) is not None:
                raise refusal
            return await _write(connection, month, PeriodState.OPEN, request.reason, now)

        return await self._database.transaction(ROLE, write)

    async def lock(self, request: LockPeriod) -> Period:
        """Lock a closed month for good, with a second person's approval where that is asked for."""
        month, now = month_named(request.month), self._clock.now()
        standing = await self._database.transaction(ROLE, periods.standing)
        if standing.state_of(month) is not PeriodState.LOCKED:
            _require_lockable(standing, month)
            await self._consume_approval(request)

        async def write(connection: Connection) -> Period:
            standing = await periods.move_gate(connection, now)
            if standing.state_of(month) is PeriodState.LOCKED:
                return await _period(connection, month)
            _require_lockable(standing, month)
            return await _write(connection, month, PeriodState.LOCKED, request.reason, now)

        return await self._database.transaction(ROLE, write)

    async def _consume_approval(self, request: LockPeriod) -> None:
        if not self._needs_approval:
            return
        if request.approval_id is None:
            raise Refused("approval_required", "A second person has to approve that a month is locked.")
        if self._approvals is None:
            raise Refused("approvals_not_available", "No approvals are kept here.")
        await self._approvals.consume_approval(
            ConsumeApproval(
                approval_id=request.approval_id,
                consumer_id=f"lock:{request.month}",
                subject=f"period:{request.month}",
                action=LOCKING,
                content_sha256=content_digest(replace(request, approval_id=None)),
            )
        )


def month_named(text: str) -> date:
    """The first day of `2026-11`."""
    return date.fromisoformat(f"{text}-01")


def require_months(since: date, until: date) -> list[date]:
    """The months of a range; Invalid `range_reversed`, `range_too_long`."""
    if until < since:
        raise Invalid("range_reversed", "The range ends before it begins.")
    months = months_between(since, until)
    if len(months) > MONTHS_MAX:
        raise Invalid("range_too_long", f"At most {MONTHS_MAX} months are told at once.", months_max=MONTHS_MAX)
    return months


def instant_of(day: date) -> datetime:
    """When a day begins in Tokyo."""
    return datetime.combine(day, time(), TOKYO)


def _require_lockable(standing: Standing, month: date) -> None:
    if (refusal := rules.refuse_locking(standing, month)) is not None:
        raise refusal


async def _facts(connection: Connection, month: date, now: datetime) -> ClosingFacts:
    return ClosingFacts(
        today=business_date(now),
        first_day=await periods.first_booked_on(connection),
        unposted=await periods.count_unposted_before(connection, instant_of(next_month(month))),
    )


async def _write(connection: Connection, month: date, state: PeriodState, reason: str, now: datetime) -> Period:
    by = current_call().caller
    await periods.write_period(connection, month, state, reason=reason, by=by, now=now)
    return await _period(connection, month)


async def _period(connection: Connection, month: date) -> Period:
    standing = await periods.standing(connection)
    steps = await periods.steps_between(connection, month, month)
    return Period(month=f"{month:%Y-%m}", state=standing.state_of(month), steps=steps.get(month, []))
