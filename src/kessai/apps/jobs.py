"""Batches by name: run from the command line, by the scheduler, and at once when the sandbox's clock moves.

Those of this module are for no day in particular; those with a run per business date are in `dated`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import structlog

from kessai.foundation.errors import OperatorError, PaymentError
from kessai.foundation.lease import Lease, hold
from kessai.services.bank.jobs import collect_results, repair_instructions, reseal_accounts
from kessai.services.books.jobs import accrue_month, learn_accounts, make_statutory_days, reconcile_books
from kessai.services.cardgateway.jobs import repair_cards
from kessai.services.payment.jobs import expire_authorizations, expire_orders, forget_codes, look_after_waiting
from kessai.services.sandbox.api import JobDone
from kessai.services.tracer.jobs import expire_processings, forget_evidence, forget_notices

if TYPE_CHECKING:
    from kessai.apps.wiring import Platform
    from kessai.sdk.jobs import JobRun

log = structlog.get_logger(__name__)

PERIOD_S = 30.0
"""How often the scheduler runs what may be due."""
PERIOD_S_MAX = 60.0
"""The same while its last turn found nothing to do."""
WITHIN_S = 10.0
"""How long whoever moves the sandbox's clock waits for what falls due, in real time."""
TURNS_OF_HOUSEKEEPING = 10
"""Of so many turns one runs housekeeping, too."""


@dataclass(frozen=True, slots=True)
class Job:
    """A batch that may be run at any time, by any process, again and again; gives how much it did."""

    run: Callable[[Platform], Awaitable[int]]
    summary: str
    housekeeping: bool = False
    """Whether nobody waits for it: the scheduler runs it in one of TURNS_OF_HOUSEKEEPING turns."""


async def _anchor(platform: Platform) -> int:
    await platform.ledger_jobs.anchor_seals()
    return 1


JOBS: Mapping[str, Job] = {
    "collect-bank-results": Job(lambda p: collect_results(p.bank), "read what became of transfers and debits"),
    "repair-bank": Job(lambda p: repair_instructions(p.bank), "ask the bank about what has no end"),
    "reseal-bank-accounts": Job(
        lambda p: reseal_accounts(p.bank), "seal under the newest key of the vault", housekeeping=True
    ),
    "repair-cards": Job(lambda p: repair_cards(p.cardgateway), "void authorizations on cards that nobody wants"),
    "look-after-waiting": Job(lambda p: look_after_waiting(p.payment), "ask what became of payments outside"),
    "expire-authorizations": Job(lambda p: expire_authorizations(p.payment), "release payments past their time"),
    "expire-orders": Job(lambda p: expire_orders(p.payment), "end orders that nobody confirmed in time"),
    "forget-codes": Job(
        lambda p: forget_codes(p.payment), "remove one-time codes that ran out unused", housekeeping=True
    ),
    "expire-exchanges": Job(lambda p: p.ledger_jobs.expire_exchanges(), "release holds past their time"),
    "expire-lots": Job(lambda p: p.ledger_jobs.expire_lots(), "post expired value to breakage (失効)"),
    "roll-up": Job(lambda p: p.ledger_jobs.roll_up(), "bring subtotals of log-only accounts up to date"),
    "expire-processings": Job(lambda p: expire_processings(p.tracer), "decide processings past their deadline"),
    "forget-notices": Job(
        lambda p: forget_notices(p.tracer), "remove what participants were told long ago", housekeeping=True
    ),
    "forget-evidence": Job(
        lambda p: forget_evidence(p.tracer), "delete what was kept as long as its class says", housekeeping=True
    ),
    "learn-accounts": Job(
        lambda p: learn_accounts(p.books), "take note of accounts that unposted events wait for", housekeeping=True
    ),
    "accrue-month": Job(
        lambda p: accrue_month(p.books), "book the accruals of the month that ended last", housekeeping=True
    ),
    "statutory-day": Job(
        lambda p: make_statutory_days(p.books), "make the statutory books of days that are over", housekeeping=True
    ),
    "reconcile-books": Job(
        lambda p: reconcile_books(p.books), "compare the books with every other service, once a day", housekeeping=True
    ),
    "retire-workflows": Job(lambda p: p.retention.run(), "forget, once a day, what workflows did long ago"),
    "anchor-seals": Job(_anchor, "bind the heads of all seal chains together", housekeeping=True),
}
"""In the order in which they run: payments let go of their holds before the ledger looks for what nobody released."""


def job_named(name: str) -> Job:
    """A job; OperatorError when there is none of that name."""
    if (job := JOBS.get(name)) is None:
        raise OperatorError(f"There is no job {name}; kessai job list names them.")
    return job


PROMPT = {name: job for name, job in JOBS.items() if not job.housekeeping}
HOUSEKEEPING = {name: job for name, job in JOBS.items() if job.housekeeping}


async def run_due(platform: Platform, *, housekeeping: bool = True) -> list[JobDone]:
    """Run every job in order, or all but housekeeping; one that fails does not keep the others from running."""
    done: list[JobDone] = []
    await _run_each(platform, JOBS if housekeeping else PROMPT, done)
    return done


async def _run_each(platform: Platform, jobs: Mapping[str, Job], done: list[JobDone]) -> None:
    for name, job in jobs.items():
        try:
            done.append(JobDone(name=name, done=await job.run(platform)))
        except PaymentError as error:
            log.warning("job_failed", job=name, error=str(error))
        except Exception:
            log.exception("job_failed", job=name)


class CatchingUp:
    """Runs what falls due when the clock has moved: jobs, the dated ones of each day that has passed, housekeeping.

    Whoever asks waits for so long at most. What is left goes on in the background; housekeeping that is still about an
    earlier move is not waited for.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._due = _Turns(self._run_what_is_due)
        self._housekeeping = _Turns(self._keep_house)
        self._done: list[JobDone] = []
        self._dated: list[JobRun] = []

    async def run(self, *, within_s: float = WITHIN_S) -> list[JobDone]:
        """Gives what came to its end within this time."""
        if self._due.idle and self._housekeeping.idle:
            self._done, self._dated = [], []
        undated, dated = len(self._done), len(self._dated)
        ends = asyncio.get_running_loop().time() + within_s
        await self._due.take(until=ends)
        waits = self._housekeeping.idle
        await self._housekeeping.take(until=ends if waits else 0)
        sums = Counter[str]()
        for run in self._dated[dated:]:
            sums[run.name] += run.done
        return [*self._done[undated:], *(JobDone(name=name, done=number) for name, number in sums.items())]

    async def is_behind(self) -> bool:
        """Whether anything that fell due is still to be run."""
        return not (self._due.idle and self._housekeeping.idle) or await self._platform.dated.is_behind()

    async def close(self) -> None:
        """Stop; runs that have begun are durable, and the scheduler goes on with the rest."""
        await self._due.close()
        await self._housekeeping.close()

    async def _run_what_is_due(self) -> None:
        await _run_each(self._platform, PROMPT, self._done)
        try:
            await self._platform.dated.run_due(at_once=True, ended=self._dated)
        except PaymentError as error:
            log.warning("dated_jobs_wait", error=str(error))
        except Exception:
            log.exception("dated_jobs_failed")

    async def _keep_house(self) -> None:
        await _run_each(self._platform, HOUSEKEEPING, self._done)


class _Turns:
    """Work that is done once more after whoever asked last, in the background."""

    def __init__(self, work: Callable[[], Awaitable[None]]) -> None:
        self._work = work
        self._again = False
        self._task: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being done."""
        return self._task is None or self._task.done()

    async def take(self, *, until: float) -> None:
        """Have it done, and wait for that until an instant of the loop's time."""
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._do())
        left_s = until - asyncio.get_running_loop().time()
        if left_s > 0:
            await asyncio.wait((self._task,), timeout=left_s)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _do(self) -> None:
        while self._again:
            self._again = False
            await self._work()


class Scheduler:
    """Runs the jobs every so often, in one process of all that share the database."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin in the background."""
        lease = Lease(self._platform.database, "payment", "scheduler")
        self._task = asyncio.create_task(hold(lease, self._work))

    async def close(self) -> None:
        """Stop, and let another process go on."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _work(self) -> None:
        """A dated job may take its time: the others go on beside it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_dated())
            group.create_task(self._keep_undated())

    async def _keep_undated(self) -> None:
        pause_s = PERIOD_S
        for turn in count(1):
            await asyncio.sleep(pause_s)
            done = await run_due(self._platform, housekeeping=turn % TURNS_OF_HOUSEKEEPING == 0)
            pause_s = PERIOD_S if any(each.done for each in done) else PERIOD_S_MAX

    async def _keep_dated(self) -> None:
        for turn in count(1):
            await asyncio.sleep(PERIOD_S)
            try:
                await self._platform.dated.run_due()
                if turn % TURNS_OF_HOUSEKEEPING == 0:
                    await self._platform.dated.settle()
            except PaymentError as error:
                log.warning("dated_jobs_wait", error=str(error))
            except Exception:
                log.exception("dated_jobs_failed")
