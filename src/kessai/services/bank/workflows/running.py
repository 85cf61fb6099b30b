"""The dated jobs' workflows: bank.send, bank.results, bank.statement. Each may be run again, and finds what is left."""

from __future__ import annotations

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import wake
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Retry, Workflow, define
from kessai.services.bank import store
from kessai.services.bank.api import FileState
from kessai.services.bank.domain import UNSENT
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.hearing import collect_files, count_told, recover_results
from kessai.services.bank.workflows.making import KINDS, Made, MakingOrder, count_due, day_of, make_file, tell_progress
from kessai.services.bank.workflows.recalling import ask_again
from kessai.services.bank.workflows.sending import FileOrder, discard, send_file

AWAY = Retry(delay_s=0.5, delay_s_max=10.0)
"""While the bank is away, a job waits."""


class Counted(Message, frozen=True):
    """How much an activity did."""

    done: int = 0


class Approved(Message, frozen=True):
    """Files that are to be sent."""

    files: list[FileOrder]


@define("bank.send", version=1)
async def run_send(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Make the files of the days whose cut-off falls on the date, and send what is approved already."""
    if order.dry_run:
        due = await wf.activity(count_due, order)
        return JobDone(done=due.lines, note=f"{due.lines} instructions would go into files.")
    discarded = await wf.activity(discard_stale, order, tx=True)
    lines, failed, files = 0, 0, 0
    for kind in KINDS:
        made = Made(more=True)
        while made.more:
            made = await wf.activity(make_file, MakingOrder(job=order, kind=kind, made=lines), tx=True)
            lines, failed, files = lines + made.lines, failed + made.failed, files + (made.file_id is not None)
            await wf.activity(tell_progress, MakingOrder(job=order, kind=kind, made=lines))
    approved = await wf.activity(list_approved, order)
    for each in approved.files:
        await wf.child(send_file, each, workflow_id=each.file_id, abandon=True)
    note = f"{files} files of {lines} lines made; {failed} instructions cannot be written"
    return JobDone(done=lines, note=f"{note}; {discarded.done} files given up.")


@define("bank.results", version=1)
async def run_results(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Read what the bank tells of files to its end."""
    if order.dry_run:
        told = await wf.activity(count_results, order, retry=AWAY)
        return JobDone(done=told.done, note=f"{told.done} entries would be read.")
    heard = await wf.activity(hear_results, order, retry=AWAY)
    return JobDone(done=heard.done, note=f"{heard.done} entries were new.")


# -- activities -------------------------------------------------------------------------------------------------


async def discard_stale(activity: Activity[Deps], order: JobOrder) -> Counted:
    """Give up files that were not approved before the next ones are made: what is in them goes into those."""
    deps, now, done = activity.deps, activity.deps.clock.now(), 0
    for file in await file_store.unsent_files(activity.connection):
        day = day_of(deps, file.kind, order.day)
        if day is None or file.state not in UNSENT or file.transfer_on >= day:
            continue
        if not await discard(activity.connection, file, day, caller=store.SCHEMA.service, code="late", now=now):
            raise Unavailable("contention", "A file was changed meanwhile; try again.")
        done += 1
    if done:
        wake(deps.database, store.SCHEMA.service)
    return Counted(done=done)


async def list_approved(activity: Activity[Deps], order: JobOrder) -> Approved:
    """Files that are approved, or of which it is not known that the bank has them; whoever sends them does so once."""
    del order

    async def read(connection: Connection) -> list[FileOrder]:
        files = await file_store.unsent_files(connection)
        ready = (each for each in files if each.state in (FileState.APPROVED, FileState.SENDING))
        return [FileOrder(file_id=each.file_id, content_sha256=each.content_sha256) for each in ready]

    return Approved(files=await activity.deps.database.transaction(store.ROLE, read))


async def hear_results(activity: Activity[Deps], order: JobOrder) -> Counted:
    """Read on; what an earlier attempt has read is not read again."""
    deps = activity.deps
    heard = await collect_files(deps)
    heard += await recover_results(deps, order.day)
    await ask_again(deps)
    await progress(deps.database, deps.clock, order, done=heard, total=heard)
    return Counted(done=heard)


async def count_results(activity: Activity[Deps], order: JobOrder) -> Counted:
    """How much there is to read; writes nothing."""
    del order
    return Counted(done=await count_told(activity.deps))
