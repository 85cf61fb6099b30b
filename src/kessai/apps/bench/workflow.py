"""`bench workflow`: four trivial activities through the full engine, against DBOS; `--mode recovery`: after a kill."""

from __future__ import annotations

import asyncio
import os
import time

import asyncpg

from kessai.apps.bench.dbos_peer import RunPeer, Variant, require_dbos, start_dbos
from kessai.apps.bench.errand import RESULT, STEPS
from kessai.apps.bench.figures import Report, Rounds, Tally, percentile, report_of
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.options import Mode, Options, Steps
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.turns import verified
from kessai.apps.bench.workflow_worker import SERVICE, Done, LeaveOpen, Run, start_engine
from kessai.foundation.errors import OperatorError

LEASE_S = 10.0
ALLOWED_S = 10.0
"""Wanted: all that a killed process left open is done within its lease and this."""
GIVE_UP_S = 120.0
WARM_S = 0.5
LOOK_EVERY_S = 0.1


async def bench_workflow(options: Options, scene: Scene, steps: Steps) -> Report:
    """Run the mode that was asked for."""
    if options.mode is Mode.RECOVERY:
        return await _recovery(options, scene, steps)
    return await _against_dbos(options, scene, steps)


# -- speed ------------------------------------------------------------------------------------------------------


async def _against_dbos(options: Options, scene: Scene, steps: Steps) -> Report:
    peer_name = require_dbos()
    dsn = await scene.platform_database("workflow")
    steps.next("preparing both sides")
    rounds, peers, told = Rounds(), list[tuple[Variant, Tally]](), list[Done]()
    async with (
        start_engine(dsn, lease_s=LEASE_S) as ours,
        start_dbos(await scene.empty_database("peer")) as peer,
        MemoryWatch(lambda: [ours.pid]) as memory,
    ):
        told.append(await ours.order(Run(options.clients, WARM_S, "warm")))
        await _peer_round(peer, options.clients, 2 * WARM_S)
        await scene.settle()
        for number in range(options.rounds):
            steps.next(f"round {number + 1}: ours")
            told.append(await ours.order(Run(options.clients, options.stretch_s, f"round-{number}")))
            rounds.ours.append(told[-1].tally)
            steps.next(f"round {number + 1}: peer")
            variant, best = await _peer_round(peer, options.clients, options.stretch_s)
            peers.append((variant, best))
            rounds.peers.append(best.rate)
    finding = await once_each(dsn, told) or await verified(steps, dsn)
    variants = sorted({variant for variant, _ in peers})
    return report_of(
        rounds,
        name="workflow",
        mode=f"{STEPS} activities with compensations, {options.clients} concurrent",
        latency_of="a workflow, from its start to its result",
        rss_mb=memory.peak_mb,
        peer=f"{peer_name}, the same {STEPS} steps, its better variant ({' and '.join(variants)})",
        finding=finding,
        sizes={"clients": options.clients, "activities": STEPS},
        extra={
            "peer_p50_ms": percentile(peers[-1][1].latencies_ms, 0.50),
            "peer_p99_ms": percentile(peers[-1][1].latencies_ms, 0.99),
            "load_average": os.getloadavg()[0],
        },
    )


async def _peer_round(peer: Spawned[RunPeer, Tally], clients: int, seconds: float) -> tuple[Variant, Tally]:
    """Both variants, half of the time each; gives the better one."""
    variants: tuple[Variant, ...] = ("sync", "async")
    tallies: list[tuple[Variant, Tally]] = [
        (variant, await peer.order(RunPeer(variant, clients, seconds / 2))) for variant in variants
    ]
    return max(tallies, key=lambda each: each[1].rate)


async def once_each(dsn: str, told: list[Done]) -> str | None:
    """What is wrong with the journal or the activities, given what the callers were told; None when nothing is."""
    finished, attempts = sum(done.tally.acknowledged for done in told), sum(done.attempts for done in told)
    if attempts != STEPS * finished or any(done.undone for done in told):
        return f"{finished} workflows attempted {attempts} activities and undid {sum(done.undone for done in told)}"
    return await journal_finding(dsn, finished)


async def journal_finding(dsn: str, finished: int) -> str | None:
    """What is wrong with the journal after so many workflows; None when each is finished once, with its result."""
    still_open, done, right = await counted(dsn)
    if (still_open, done, right) == (0, finished, finished):
        return None
    return f"of {finished} workflows the journal has {still_open} open and {done} done, {right} with the right result"


async def counted(dsn: str) -> tuple[int, int, int]:
    """Open workflows, finished ones, and those of them with the right result."""
    connection = await asyncpg.connect(dsn)
    try:
        row = await connection.fetchrow(
            f"SELECT (SELECT count(*) FROM {SERVICE}.workflow_open) AS open, count(*) AS done,"  # noqa: S608
            f" count(*) FILTER (WHERE outcome = $1 AND NOT failed) AS right FROM {SERVICE}.workflow_done",
            str(RESULT).encode(),
        )
    finally:
        await connection.close()
    assert row is not None
    return row["open"], row["done"], row["right"]


# -- recovery ---------------------------------------------------------------------------------------------------


async def _recovery(options: Options, scene: Scene, steps: Steps) -> Report:
    dsn = await scene.platform_database("recovery")
    steps.next(f"{options.workflows:,} workflows are begun, and killed")
    took_s, begun, memory_mb = await recover(dsn, options.workflows, lease_s=LEASE_S)
    finding = await journal_finding(dsn, options.workflows) or await verified(steps, dsn)
    bound_s = LEASE_S + ALLOWED_S
    rounds = Rounds(ours=[Tally(acknowledged=options.workflows, elapsed_s=took_s)], peers=[options.workflows / bound_s])
    return report_of(
        rounds,
        name="workflow",
        mode="recovery",
        latency_of="nothing",
        rss_mb=memory_mb,
        peer=f"all of them within the lease and {ALLOWED_S:.0f} s",
        finding=finding,
        sizes={"workflows": options.workflows, "lease_s": LEASE_S},
        extra={
            "recovery_s": took_s,
            "after_lease_s": took_s - LEASE_S,
            "begun_a_second": begun.rate,
            "load_average": os.getloadavg()[0],
        },
    )


async def recover(dsn: str, count: int, *, lease_s: float) -> tuple[float, Tally, float]:
    """Kill a process with `count` workflows in their middle, and wait until another one has finished them.

    Gives the seconds from the kill to the last end, what was begun, and the survivor's peak memory in MB. Raises
    OperatorError when it takes too long.
    """
    async with start_engine(dsn, lease_s=lease_s) as survivor, MemoryWatch(lambda: [survivor.pid]) as memory:
        async with start_engine(dsn, lease_s=lease_s) as doomed:
            begun = (await doomed.order(LeaveOpen(count))).tally
            doomed.kill()
        killed_at = time.perf_counter()
        while (took_s := time.perf_counter() - killed_at) < GIVE_UP_S:
            if not (await counted(dsn))[0]:
                return took_s, begun, memory.peak_mb
            await asyncio.sleep(LOOK_EVERY_S)
    raise OperatorError(f"After {GIVE_UP_S:.0f} s there were still workflows open.")
