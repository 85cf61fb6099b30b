"""`bench tracer`: the same charges with tracing and without, in turns, and how soon each one's verdict comes.

The peer is a composition that exists here only (`untraced`), on a database without the indexes that tracing reads.
What the tracer has still to do when a round ends is waited for before the peer's turn, and told as `behind_s`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from kessai.apps.bench.charge import CUSTOMERS, WARM_S
from kessai.apps.bench.figures import Report, Rounds, Tally, report_of
from kessai.apps.bench.http_load import MERCHANTS, Charge, Target, load_charges
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import Crowd
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.peer import output_of
from kessai.apps.bench.program import KESSAI, PlatformProcess, first_finding
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.stored import store_processings
from kessai.apps.bench.untraced import without_traces
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.foundation.errors import OperatorError

UNTRACED = (sys.executable, "-m", "kessai.apps.bench.untraced")
PEER = "the same platform composed without a tracer, which exists in this measurement only"
DECIDED_TIMEOUT_S = 120.0
LOOK_S = 0.1

_WAITING = """
SELECT (SELECT count(*) FROM tracer.processing WHERE verdict = 'PENDING')
    + (SELECT count(*) FROM payment.payment AS p WHERE p.created_at >= $1
        AND NOT EXISTS (SELECT FROM tracer.processing AS t WHERE t.processing_id = p.processing_id))
"""
_VERDICTS = "SELECT verdict, count(*) AS n FROM tracer.processing GROUP BY verdict"
_DELAYS = """
SELECT percentile_disc($2::float8) WITHIN GROUP (ORDER BY extract(epoch FROM v.at - s.at)::float8 * 1000) AS ms
FROM (SELECT processing_id, max(recorded_at) AS at FROM payment.payment_step
    WHERE recorded_at >= $1 GROUP BY processing_id) AS s
JOIN (SELECT processing_id, max(decided_at) AS at FROM tracer.verdict
    WHERE decided_at >= $1 GROUP BY processing_id) AS v ON v.processing_id = s.processing_id
"""


@dataclass(frozen=True, slots=True)
class _Side:
    """A platform under load."""

    dsn: str
    platform: PlatformProcess
    load: Spawned[Charge, tuple[Tally, int]]


async def bench_tracer(options: Options, scene: Scene, steps: Steps) -> Report:
    """Charges a second with tracing and without, and the delay from a charge's last effect to its verdict."""
    crowd, behind = Crowd(0, CUSTOMERS), list[float]()
    async with AsyncExitStack() as stack:
        ours, peer = await _sides(options, scene, steps, crowd, stack)
        memory = await stack.enter_async_context(MemoryWatch(lambda: [ours.platform.pid], children=True))
        for side in (ours, peer):
            await side.load.order(Charge(WARM_S, seed=1))
        await _decided(ours.dsn)
        began, rounds = await _now(ours.dsn), Rounds()
        for number in range(options.rounds):
            steps.next(f"round {number + 1}: with tracing")
            rounds.ours.append((await ours.load.order(Charge(options.stretch_s, seed=100 + number)))[0])
            behind.append(await _decided(ours.dsn))
            steps.next(f"round {number + 1}: without")
            rounds.peers.append((await peer.load.order(Charge(options.stretch_s, seed=100 + number)))[0].rate)
        p50, p99 = await _delays(ours.dsn, began)
        finding = await _not_consistent(ours.dsn, options.stored + rounds.ours[0].acknowledged)
    steps.next("kessai verify, kessai trace prove --all")
    finding = finding or await _unproved(ours.dsn) or await first_finding(ours.dsn)
    return report_of(
        rounds,
        name="tracer",
        mode=f"HTTP create + capture, {options.connections} connections",
        latency_of="one HTTP request",
        rss_mb=memory.peak_mb,
        peer=PEER,
        finding=finding,
        extra={"verdict_p50_ms": p50, "verdict_p99_ms": p99, "behind_s": max(behind)},
        sizes={
            "accounts": CUSTOMERS,
            "merchants": MERCHANTS,
            "connections": options.connections,
            "stored_processings": options.stored,
        },
    )


async def _sides(
    options: Options, scene: Scene, steps: Steps, crowd: Crowd, stack: AsyncExitStack
) -> tuple[_Side, _Side]:
    steps.next("preparing both sides")
    with_tracing, without = await scene.platform_database("traced"), await scene.platform_database("untraced")
    for dsn in (with_tracing, without):
        async with start_ledger(dsn) as ledger:
            await ledger.order(OpenCustomers(crowd))
    await without_traces(without)
    if options.stored:
        steps.next(f"storing {options.stored:,} processings")
        await store_processings(with_tracing, options.stored, steps.part)
    await scene.settle()
    sides: list[_Side] = []
    for name, dsn in (("traced", with_tracing), ("untraced", without)):
        data = str(scene.folder / name)
        program = UNTRACED if name == "untraced" else KESSAI
        process = PlatformProcess("--database-url", dsn, "--data", data, program=program)
        platform = await stack.enter_async_context(process)
        target = Target(platform.url, platform.api_key, crowd, options.connections)
        load: Spawned[Charge, tuple[Tally, int]] = Spawned(load_charges, target)
        sides.append(_Side(dsn, platform, await stack.enter_async_context(load)))
    return sides[0], sides[1]


async def _now(dsn: str) -> object:
    return await _value(dsn, "SELECT clock_timestamp()")


async def _decided(dsn: str) -> float:
    """Wait until every processing has its verdict; gives how many seconds that took."""
    started = time.perf_counter()
    since = await _value(dsn, "SELECT clock_timestamp() - interval '1 hour'")
    async with asyncio.timeout(DECIDED_TIMEOUT_S):
        while await _value(dsn, _WAITING, since):  # noqa: ASYNC110  (another process decides)
            await asyncio.sleep(LOOK_S)
    return time.perf_counter() - started


async def _delays(dsn: str, since: object) -> tuple[float, float]:
    """The 50th and 99th percentile from a charge's last effect to its verdict, in milliseconds."""
    p50, p99 = [await _value(dsn, _DELAYS, since, part) for part in (0.5, 0.99)]
    if not isinstance(p50, float) or not isinstance(p99, float):
        raise OperatorError("No charge of the run was decided.")
    return p50, p99


async def _not_consistent(dsn: str, at_least: int) -> str | None:
    """What is wrong when not every processing is CONSISTENT, or there are fewer than were acknowledged."""
    connection = await asyncpg.connect(dsn)
    try:
        verdicts = {row["verdict"]: row["n"] for row in await connection.fetch(_VERDICTS)}
    finally:
        await connection.close()
    if verdicts.keys() <= {"CONSISTENT"} and verdicts.get("CONSISTENT", 0) >= at_least:
        return None
    return f"verdicts: {json.dumps(verdicts)}, of {at_least} and more"


async def _unproved(dsn: str) -> str | None:
    """What `kessai trace prove --all`, in a process of its own, finds; None when everything agrees."""
    try:
        await output_of([*KESSAI, "trace", "prove", "--all", "--database-url", dsn])
    except OperatorError as error:
        return str(error)
    return None


async def _value(dsn: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()
