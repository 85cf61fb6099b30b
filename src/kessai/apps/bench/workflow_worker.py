"""A process with a workflow engine in it, and the callers that load it from inside.

Its journal is in the payment service's schema, where nobody else is during the run.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from kessai.apps.bench.errand import HALF_WAY, STEPS, Deps, Errand, errand
from kessai.apps.bench.figures import Tally
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.apps.memory import settle_memory
from kessai.foundation.clock import SystemClock
from kessai.foundation.db import Database
from kessai.foundation.telemetry import configure_logging
from kessai.sdk.workflow import Engine

SERVICE = "payment"
STARTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Run:
    """Run workflows for `seconds` from `clients` callers, each beginning another one as soon as it has its result."""

    clients: int
    seconds: float
    name: str
    """What ids of this stretch begin with."""


@dataclass(frozen=True, slots=True)
class LeaveOpen:
    """Start `count` workflows and leave them in their middle."""

    count: int


@dataclass(frozen=True, slots=True)
class Done:
    """What was done by one order."""

    tally: Tally
    attempts: int
    """Of activities."""
    undone: int


def start_engine(dsn: str, *, lease_s: float) -> Spawned[Run | LeaveOpen, Done]:
    """A process with an engine on a database."""
    return Spawned(_serve, dsn, lease_s)


def _serve(dsn: str, lease_s: float, pipe: Connection) -> None:
    configure_logging(level="warning", form="text")
    uvloop.run(_work(dsn, lease_s, pipe))


async def _work(dsn: str, lease_s: float, pipe: Connection) -> None:
    database, deps = Database(dsn), Deps()
    engine = Engine(database, service=SERVICE, deps=deps, clock=SystemClock(), lease_s=lease_s)
    await engine.open()
    try:
        await follow_orders(pipe, lambda order: _carry_out(engine, deps, order))
    finally:
        await engine.close()
        await database.close()


async def _carry_out(engine: Engine[Deps], deps: Deps, order: Run | LeaveOpen) -> Done:
    deps.attempts.clear()
    match order:
        case Run():
            tally = await _run(engine, order)
        case LeaveOpen(count):
            deps.gate = asyncio.Event()
            tally = await _leave_open(engine, deps, count)
    return Done(tally, deps.attempts.total(), deps.undone)


async def _run(engine: Engine[Deps], order: Run) -> Tally:
    tally, begun = Tally(), 0
    settle_memory()
    started = time.perf_counter()
    until = started + order.seconds

    async def caller() -> None:
        nonlocal begun
        while (sent := time.perf_counter()) < until:
            begun += 1
            handle = await engine.start(errand, Errand(number=begun), workflow_id=f"{order.name}-{begun}")
            await handle.result()
            tally.latencies_ms.append((time.perf_counter() - sent) * 1e3)
            tally.acknowledged += 1

    await asyncio.gather(*(caller() for _ in range(order.clients)))
    tally.elapsed_s = time.perf_counter() - started
    return tally


async def _leave_open(engine: Engine[Deps], deps: Deps, count: int) -> Tally:
    """All of them started, and as far as they come; their results nobody waits for."""
    started = time.perf_counter()
    for first in range(0, count, STARTED_AT_ONCE):
        numbers = range(first, min(count, first + STARTED_AT_ONCE))
        await asyncio.gather(
            *(engine.start(errand, Errand(number=each), workflow_id=f"open-{each}") for each in numbers)
        )
    while deps.attempts[HALF_WAY] < count:  # noqa: ASYNC110  (counted by activities, which tell nobody)
        await asyncio.sleep(0.02)
    assert deps.attempts[STEPS] == 0
    return Tally(acknowledged=count, elapsed_s=time.perf_counter() - started)
