"""`bench ledger`: how many exchanges a second the ledger acknowledges, and against what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from kessai.apps.bench.figures import Report, Rounds, Tally, report_of, together
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import Crowd, Touch
from kessai.apps.bench.options import Mode, Options, Steps
from kessai.apps.bench.peer import PEER
from kessai.apps.bench.program import first_finding
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.worker import FundMerchant, Load, OpenCustomers, Order, Post, start_ledger

CUSTOMERS = 10_000
WARM_TOUCHES_PER_ACCOUNT = 1
WARM_EXCHANGES_MAX = 200_000


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
            return await _grown(options, scene, steps)


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

        rounds = await _in_turns(
            options, steps, lambda seed: ledger.order(load(seed)), lambda _: peer.best_rate(options.stretch_s)
        )
    return report_of(
        rounds,
        name="ledger",
        mode=f"single --clients {options.clients}" if single else "bulk",
        latency_of="one call" if single else f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer=PEER,
        finding=await _verified(steps, dsn),
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

        rounds = await _in_turns(
            options, steps, lambda seed: load(Touch.CHECKED, seed), lambda seed: _rate(load(Touch.UNIFORM, seed))
        )
    return report_of(
        rounds,
        name="ledger",
        mode="hot",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="uniform bulk of the same run",
        finding=await _verified(steps, dsn),
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

            rounds = await _in_turns(options, steps, all_of_them, lambda seed: _rate(load(0, Touch.UNIFORM, seed)))
    finally:
        await asyncio.gather(*(ledger.close() for ledger in ledgers))
    return report_of(
        rounds,
        name="ledger",
        mode=f"hot --processes {options.processes}",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="uniform bulk of one process in the same run",
        finding=await _verified(steps, dsn),
        sizes={"accounts": CUSTOMERS * options.processes, "batch": options.batch, "processes": options.processes},
    )


async def _grown(options: Options, scene: Scene, steps: Steps) -> Report:
    """A ledger with many accounts and a long history against an empty one, with the same mix of touches in both."""
    everyone, few = Crowd(0, options.accounts), Crowd(0, CUSTOMERS)
    grown_dsn, empty_dsn = await scene.platform_database("grown"), await scene.platform_database("empty")
    async with start_ledger(empty_dsn) as empty:
        await empty.order(OpenCustomers(few))
        steps.next(f"growing to {options.accounts:,} accounts and {options.logs:,} logs")
        async with start_ledger(grown_dsn) as ledger:
            await ledger.order(OpenCustomers(everyone))
            # Each exchange leaves two logs, the opening credits included.
            history = max(0, options.logs // 2 - options.accounts)
            await ledger.order(Post(Touch.UNIFORM, everyone, history, seed=1))
        async with start_ledger(grown_dsn) as ledger, MemoryWatch(lambda: [ledger.pid]) as memory:
            halves: dict[Touch, Rounds] = {}
            for touch in (Touch.UNIFORM, Touch.SKEWED):
                halves[touch] = await _half(options, scene, steps, touch, (ledger, everyone), (empty, few))
    uniform, skewed = halves[Touch.UNIFORM], halves[Touch.SKEWED]
    return report_of(
        uniform,
        name="ledger",
        mode="grown",
        latency_of=f"a batch of {options.batch}",
        rss_mb=memory.peak_mb,
        peer="an empty ledger in the same run, the same mix of touches",
        finding=await _verified(steps, grown_dsn, empty_dsn),
        sizes={
            "accounts": options.accounts,
            "logs": 2 * (history + options.accounts),
            "busy_accounts": int(options.accounts * 0.05),
            "empty_accounts": CUSTOMERS,
            "batch": options.batch,
        },
        extra={
            "uniform_rate": uniform.rate,
            "uniform_peer_rate": uniform.peer_rate,
            "uniform_ratio": uniform.ratio,
            "skewed_rate": skewed.rate,
            "skewed_peer_rate": skewed.peer_rate,
            "skewed_ratio": skewed.ratio,
        },
    )


Side = tuple[Spawned[Order, Tally], Crowd]


async def _half(
    options: Options,
    scene: Scene,
    steps: Steps,
    touch: Touch,
    grown: Side,
    empty: Side,
) -> Rounds:
    """Grown and empty in turns under one kind of touch, each warmed by it first as a running server would be."""

    def load(side: Side, seed: int) -> Awaitable[Tally]:
        ledger, crowd = side
        order = Load(touch, crowd, seconds=options.stretch_s / 2, seed=seed, batch=options.batch)
        return ledger.order(order)

    for ledger, crowd in (grown, empty):
        warm = min(WARM_EXCHANGES_MAX, crowd.count * WARM_TOUCHES_PER_ACCOUNT)
        await ledger.order(Post(touch, crowd, warm, seed=2))
    await scene.settle()
    return await _in_turns(options, steps, lambda seed: load(grown, seed), lambda seed: _rate(load(empty, seed)))


async def _rate(load: Awaitable[Tally]) -> float:
    return (await load).rate


async def _in_turns(
    options: Options,
    steps: Steps,
    ours: Callable[[int], Awaitable[Tally]],
    peer: Callable[[int], Awaitable[float]],
) -> Rounds:
    """Ours, peer, ours, peer …, each with a seed of its own."""
    rounds = Rounds()
    for number in range(options.rounds):
        steps.next(f"round {number + 1}: ours")
        rounds.ours.append(await ours(1000 * (number + 1)))
        steps.next(f"round {number + 1}: peer")
        rounds.peers.append(await peer(1000 * (number + 1) + 500))
    return rounds


async def _verified(steps: Steps, *dsns: str) -> str | None:
    steps.next("kessai verify")
    for dsn in dsns:
        if (finding := await first_finding(dsn)) is not None:
            return finding
    return None
