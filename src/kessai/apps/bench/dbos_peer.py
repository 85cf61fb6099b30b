"""The peer of `bench workflow`: DBOS with the same four steps, in a process of its own.

DBOS is no dependency of the platform: `make bench-deps` installs it, hash-pinned, beside it. Its synchronous variant is
called from as many threads as there are clients, its asynchronous one from as many tasks; the better one counts.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any, Literal

import uvloop

from kessai.apps.bench.errand import RESULT, STEPS
from kessai.apps.bench.figures import Tally
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.foundation.errors import OperatorError

POOL_SIZE = 20
"""Connections of its pool; more of them made it slower where it was tried."""

Variant = Literal["sync", "async"]


@dataclass(frozen=True, slots=True)
class RunPeer:
    """Run workflows for `seconds` from `clients` threads or tasks."""

    variant: Variant
    clients: int
    seconds: float


def require_dbos() -> str:
    """The peer's name with its version; OperatorError where it is not installed."""
    if importlib.util.find_spec("dbos") is None:
        raise OperatorError("bench workflow compares with DBOS, which is not installed: make bench-deps installs it.")
    return f"DBOS {version('dbos')}"


def start_dbos(dsn: str) -> Spawned[RunPeer, Tally]:
    """A process with DBOS on an empty database."""
    return Spawned(_serve, dsn)


def _serve(dsn: str, pipe: Connection) -> None:
    uvloop.run(_work(dsn, pipe))


async def _work(dsn: str, pipe: Connection) -> None:
    dbos: Any = importlib.import_module("dbos")
    dbos.DBOS(
        config={
            "name": "bench",
            "system_database_url": dsn,
            "sys_db_pool_size": POOL_SIZE,
            "log_level": "ERROR",
            "enable_otlp": False,
        }
    )
    flows = {"sync": _sync_flow(dbos.DBOS), "async": _async_flow(dbos.DBOS)}
    await asyncio.to_thread(dbos.DBOS.launch)
    try:
        await follow_orders(pipe, lambda order: _carry_out(flows, order))
    finally:
        await asyncio.to_thread(dbos.DBOS.destroy)


def _sync_flow(dbos: Any) -> Callable[[], int]:
    @dbos.step()
    def step(number: int) -> int:
        return number

    @dbos.workflow()
    def errand() -> int:
        return sum([step(number) for number in range(1, STEPS + 1)])

    return errand


def _async_flow(dbos: Any) -> Callable[[], Awaitable[int]]:
    @dbos.step()
    async def step_async(number: int) -> int:
        return number

    @dbos.workflow()
    async def errand_async() -> int:
        return sum([await step_async(number) for number in range(1, STEPS + 1)])

    return errand_async


async def _carry_out(flows: dict[str, Any], order: RunPeer) -> Tally:
    tally = Tally()
    started = time.perf_counter()
    until = started + order.seconds
    if order.variant == "sync":
        await _threads(flows["sync"], order.clients, until, tally)
    else:
        await asyncio.gather(*(_task(flows["async"], until, tally) for _ in range(order.clients)))
    tally.elapsed_s = time.perf_counter() - started
    tally.acknowledged = len(tally.latencies_ms)
    return tally


async def _threads(flow: Callable[[], int], clients: int, until: float, tally: Tally) -> None:
    def caller() -> None:
        while (sent := time.perf_counter()) < until:
            _count(flow(), sent, tally)

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(clients) as threads:
        await asyncio.gather(*(loop.run_in_executor(threads, caller) for _ in range(clients)))


async def _task(flow: Callable[[], Awaitable[int]], until: float, tally: Tally) -> None:
    while (sent := time.perf_counter()) < until:
        _count(await flow(), sent, tally)


def _count(result: int, sent: float, tally: Tally) -> None:
    assert result == RESULT
    tally.latencies_ms.append((time.perf_counter() - sent) * 1e3)  # each latency is one workflow done
