"""nfc.repair and nfc.expire: what was left open is brought to an end, what the processor does not have is let go of,
and what lapsed is marked. Each may be run at any time, again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.events import wake
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.nfc.domain.clearing import StoredFinding
from kessai.services.nfc.domain.reconciling import TheirRecord, stands_there
from kessai.services.nfc.store import ROLE, SCHEMA, reconciling
from kessai.services.nfc.store import authorizations as authorization_store
from kessai.services.nfc.store.findings import close_as, findings_remedied
from kessai.services.nfc.workflows.deps import AWAY, Deps

BY = "nfc.repair"
UNDER_WAY = "sent"
EXPIRES_AFTER = timedelta(days=1)
"""No hold lapses sooner."""


class Repaired(Message, frozen=True):
    """How much an activity did."""

    done: int = 0
    left: int = 0
    """What has to wait."""


@define("nfc.repair", version=1)
async def run_repair(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Carry what has been open for long, and let go of what the processor does not have."""
    if order.dry_run:
        due = await wf.activity(count_remedied, order)
        return JobDone(done=due.done, note=f"{due.done} authorizations would be let go of.")
    carried = await wf.activity(carry_open, order)
    let_go = await wf.activity(let_go_of, order, retry=AWAY)
    note = f"{carried.done} brought to an end, {let_go.done} findings repaired"
    return JobDone(done=carried.done + let_go.done, note=f"{note}; {let_go.left} have to wait.")


@define("nfc.expire", version=1)
async def run_expire(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Mark what no clearing file claimed, where the lapse of its payment was not heard."""
    if order.dry_run:
        due = await wf.activity(count_standing, order)
        return JobDone(done=due.done, note=f"{due.done} authorizations or more would be looked at.")
    expired = await wf.activity(expire_lapsed, order)
    return JobDone(done=expired.done, note=f"{expired.done} had lapsed.")


# -- activities -------------------------------------------------------------------------------------------------


async def count_remedied(activity: Activity[Deps], order: JobOrder) -> Repaired:
    """How many findings there are to repair; writes nothing."""
    del order
    deps, done, after = activity.deps, 0, reconciling.FIRST
    while page := await findings_remedied(deps.database, after, deps.terms.reconcile.page):
        done, after = done + len(page), page[-1].stored_id
    return Repaired(done=done)


async def carry_open(activity: Activity[Deps], order: JobOrder) -> Repaired:
    """Bring to an end whatever has been open for long."""
    done = await activity.deps.authorizations.repair()
    await progress(activity.deps.database, activity.deps.clock, order, done=done)
    return Repaired(done=done)


async def let_go_of(activity: Activity[Deps], order: JobOrder) -> Repaired:
    """Ask the processor once more about each finding, and do what it says."""
    deps, done, left, after = activity.deps, 0, 0, reconciling.FIRST
    while page := await findings_remedied(deps.database, after, deps.terms.reconcile.page):
        told = await deps.network.records([each.about for each in page], deps.clock.now())
        for each in page:
            repaired = await _let_go(deps, each, told.get(each.about))
            done, left = done + repaired, left + (not repaired)
        after = page[-1].stored_id
        await progress(deps.database, deps.clock, order, done=done)
    return Repaired(done=done, left=left)


async def _let_go(deps: Deps, found: StoredFinding, theirs: TheirRecord | None) -> bool:
    if found.authorization_id is None or (theirs is not None and theirs.state == UNDER_WAY):
        return False
    stands = stands_there(theirs)
    if not await deps.authorizations.relinquish(found.authorization_id, stands):
        return False
    row = (await authorization_store.load(deps.database, [found.authorization_id]))[found.authorization_id]
    why = f"{row.stands_minor} stand of it, as the processor says; it is {row.state.value}."
    await _closed(deps, [found], why)
    return True


async def _closed(deps: Deps, found: Sequence[StoredFinding], why: str) -> None:
    async def write(connection: Connection) -> None:
        await close_as(connection, found, BY, why, deps.clock.now())

    await deps.database.transaction(ROLE, write)
    wake(deps.database, SCHEMA.service)


async def count_standing(activity: Activity[Deps], order: JobOrder) -> Repaired:
    """How many authorizations stand; counts no further than a page."""
    del order
    deps = activity.deps
    before = deps.clock.now() - EXPIRES_AFTER
    limit = deps.terms.reconcile.page
    found = await authorization_store.standing_before(deps.database, before, authorization_store.OLDEST, limit)
    return Repaired(done=len(found))


async def expire_lapsed(activity: Activity[Deps], order: JobOrder) -> Repaired:
    """Look at everything that stands and was received more than a day ago."""
    deps = activity.deps
    done = await deps.authorizations.expire(deps.clock.now() - EXPIRES_AFTER)
    await progress(deps.database, deps.clock, order, done=done)
    return Repaired(done=done)
