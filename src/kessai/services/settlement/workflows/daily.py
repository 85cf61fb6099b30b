"""settlement.daily: a day's transactions are proved one by one, summed up, and the day is closed.

A page of transactions is one activity: whom to ask is asked first, then one transaction settles what is proved and adds
it to the day's summaries, so that a page that is done again after a crash finds nothing left of what it did. The day is
closed last; until then summaries grow, and afterwards nothing can be added to them.
"""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from uuid import UUID
from weakref import WeakKeyDictionary

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, plan_by_index
from kessai.foundation.errors import Invalid, Refused, Unavailable
from kessai.foundation.events.standing import is_quiet
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.merchant.api import FeeUnit
from kessai.services.payment.api import TOPIC as TOPIC_PAYMENT
from kessai.services.settlement import store
from kessai.services.settlement.api.days import SettlementDay
from kessai.services.settlement.domain.days import feeds_told_all, first_after
from kessai.services.settlement.domain.reconciling import PENDING
from kessai.services.settlement.store import days, fees, transactions
from kessai.services.settlement.store.transactions import START, Place
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.feeing import (
    charge_totals,
    decide_new,
    decide_waiting,
    issue_due,
    renew_refused,
)
from kessai.services.settlement.workflows.proving import Payees, judge

PAUSE_S_MAX = 2.0
LOOK_S = 0.5
"""Between two looks at verdicts that are pending."""


class Day(Message, frozen=True):
    """A day to be settled."""

    day: date


class At(Message, frozen=True):
    """Where the next page of a day begins."""

    order: JobOrder
    since: date
    owner_id: str
    transaction_id: str
    done: int = 0
    """How many were settled before it."""

    @property
    def day(self) -> date:
        """The day to be settled."""
        return self.order.day


class Looked(Message, frozen=True):
    """What a page came to; `next`: where the next one begins, None after the last."""

    next: At | None
    settled: int = 0
    held: int = 0
    pending: int = 0
    """Of the held ones: those whose verdict is still to come."""


class Charged(Message, frozen=True):
    """What was done about fees before a day is reconciled."""

    decided: int
    totals: int


@define("settlement.daily", version=1)
async def daily(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Settle a business date. One that is closed, or that a later one has passed, is left as it is."""
    day, retry = Day(day=order.day), Retry(delay_s_max=PAUSE_S_MAX)
    if not await wf.activity(is_open, day):
        return JobDone(done=0, note=f"{order.day} is closed.")
    if order.dry_run:
        found = await wf.activity(preview, order, retry=retry)
        return JobDone(done=found.settled, note=f"{found.settled} would settle, {found.held} would stay open.")
    await wf.activity(await_feeds, day, retry=retry)
    await wf.activity(charge_fees, day, retry=retry)
    await wf.activity(await_fees, day, retry=retry)
    rounds = 0
    while await _reconciled(wf, order, retry) and await wf.activity(may_wait, Waiting(rounds=rounds)):
        rounds += 1
    closed = await wf.activity(close_day, day, retry=retry)
    return JobDone(
        done=closed.transactions,
        note=f"{closed.transactions} transactions, net {closed.net_minor} yen; {closed.left_open} stay open.",
    )


class Waiting(Message, frozen=True):
    """How often a day's pending verdicts were waited for."""

    rounds: int


async def _reconciled(wf: Workflow[Deps], order: JobOrder, retry: Retry) -> int:
    """Look at everything that is open once; gives how many verdicts are still to come."""
    pending, at = 0, _first(order)
    while True:
        looked = await wf.activity(reconcile_page, at, retry=retry)
        pending += looked.pending
        if looked.next is None:
            return pending
        at = looked.next


# -- activities: each may be repeated ---------------------------------------------------------------------------


async def is_open(activity: Activity[Deps], day: Day) -> bool:
    """Whether a day is still to be closed."""
    through = await days.closed_through(activity.deps.database)
    return through is None or day.day > through


async def await_feeds(activity: Activity[Deps], day: Day) -> bool:
    """Wait until everything of a day was heard.

    Raises Invalid `day_not_over`, Refused `earlier_day_open`, Unavailable `feed_behind`.
    """
    deps = activity.deps
    if deps.clock.now() < first_after(day.day):
        raise Invalid("day_not_over", f"{day.day} is not over yet.", day=day.day.isoformat())
    await require_told(deps, day.day)
    await deps.database.transaction(store.ROLE, lambda connection: days.require_in_order(connection, day.day))
    return True


async def require_told(deps: Deps, day: date) -> None:
    """Raises Unavailable `feed_behind` while something of a day may still be on its way, or was put aside."""
    quiet = [
        await is_quiet(
            deps.database, source="payment", subscriber=store.SCHEMA.service, subscription=feed, topics=[TOPIC_PAYMENT]
        )
        for feed in days.FEEDS
    ]
    seen, lag = await days.feeds(deps.database), timedelta(seconds=deps.config.waiting.quiet_after_s)
    if not feeds_told_all(day, seen.values(), quiet=all(quiet), lag=lag):
        raise Unavailable("feed_behind", f"The payments of {day} have not all arrived yet.", day=day.isoformat())
    if parked := await days.parked_before(deps.database, first_after(day)):
        raise Unavailable("feed_behind", f"{parked} events up to {day} are put aside for an operator.")


async def charge_fees(activity: Activity[Deps], day: Day) -> Charged:
    """Look again at what waits for terms or was refused, and charge the fees on totals."""
    deps = activity.deps
    await renew_refused(deps)
    decided = await decide_new(deps) + await decide_waiting(deps)
    totals = await charge_totals(deps, FeeUnit.DAY, day.day) + await charge_totals(deps, FeeUnit.CYCLE, day.day)
    await issue_due(deps)
    return Charged(decided=decided, totals=totals)


async def await_fees(activity: Activity[Deps], day: Day) -> bool:
    """Wait until the day's fees on totals are issued, and were heard of as transactions of the day."""
    if untold := await fees.untold(activity.deps.database, day.day):
        await issue_due(activity.deps)
        raise Unavailable("fees_under_way", f"{untold} fees of {day.day} are still on their way.")
    return True


async def reconcile_page(activity: Activity[Deps], at: At) -> Looked:
    """Prove a page of open transactions and settle those that are; the others say why they do not."""
    deps = activity.deps
    page, size = await _page(deps, at)
    judged = await judge(deps, page, payees_of_day(deps, at.day))
    changed = {(each.owner_id, each.transaction_id): each.reason for each in page}
    held = [each for each in judged.held if changed[each[0], each[1]] != each[2]]

    async def write(connection: Connection) -> int:
        await plan_by_index(connection)
        await days.keep_open(connection, at.day)
        await transactions.hold(connection, held)
        return (await transactions.settle(connection, at.day, judged.proved))[0]

    settled = await deps.database.transaction(store.ROLE, write) if page else 0
    await progress(deps.database, deps.clock, at.order, done=at.done + settled)
    return Looked(
        next=_next(at, page, at.done + settled) if len(page) == size else None,
        settled=settled,
        held=len(judged.held),
        pending=sum(reason == PENDING for _, _, reason in judged.held),
    )


def payees_of_day(deps: Deps, day: date) -> Payees:
    """What this process has learned of a day's payees; what was so at a day's end stays so."""
    known = _learned.setdefault(deps, {})
    if day not in known:
        known.clear()
        known[day] = Payees(deps, day)
    return known[day]


_learned: WeakKeyDictionary[Deps, dict[date, Payees]] = WeakKeyDictionary()


async def _page(deps: Deps, at: At) -> tuple[list[transactions.OpenTransaction], int]:
    size = deps.config.pages.transactions
    after = Place(at.since, at.owner_id, UUID(at.transaction_id))
    return await transactions.open_page(deps.database, at.day, after, size), size


def _next(at: At, page: list[transactions.OpenTransaction], done: int) -> At:
    last = page[-1]
    where = (last.business_date, last.owner_id, str(last.transaction_id))
    return At(order=at.order, since=where[0], owner_id=where[1], transaction_id=where[2], done=done)


def _first(order: JobOrder) -> At:
    return At(order=order, since=START.day, owner_id=START.owner_id, transaction_id=str(START.transaction_id))


async def may_wait(activity: Activity[Deps], waiting: Waiting) -> bool:
    """Pause before pending verdicts are looked at again; False once they were waited for long enough (real time)."""
    if waiting.rounds * LOOK_S >= activity.deps.config.waiting.proofs_s:
        return False
    await asyncio.sleep(LOOK_S)
    return True


async def close_day(activity: Activity[Deps], day: Day) -> SettlementDay:
    """Close a day; one that is closed stays as it is."""
    deps = activity.deps

    async def close(connection: Connection) -> SettlementDay | None:
        return await days.close(connection, day.day, deps.clock.now())

    closed = await deps.database.transaction(store.ROLE, close) or await days.load(deps.database, day.day)
    if closed is None:
        raise Refused("later_day_closed", f"A later day than {day.day} is closed.", day=day.day.isoformat())
    return closed


async def preview(activity: Activity[Deps], order: JobOrder) -> Looked:
    """What a run would settle now; nothing is written."""
    deps, payees = activity.deps, Payees(activity.deps, order.day)
    at = _first(order)
    settled, held = 0, 0
    while True:
        page, size = await _page(deps, at)
        judged = await judge(deps, page, payees)
        settled, held = settled + len(judged.proved), held + len(judged.held)
        if len(page) < size:
            return Looked(next=None, settled=settled, held=held)
        at = _next(at, page, settled)
