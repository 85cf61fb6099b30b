"""The jobs of cards: nfc.issue (発行依頼), nfc.import (取込), nfc.reseal, nfc.devices; each calls what verbs call."""

from __future__ import annotations

from kessai.foundation.contract import Message
from kessai.foundation.db import Connection
from kessai.sdk.jobs import JobDone, JobOrder, progress
from kessai.sdk.workflow import Activity, Workflow, define
from kessai.services.nfc.api import GetPool
from kessai.services.nfc.store import ROLE, pool
from kessai.services.nfc.workflows.deps import AWAY, Deps

BATCHES_COUNTED_MAX = 1_000


class Did(Message, frozen=True):
    """How much an activity did, or would do."""

    done: int = 0


@define("nfc.issue", version=1)
async def run_issue(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Ask the issuer for what a pool that runs low lacks."""
    if order.dry_run:
        due = await wf.activity(count_lacking, order)
        return JobDone(done=due.done, note=f"The pool is {due.done} cards below its low-water mark.")
    asked = await wf.activity(replenish, order, retry=AWAY)
    return JobDone(done=asked.done, note=f"{asked.done} cards asked for." if asked.done else "The pool is full enough.")


@define("nfc.import", version=1)
async def run_import(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Take the issuer's files that are there into the pool."""
    if order.dry_run:
        due = await wf.activity(count_batches, order)
        return JobDone(done=due.done, note=f"{due.done} batches are not finished.")
    came = await wf.activity(import_issued, order, retry=AWAY)
    return JobDone(done=came.done, note=f"{came.done} cards came into the pool.")


@define("nfc.reseal", version=1)
async def run_reseal(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Seal anew what lies under an old key of the vault."""
    if order.dry_run:
        return JobDone(done=0, note="What lies under an old key would be sealed anew.")
    sealed = await wf.activity(reseal, order)
    return JobDone(done=sealed.done, note=f"{sealed.done} values sealed anew.")


@define("nfc.devices", version=1)
async def run_devices(wf: Workflow[Deps], order: JobOrder) -> JobDone:
    """Go on with what the token service has not confirmed, and take over what changed there."""
    if order.dry_run:
        return JobDone(done=0, note="The token service would be asked about what is pending, and for what changed.")
    settled = await wf.activity(settle_devices, order, retry=AWAY)
    heard = await wf.activity(hear_devices, order, retry=AWAY)
    return JobDone(done=settled.done + heard.done, note=f"{settled.done} devices gone on with, {heard.done} changed.")


# -- activities -------------------------------------------------------------------------------------------------


async def count_lacking(activity: Activity[Deps], order: JobOrder) -> Did:
    """By how much the pool is too low; writes nothing."""
    del order
    standing = await activity.deps.cards.get_pool(GetPool())
    return Did(done=max(0, standing.low_water - standing.free - standing.on_order))


async def replenish(activity: Activity[Deps], order: JobOrder) -> Did:
    """The day's batch: however often, it is one."""
    batch = await activity.deps.cards.replenish(order.day)
    return await _did(activity, order, 0 if batch is None else batch.count)


async def count_batches(activity: Activity[Deps], order: JobOrder) -> Did:
    """How many batches are not finished; writes nothing."""
    del order

    async def read(connection: Connection) -> int:
        return len(await pool.batches_open(connection, pool.FIRST, BATCHES_COUNTED_MAX))

    return Did(done=await activity.deps.database.transaction(ROLE, read))


async def import_issued(activity: Activity[Deps], order: JobOrder) -> Did:
    """Carry every batch as far as it will go."""
    return await _did(activity, order, await activity.deps.cards.import_open())


async def reseal(activity: Activity[Deps], order: JobOrder) -> Did:
    """Whatever does not lie under the newest key."""
    return await _did(activity, order, await activity.deps.cards.reseal())


async def settle_devices(activity: Activity[Deps], order: JobOrder) -> Did:
    """What is pending."""
    return await _did(activity, order, await activity.deps.cards.settle_devices())


async def hear_devices(activity: Activity[Deps], order: JobOrder) -> Did:
    """What changed."""
    return await _did(activity, order, await activity.deps.cards.hear_devices())


async def _did(activity: Activity[Deps], order: JobOrder, done: int) -> Did:
    await progress(activity.deps.database, activity.deps.clock, order, done=done)
    return Did(done=done)
