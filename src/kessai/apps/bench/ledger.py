"""`bench ledger`: how many exchanges a second the ledger acknowledges, and against what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from kessai.apps.bench.figures import Report, Tally, report_of, together
from kessai.apps.bench.grown import bench_grown
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import Crowd, Touch
from kessai.apps.bench.options import Mode, Options, Steps
from kessai.apps.bench.peer import PEER
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.turns import in_turns, rate_of, verified
from kessai.apps.bench.worker import FundMerchant, Load, OpenCustomers, Order, start_ledger

CUSTOMERS = 10_000


async def bench_ledger(options: Options, scene: Scene, steps: Steps) -> Report:
    """Measure the ledger in one of its modes."""
    match options.mode:
        case Mode.BULK | Mode.SINGLE:
            return await _against_pgbench(options, scene, steps)
        case Mode.HOT if options.processes > 1:
            return await _side_by_side(options, scene, steps)
        case Mode.HOT:
            return await _checked_account(options, scene, steps)
        case Mode.GROWN:
            return await bench_grown(options, scene, steps)
        case Mode.RECOVERY:
            raise AssertionError("a mode of another measurement")


async def _against_pgbench(options: Options, scene: Scene, steps: Steps) -> Report:
    """Uniform pairs of 10,000 customers, in batches or one by one; the peer is pgbench."""
    crowd, single = Crowd(0, CUSTOMERS), options.mode is Mode.SINGLE
    dsn = await scene.platform_database("ledger")
    async with start_ledger(dsn) as ledger, MemoryWatch(lambda: [ledger.pid]) as memory:
        steps.next("preparing both sides")
        _, peer = await asyncio.gather(ledger.order(OpenCustomers(crowd)), scene.pgbench())
        await scene.settle()

        def load(seed: int) -> Order:
            return Load(
                Touch.UNIFORM,
                crowd,
                seconds=options.stretch_s,
                seed=seed,
                batch=0 if single else options.batch,
                clients=options.clients if single else 0,
            )

        rounds = await in_turns(
            options, steps, lambda seed: ledger.order(load(seed)), lambda _: peer.best_rate(options.stretch_s)
        )
    return report_of(
        rounds,
        name="ledger",
        mode=f"single --clients {options.clients}" if single else "bulk",
        latency_of="one call" if single else f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer=PEER,
        finding=await verified(steps, dsn),
        sizes={"accounts": CUSTOMERS} | ({} if single else {"batch": options.batch}),
    )


async def _checked_account(options: Options, scene: Scene, steps: Steps) -> Report:
    """Every exchange touches one account whose balance is checked; the peer is the uniform rate of the same run."""
    crowd = Crowd(0, CUSTOMERS)
    dsn = await scene.platform_database("ledger")
    async with start_ledger(dsn) as ledger, MemoryWatch(lambda: [ledger.pid]) as memory:
        steps.next("preparing")
        await ledger.order(OpenCustomers(crowd))
        await ledger.order(FundMerchant())
        await scene.settle()

        def load(touch: Touch, seed: int) -> Awaitable[Tally]:
            return ledger.order(Load(touch, crowd, seconds=options.stretch_s, seed=seed, batch=options.batch))

        rounds = await in_turns(
            options, steps, lambda seed: load(Touch.CHECKED, seed), lambda seed: rate_of(load(Touch.UNIFORM, seed))
        )
    return report_of(
        rounds,
        name="ledger",
        mode="hot",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="uniform bulk of the same run",
        finding=await verified(steps, dsn),
        sizes={"accounts": CUSTOMERS, "batch": options.batch},
    )


async def _side_by_side(options: Options, scene: Scene, steps: Steps) -> Report:
    """Several server processes pay into one log-only account; the peer is one process's uniform rate."""
    crowds = [Crowd(number * CUSTOMERS, CUSTOMERS) for number in range(options.processes)]
    dsn = await scene.platform_database("ledger")
    ledgers = [start_ledger(dsn) for _ in crowds]
    try:
        async with MemoryWatch(lambda: [ledger.pid for ledger in ledgers]) as memory:
            steps.next("preparing")
            for ledger, crowd in zip(ledgers, crowds, strict=True):
                await ledger.order(OpenCustomers(crowd))
            await scene.settle()

            def load(number: int, touch: Touch, seed: int) -> Awaitable[Tally]:
                order = Load(touch, crowds[number], seconds=options.stretch_s, seed=seed, batch=options.batch)
                return ledgers[number].order(order)

            async def all_of_them(seed: int) -> Tally:
                loads = [load(number, Touch.LOG_ONLY, seed + number) for number in range(len(ledgers))]
                return together(list(await asyncio.gather(*loads)))

            rounds = await in_turns(options, steps, all_of_them, lambda seed: rate_of(load(0, Touch.UNIFORM, seed)))
    finally:
        await asyncio.gather(*(ledger.close() for ledger in ledgers))
    return report_of(
        rounds,
        name="ledger",
        mode=f"hot --processes {options.processes}",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="uniform bulk of one process in the same run",
        finding=await verified(steps, dsn),
        sizes={"accounts": CUSTOMERS * options.processes, "batch": options.batch, "processes": options.processes},
    )
