"""`bench ledger --mode grown`: a ledger with many accounts and a long history against an empty one."""

from __future__ import annotations

import time
from collections.abc import Awaitable

from kessai.apps.bench.figures import Report, Rounds, Tally, report_of
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import SKEWED_ACCOUNTS, Crowd, Touch
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.preload import preload
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.turns import in_turns, rate_of, verified
from kessai.apps.bench.worker import Load, OpenCustomers, Order, Post, start_ledger

CUSTOMERS_OF_EMPTY = 10_000
WARM_EXCHANGES_MAX = 200_000

Side = tuple[Spawned[Order, Tally], Crowd]


async def bench_grown(options: Options, scene: Scene, steps: Steps) -> Report:
    """The same mix of touches on both, uniform and skewed, in turns."""
    busy = int(options.accounts * SKEWED_ACCOUNTS)
    everyone, few = Crowd(0, options.accounts, busy), Crowd(0, CUSTOMERS_OF_EMPTY)
    as_busy = Crowd(0, CUSTOMERS_OF_EMPTY + busy, busy)
    grown_dsn, empty_dsn = await scene.platform_database("grown"), await scene.platform_database("empty")
    steps.next(f"growing to {options.accounts:,} accounts and {options.logs:,} logs")
    started = time.perf_counter()
    logs = await preload(grown_dsn, options.accounts, options.logs, steps.part)
    preload_s = time.perf_counter() - started
    await scene.vacuum(grown_dsn)
    async with start_ledger(empty_dsn) as empty, start_ledger(grown_dsn) as grown:
        await empty.order(OpenCustomers(few))
        async with MemoryWatch(lambda: [grown.pid]) as memory:
            uniform = await _half(options, scene, steps, Touch.UNIFORM, ((grown, everyone), (empty, few)))
            # The same mix in both: as many busy accounts in the empty ledger as in the grown one, but no history.
            await empty.order(OpenCustomers(Crowd(few.count, busy)))
            skewed = await _half(options, scene, steps, Touch.SKEWED, ((grown, everyone), (empty, as_busy)))
    started = time.perf_counter()
    finding = await verified(steps, grown_dsn, empty_dsn)
    return report_of(
        uniform,
        name="ledger",
        mode="grown",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="an empty ledger in the same run, the same mix of touches",
        finding=finding,
        sizes={
            "accounts": options.accounts,
            "logs": logs,
            "busy_accounts": busy,
            "empty_accounts": few.count,
            "empty_accounts_skewed": as_busy.count,
            "batch": options.batch,
        },
        extra={
            "preload_s": preload_s,
            "verify_s": time.perf_counter() - started,
            "uniform_rate": uniform.rate,
            "uniform_peer_rate": uniform.peer_rate,
            "uniform_ratio": uniform.ratio,
            "skewed_rate": skewed.rate,
            "skewed_peer_rate": skewed.peer_rate,
            "skewed_ratio": skewed.ratio,
        },
    )


async def _half(options: Options, scene: Scene, steps: Steps, touch: Touch, sides: tuple[Side, Side]) -> Rounds:
    """Grown and empty in turns under one kind of touch, each warmed by it first as a running server would be."""

    def load(side: Side, seed: int) -> Awaitable[Tally]:
        ledger, crowd = side
        order = Load(touch, crowd, seconds=options.stretch_s / 2, seed=seed, batch=options.batch)
        return ledger.order(order)

    steps.next(f"warming both, {touch} touches")
    # The checkpoint comes first: after it each page of the database is logged whole once, which is part of warming.
    await scene.settle()
    for ledger, crowd in sides:
        await ledger.order(Post(touch, crowd, min(WARM_EXCHANGES_MAX, crowd.count), seed=2))
    grown, empty = sides
    return await in_turns(options, steps, lambda seed: load(grown, seed), lambda seed: rate_of(load(empty, seed)))
