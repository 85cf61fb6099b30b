"""Workflows of the tiny service, and a world in which their activities take effect once per key."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import date

from kessai.foundation.call import current_call
from kessai.foundation.contract import Message
from kessai.foundation.errors import PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Activity, Conflicted, Retry, Workflow, Write, define
from tests.sdk.shop import INSERT, MOVE


class Order(Message):
    """What is bought."""

    order_id: str
    amount: int = 1
    steps: int = 3


class Receipt(Message):
    """What came of it."""

    order_id: str
    state: str
    parts: tuple[int, ...] = ()


class World:
    """The outside: each effect happens once per key; faults are set by a test."""

    def __init__(self) -> None:
        self.effects: dict[str, int] = {}
        """Amounts by activity key."""
        self.undone: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.faults: dict[str, list[PaymentError | None]] = {}
        """By the last part of a key: errors of the next attempts; Unknown is raised after the effect."""
        self.request_keys: dict[str, str | None] = {}
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()
        self.factor = 1
        self.on_attempt: Callable[[str], None] | None = None
        self.busy: set[date] = set()
        """Days on which there is something to sweep."""
        self.asked = 0
        """How often it was asked for the next of them."""
        self.closed: list[date] = []
        """Days that were passed over."""

    async def take(self, key: str, amount: int) -> None:
        """One effect, with the faults that are due."""
        self.attempts[key] += 1
        self.request_keys[key] = current_call().request_key
        self.entered.set()
        if self.on_attempt is not None:
            self.on_attempt(key)
        if self.gate is not None:
            await self.gate.wait()
        faults = self.faults.get(key.rsplit(":", 1)[-1])
        fault = faults.pop(0) if faults else None
        if fault is not None and not isinstance(fault, Unknown):
            raise fault
        self.effects.setdefault(key, amount)
        if fault is not None:
            raise fault


async def take(activity: Activity[World], argument: Order) -> int:
    """Take an amount; gives it."""
    await activity.deps.take(activity.key, argument.amount)
    return argument.amount * activity.deps.factor


async def give_back(activity: Activity[World], argument: Order) -> None:
    """Undo one taking, if it happened."""
    assert activity.undoes is not None
    await activity.deps.take(activity.key, -argument.amount)
    if activity.undoes not in activity.deps.undone:
        activity.deps.undone.append(activity.undoes)
    activity.deps.effects.pop(activity.undoes, None)
    activity.deps.effects.pop(activity.key, None)


@define("shop.buy")
async def buy(wf: Workflow[World], order: Order) -> Receipt:
    """One activity between two rows."""
    taken = await wf.activity(take, order)
    wf.record(Write(MOVE, (order.order_id, 1, "PAID"), guarded=True))
    receipt = Receipt(order_id=order.order_id, state="PAID", parts=(taken,))
    wf.publish("shop.bought", receipt)
    return receipt


@define("shop.saga")
async def saga(wf: Workflow[World], order: Order) -> Receipt:
    """Several compensable activities in a row."""
    parts: list[int] = []
    for amount in range(1, order.steps + 1):
        part = Order(order_id=order.order_id, amount=amount)
        parts.append(await wf.activity(take, part, compensate=give_back))
        wf.record(Write(MOVE, (order.order_id, amount, f"STEP{amount}"), guarded=True))
    return Receipt(order_id=order.order_id, state="DONE", parts=tuple(parts))


@define("shop.gather")
async def together(wf: Workflow[World], order: Order) -> Receipt:
    """Activities at the same time."""
    parts = await asyncio.gather(
        *(
            wf.activity(take, Order(order_id=order.order_id, amount=n), compensate=give_back)
            for n in range(1, order.steps + 1)
        )
    )
    return Receipt(order_id=order.order_id, state="DONE", parts=tuple(parts))


@define("shop.patient", deadline_s=0.2)
async def patient(wf: Workflow[World], order: Order) -> Receipt:
    """An activity that has little time."""
    try:
        await wf.activity(take, order, retry=Retry(delay_s=0.01, delay_s_max=0.02))
    except (Unavailable, Unknown) as error:
        return Receipt(order_id=order.order_id, state=error.code)
    return Receipt(order_id=order.order_id, state="PAID")


@define("shop.gives_up")
async def gives_up(wf: Workflow[World], order: Order) -> Receipt:
    """An activity that is tried twice only."""
    await wf.activity(take, order, compensate=give_back if order.amount > 1 else None)
    await wf.activity(take, order, retry=Retry(attempts_max=2, delay_s=0.01), deadline_s=0.2)
    return Receipt(order_id=order.order_id, state="PAID")


@define("shop.careful")
async def careful(wf: Workflow[World], order: Order) -> Receipt:
    """Makes its rows visible in between, and minds when they do not match."""
    wf.record(Write(MOVE, (order.order_id, 1, "STEP1"), guarded=True))
    await wf.activity(take, order)
    wf.record(Write(MOVE, (order.order_id, 2, "STEP2"), guarded=True))
    try:
        await wf.flush()
    except Conflicted:
        wf.record(Write(INSERT, (order.order_id + "-conflict", "SEEN"), guarded=True))
        await wf.activity(take, Order(order_id=order.order_id, amount=7))
        return Receipt(order_id=order.order_id, state="CONFLICTED")
    await wf.activity(take, Order(order_id=order.order_id, amount=8))
    return Receipt(order_id=order.order_id, state="DONE")


@define("shop.declines")
async def declines(wf: Workflow[World], order: Order) -> Receipt:
    """Undoes by itself, then refuses."""
    await wf.activity(take, order, compensate=give_back)
    await wf.compensate()
    wf.record(Write(MOVE, (order.order_id, 1, "REFUSED"), guarded=True))
    raise Refused("not_today", "Not today.", order_id=order.order_id)


@define("shop.broken")
async def broken(wf: Workflow[World], order: Order) -> Receipt:
    """Has a bug while the world's factor is 0."""
    taken = await wf.activity(take, order, compensate=give_back)
    world = wf._engine.deps  # pyright: ignore[reportPrivateUsage]  (a bug that an operator mends)
    return Receipt(order_id=order.order_id, state="PAID", parts=(taken // world.factor,))


@define("shop.times")
async def times(wf: Workflow[World], order: Order) -> list[str]:
    """Business time, as it is journalled."""
    seen = [wf.now().isoformat()]
    for _ in range(2):
        await wf.activity(take, order)
        seen.append(wf.now().isoformat())
    return seen
