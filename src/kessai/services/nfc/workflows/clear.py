"""nfc.clear (売上確定): the processor's files are taken; line by line they are captured, charged and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog
from msgspec.structs import replace

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import wake
from kessai.foundation.ids import new_id
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.nfc.api.clearing import ClearingFileState, LineOutcome
from kessai.services.nfc.domain.clearing import Line
from kessai.services.nfc.domain.clearing_claims import Claim
from kessai.services.nfc.store import ROLE, SCHEMA
from kessai.services.nfc.store import clearing as store
from kessai.services.nfc.store.clearing import File
from kessai.services.nfc.workflows.deps import AWAY, Deps
from kessai.services.nfc.workflows.taking import offered, take_all

log = structlog.get_logger(__name__)
AT_ONCE = 16
"""Authorizations that are carried at the same time."""
FILES_MAX = 1_000
GOOD = (LineOutcome.MATCHED, LineOutcome.LOWER, LineOutcome.REFUNDED, LineOutcome.REVERSED)


class Took(Message, frozen=True):
    """What an activity came to."""

    files: int = 0
    lines: int = 0


class PageOrder(Message, frozen=True):
    """The next lines."""

    job: JobOrder
    done: int
    """Lines that this run decided so far."""


class Page(Message, frozen=True):
    """What became of them."""

    lines: int
    odd: int
    """Of them, findings."""
    waiting: int
    """Authorizations for which something is left to the repairer."""
    more: bool


@define("nfc.clear", version=1)
async def run_clear(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Take the files that are there, and decide every line that has no outcome yet."""
    if order.dry_run:
        due = await wf.activity(count_due, order, retry=AWAY)
        return JobDone(done=due.lines, note=f"{due.files} files would be taken; {due.lines} lines wait already.")
    taken = await wf.activity(take_files, order, retry=AWAY)
    lines, odd, waiting, more = 0, 0, 0, True
    while more:
        page = await wf.activity(clear_page, PageOrder(job=order, done=lines), retry=AWAY)
        lines, odd, waiting, more = lines + page.lines, odd + page.odd, waiting + page.waiting, page.more
    note = f"{taken.files} files, {lines} lines, {odd} findings among them"
    return JobDone(done=lines, note=f"{note}; {waiting} are left to the repairer." if waiting else f"{note}.")


# -- activities -------------------------------------------------------------------------------------------------


async def count_due(activity: Activity[Deps], order: JobOrder) -> Took:
    """How much there is to do; writes nothing."""
    del order
    deps = activity.deps
    there = await offered(deps)
    files = await store.files_in(deps.database, ClearingFileState.TAKEN, FILES_MAX)
    waiting = await store.undecided(deps.database, [each.file_id for each in files])
    return Took(files=len(there.new), lines=sum(waiting.values()))


async def take_files(activity: Activity[Deps], order: JobOrder) -> Took:
    """Take what the processor has; what was taken is not taken again."""
    return Took(files=await take_all(activity.deps, order.day))


async def clear_page(activity: Activity[Deps], order: PageOrder) -> Page:
    """Decide the next lines, in the order of files and lines, and do what follows from them."""
    deps = activity.deps
    files = await store.files_in(deps.database, ClearingFileState.TAKEN, 1)
    if not files:
        return Page(lines=0, odd=0, waiting=0, more=False)
    lines = await store.undecided_lines(deps.database, files[0].file_id, deps.terms.files.page)
    decided = await _decided(deps, lines)
    waiting = await carry_all(deps, {each for line in decided for each in line.touched})
    if len(lines) < deps.terms.files.page:
        await _finish(deps, files[0])
    done = order.done + len(lines)
    await progress(deps.database, deps.clock, order.job, done=done, total=None)
    odd = sum(each.outcome not in GOOD for each in decided)
    return Page(lines=len(lines), odd=odd, waiting=waiting, more=True)


async def _decided(deps: Deps, lines: Iterable[Line]) -> list[Line]:
    """All of them at once: they share flushes, and are decided in their order."""
    now, at, matching = deps.clock.now(), datetime.now(UTC), deps.terms.matching
    claims = [Claim(each, matching, new_id("prc"), now, at) for each in lines]
    return await asyncio.gather(*(deps.journal.submit(each) for each in claims))


async def carry_all(deps: Deps, authorization_ids: Iterable[str]) -> int:
    """Capture, charge and give back what the lines say; gives how many have to wait for the repairer."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(authorization_id: str) -> bool:
        async with gate:
            try:
                return await deps.authorizations.carry(authorization_id)
            except PaymentError as error:
                log.warning("clearing_waits", authorization_id=authorization_id, error=error.code)
                return False

    return sum(not done for done in await asyncio.gather(*map(one, sorted(authorization_ids))))


async def _finish(deps: Deps, file: File) -> None:
    """Every line of it has its outcome, unless another process is still at them."""

    async def work(connection: Connection) -> None:
        now = deps.clock.now()
        after = replace(file, state=ClearingFileState.CLEARED, cleared_at=now, version=file.version + 1)
        await store.write_file(connection, after, [], None, now)

    if not await store.undecided(deps.database, [file.file_id]):
        await deps.database.transaction(ROLE, work)
        wake(deps.database, SCHEMA.service)
