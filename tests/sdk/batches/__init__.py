"""Dated jobs of the tiny service: one that counts, with a world in which a test sets what goes wrong."""

from __future__ import annotations

from datetime import date, timedelta

from kessai.foundation.contract import Message
from kessai.foundation.errors import Refused
from kessai.sdk.jobs import DatedJob, JobDone, JobOrder
from kessai.sdk.workflow import Activity, Workflow, define
from tests.sdk.shop.workflows import World

PARTS = 3


class Part(Message):
    """One page of a job's work."""

    order: JobOrder
    number: int


async def work(activity: Activity[World], part: Part) -> int:
    """Take effect once, unless the run is dry."""
    if part.order.dry_run:
        return 1
    await activity.deps.take(activity.key, 1)
    return 1


@define("shop.count")
async def count(wf: Workflow[World], order: JobOrder) -> JobDone:
    """Three pages of work."""
    done = 0
    for number in range(1, PARTS + 1):
        done += await wf.activity(work, Part(order=order, number=number))
    return JobDone(done=done, note="counted")


@define("shop.pack")
async def pack(wf: Workflow[World], order: JobOrder) -> JobDone:
    """One page; refused while the world says so."""
    return JobDone(done=await wf.activity(pack_once, Part(order=order, number=1)))


async def pack_once(activity: Activity[World], part: Part) -> int:
    """Take effect once; the fault of `pack` is of this one."""
    faults = activity.deps.faults.get("pack")
    if faults and (fault := faults.pop(0)) is not None:
        raise fault
    await activity.deps.take(f"pack:{part.order.day}", 1)
    return 1


async def first_sweep(world: World, since: date, until: date) -> date | None:
    """The first day of the range that the world names as one with work."""
    world.asked += 1
    return min((day for day in world.busy if since <= day <= until), default=None)


async def close_unswept(world: World, since: date, until: date) -> None:
    """Keep every day of the range as one on which there was nothing to do."""
    world.closed += [since + timedelta(days=number) for number in range((until - since).days + 1)]


COUNT = DatedJob(name="shop.count", summary="count", definition=count, at="00:30", days_back=1)
PACK = DatedJob(name="shop.pack", summary="pack", definition=pack, at="09:00", business_days=True)
SWEEP = DatedJob(
    name="shop.sweep",
    summary="sweep",
    definition=count,
    at="01:00",
    days_back=1,
    first_busy=first_sweep,
    pass_over=close_unswept,
)
REFUSED = Refused("shop_closed", "The shop is closed.")

__all__ = ["COUNT", "PACK", "PARTS", "REFUSED", "SWEEP"]
