"""The job settlement.statement: statements (精算明細書) are issued once their cycle is decided, and anew.

What a merchant is shown was issued by this job and by nobody's asking for it. Each cycle is one transaction, so that a
run that was cut off goes on with the next one. A payout that has changed has its cycle looked at again; where the
statement says the same, none is issued.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec
from msgspec.structs import replace

from kessai.foundation.clock import business_date
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.settlement import store
from kessai.services.settlement.api.statements import Statement
from kessai.services.settlement.domain.cycle_rules import CycleRules, cycle_rules
from kessai.services.settlement.domain.payouts import Payout, PayoutState
from kessai.services.settlement.store import cycles, payouts, statements
from kessai.services.settlement.store.cycles import Summary
from kessai.services.settlement.store.payouts import FIRST
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.contents import says_the_same, statement_of

_decode = msgspec.json.Decoder(Statement).decode


class PageOfCycles(Message, frozen=True):
    """The cycles after one (payee, cycle), for an order; of those before it so many were issued."""

    order: JobOrder
    after: tuple[str, str]
    done: int


class PageStated(Message, frozen=True):
    """What a page came to."""

    last: tuple[str, str] | None
    issued: int


@define("settlement.statement", version=1)
async def state_cycles(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Issue the statements of cycles up to the order's day that are decided, or have changed since."""
    issued = 0
    after: tuple[str, str] | None = FIRST
    while after is not None:
        page = await wf.activity(state_page, PageOfCycles(order=order, after=after, done=issued))
        issued, after = issued + page.issued, page.last
    return JobDone(done=issued, note=f"{issued} statements")


async def state_page(activity: Activity[Deps], page: PageOfCycles) -> PageStated:
    """Issue the statements of a page of cycles, where they say something new."""
    deps, limit, issued = activity.deps, cycle_rules().pages.payees, 0
    found = await deps.database.transaction(
        store.ROLE, lambda connection: statements.to_state(connection, page.order.day, page.after, limit)
    )
    for key in found:
        issued += await deps.database.transaction(
            store.ROLE,
            lambda connection, key=key: _state(connection, key, deps.clock.now(), dry_run=page.order.dry_run),
            isolation="repeatable_read",
        )
    await progress(deps.database, deps.clock, page.order, done=page.done + issued)
    return PageStated(last=found[-1] if len(found) == limit else None, issued=issued)


async def _state(connection: Connection, key: tuple[str, str], now: datetime, *, dry_run: bool) -> bool:
    """Whether a statement is due; unless the run is dry, it is issued."""
    summary, paid = await cycles.summary_of(connection, *key), await payouts.of_cycle(connection, *key)
    assert summary is not None, "a payout is of a cycle"
    if any(each.state is PayoutState.MADE for each in paid):
        return False  # another part of it is still to be decided
    issued = await issued_of(connection, *key)
    current = await current_of(connection, summary, paid, cycle_rules(), now)
    due = not issued or not says_the_same(issued[-1], current)
    if not dry_run:
        await statements.note_stated(connection, [(each.payee_id, each.payout_id, each.version) for each in paid])
        if due:
            await _issue(connection, replace(current, version=len(issued) + 1, corrects=len(issued) or None), key, now)
    return due


async def _issue(connection: Connection, statement: Statement, key: tuple[str, str], now: datetime) -> None:
    contents = msgspec.json.encode(statement)
    await statements.issue(connection, *key, statement.version, contents, hashlib.sha256(contents).hexdigest(), now)


async def issued_of(connection: Connection, payee_id: str, cycle_id: str) -> list[Statement]:
    """What was issued of a cycle, the oldest first."""
    return [_decode(row["contents"]) for row in await statements.issued(connection, payee_id, cycle_id)]


async def current_of(
    connection: Connection, summary: Summary, paid: list[Payout], rules: CycleRules, now: datetime
) -> Statement:
    """A cycle's statement as things are now; it is issued by the job alone."""
    return await statement_of(connection, summary, paid, rules, business_date(now))
