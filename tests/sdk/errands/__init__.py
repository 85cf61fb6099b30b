"""Errands of a tiny service: workflows that show what an engine of sagas can do, on the world of the shop."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from kessai.foundation.contract import Message
from kessai.foundation.errors import Refused
from kessai.sdk.workflow import Activity, Cancelled, Retry, SignalTimedOut, Workflow, Write, define
from tests.sdk.shop import EFFECT, INSERT
from tests.sdk.shop.workflows import Order, World, give_back, take

QUICK = Retry(delay_s=0.005, delay_s_max=0.01)


class Verdict(Message):
    """What somebody decided."""

    accepted: bool
    by: str = ""


def part(order: Order, amount: int) -> Order:
    """A share of an order."""
    return Order(order_id=order.order_id, amount=amount, steps=order.steps)


async def _branch(wf: Workflow[World], order: Order, number: int) -> int:
    first = await wf.activity(take, part(order, 10 * number), compensate=give_back, retry=QUICK)
    second = await wf.activity(take, part(order, 10 * number + 1), compensate=give_back, retry=QUICK)
    return first + second


@define("errand.branches")
async def branches(wf: Workflow[World], order: Order) -> list[int]:
    """Branches of several steps each, at the same time, between two steps of their own."""
    await wf.activity(take, part(order, 1), compensate=give_back)
    sums = await asyncio.gather(*(_branch(wf, order, n) for n in range(1, order.steps + 1)))
    await wf.activity(take, part(order, 2), compensate=give_back)
    return list(sums)


@define("errand.task_group")
async def task_group(wf: Workflow[World], order: Order) -> list[int]:
    """The same with a TaskGroup, and a branch within a branch."""

    async def nested(number: int) -> int:
        return sum(await asyncio.gather(_branch(wf, order, number), _branch(wf, order, number + 1)))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(nested(n)) for n in (1, 3)]
    return [task.result() for task in tasks]


@define("errand.sleeper")
async def sleeper(wf: Workflow[World], order: Order) -> list[str]:
    """Sleeps between its steps."""
    seen = [wf.now().isoformat()]
    for amount in range(1, order.steps + 1):
        await wf.sleep(timedelta(days=10))
        await wf.activity(take, part(order, amount), compensate=give_back)
        seen.append(wf.now().isoformat())
    await wf.sleep_until(wf.now())
    return seen


@define("errand.approval")
async def approval(wf: Workflow[World], order: Order) -> str:
    """Waits for a verdict, no longer than three days."""
    await wf.activity(take, order, compensate=give_back)
    wf.expose("stage", lambda: "waiting")
    try:
        verdict = await wf.receive("verdict", Verdict, within=timedelta(days=3))
    except SignalTimedOut:
        raise Refused("lapsed", "Nobody decided.") from None
    if not verdict.accepted:
        raise Refused("declined", "Declined.", by=verdict.by)
    await wf.activity(take, part(order, 7))
    return verdict.by


@define("errand.collector")
async def collector(wf: Workflow[World], order: Order) -> list[str]:
    """Takes as many signals as it has steps, of two names, in the order in which they came."""
    found: list[str] = []
    wf.expose("found", lambda: found)
    for _ in range(order.steps):
        name, value = await wf.receive_any({"yes": int, "no": int})
        found.append(f"{name}{value}")
    return found


@define("errand.ledger")
async def tally(wf: Workflow[World], order: Order) -> int:
    """Keeps a sum that is changed by updates, until one of them takes it to its amount."""
    total = 0
    wf.expose("total", lambda: total)
    while total < order.amount:
        update = await wf.update("add", int)
        if update.argument <= 0:
            await update.refuse(Refused("not_positive", "Add something."))
            continue
        total += update.argument
        await wf.activity(take, part(order, total))
        await update.answer(total)
    return total


@define("errand.parent")
async def parent(wf: Workflow[World], order: Order) -> list[int]:
    """Two children at once, after a step of its own."""
    await wf.activity(take, part(order, 1), compensate=give_back)
    return list(await asyncio.gather(*(wf.child(errand_child, part(order, n)) for n in (2, 3))))


@define("errand.child")
async def errand_child(wf: Workflow[World], order: Order) -> int:
    """One step; waits when it is told to."""
    taken = await wf.activity(take, order, compensate=give_back, retry=QUICK)
    if order.steps == 99:
        await wf.sleep(timedelta(days=1))
    return taken


@define("errand.pivoting")
async def pivoting(wf: Workflow[World], order: Order) -> int:
    """Past its second step there is no way back."""
    await wf.activity(take, part(order, 1), compensate=give_back)
    await wf.activity(take, part(order, 2), pivot=True)
    return await wf.activity(take, part(order, 3), retry=QUICK)


@define("errand.careful_cancel")
async def tidies(wf: Workflow[World], order: Order) -> str:
    """Minds that it is cancelled, and goes on to its own end."""
    await wf.activity(take, part(order, 1), compensate=give_back)
    try:
        await wf.sleep(timedelta(days=1))
    except Cancelled:
        await wf.compensate()
        await wf.activity(take, part(order, 5))
        return "tidied"
    return "slept"


async def put(activity: Activity[World], argument: Order) -> int:
    """A row in the journal's own database."""
    await activity.connection.execute(EFFECT, argument.order_id)
    activity.deps.attempts[activity.key] += 1
    fault = activity.deps.faults.get("put")
    if fault:
        error = fault.pop(0)
        if error is not None:
            raise error
    return argument.amount


@define("errand.rows")
async def rows_in_transactions(wf: Workflow[World], order: Order) -> int:
    """Rows that are written exactly once, among steps that are not."""
    total = 0
    for amount in range(1, order.steps + 1):
        named = Order(order_id=f"{order.order_id}-{amount}", amount=amount)
        total += await wf.activity(put, named, tx=True, retry=QUICK)
        wf.record(Write(INSERT, (f"{order.order_id}-{amount}", "SEEN")))
        total += await wf.activity(take, named)
    return total


async def crawl(activity: Activity[World], argument: Order) -> int:
    """Goes through its steps one by one, and stalls where the world's gate is shut."""
    start = activity.progress(int) or 0
    for step in range(start, argument.steps):
        activity.deps.attempts[f"{activity.key}#{step}"] += 1
        activity.heartbeat(step)
        if step == argument.amount and activity.deps.gate is not None:
            await activity.deps.gate.wait()
        await asyncio.sleep(0.001)
        if activity.cancelling:
            raise Refused("stopped_early", "It was asked to stop.")
    return start


@define("errand.long")
async def long_errand(wf: Workflow[World], order: Order) -> int:
    """One activity that takes long."""
    return await wf.activity(crawl, order, heartbeat_s=0.1, retry=QUICK)


@define("errand.three")
async def three(wf: Workflow[World], order: Order) -> int:
    """Three steps that can be undone."""
    return sum([await wf.activity(take, part(order, n), compensate=give_back, retry=QUICK) for n in (1, 2, 3)])


@define("errand.tagged")
async def tagged(wf: Workflow[World], order: Order) -> str:
    """Can be found by what it is about."""
    wf.set_attributes(order=order.order_id, amount=order.amount)
    await wf.activity(take, order)
    wf.set_attributes(amount=order.amount + 1)
    return order.order_id


CHANGED = {"patched": False, "renamed": False}
"""Whether the code of `changing` is that of today."""


async def weigh(activity: Activity[World], argument: Order) -> int:
    """A step that came later."""
    return await take(activity, argument)


@define("errand.changing")
async def changing(wf: Workflow[World], order: Order) -> str:
    """Code that changes while runs are open."""
    await wf.activity(take, part(order, 1))
    if CHANGED["renamed"]:
        await wf.activity(weigh, part(order, 2))
        return "renamed"
    if CHANGED["patched"] and wf.patched("weigh-first"):
        await wf.activity(weigh, part(order, 9))
    await wf.activity(take, part(order, 2))
    return "new" if CHANGED["patched"] and wf.patched("weigh-first") else "old"


@define("errand.too_large")
async def too_large(wf: Workflow[World], order: Order) -> int:
    """Hands over more than a payload may hold."""
    await wf.activity(take, order)
    return await wf.activity(take, Order(order_id="x" * order.amount))
