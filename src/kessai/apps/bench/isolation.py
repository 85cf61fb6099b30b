"""`bench isolation`: wallet charges while the card gateway hangs, and while it does not.

In both, card charges are tried at the same steady pace beside them; what is compared is the 99th percentile of the
wallet charges' requests. Afterwards the gateway answers again, and what was in doubt must find its end.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter

import asyncpg
from msgspec.structs import replace

from kessai.apps.bench.card_tries import Try, try_cards
from kessai.apps.bench.cards import HANGS, card_gateway, environment_of, register_cards, takes
from kessai.apps.bench.figures import Report, Rounds, Tally, percentile, report_of, together
from kessai.apps.bench.http_load import Charge, Target, load_charges
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixes import Crowd
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.program import PlatformProcess, first_finding
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.simulators.faults import Fault

CUSTOMERS = 2_000
CONNECTIONS_MAX = 16
"""A platform that is busy, not one that is beyond what it can do: there a percentile tells of the queue alone."""
TRIES_A_SECOND = 20
CARD_DELAY_MS = 20
WARM_S = 1.0
DOUBT_S_MAX = 120.0
"""How long what the gateway left in doubt may take to find its end once it answers again."""
LOOK_EVERY_S = 0.25
IN_DOUBT = "SELECT count(*) FROM payment.workflow_open"

Wallet = Spawned[Charge, tuple[Tally, int]]
Cards = Spawned[Try, Counter[str]]


async def bench_isolation(options: Options, scene: Scene, steps: Steps) -> Report:
    """Measure; `ratio` is the percentile while the gateway hangs over that while it does not."""
    dsn, crowd = await scene.platform_database("platform"), Crowd(0, CUSTOMERS)
    steps.next("preparing")
    async with start_ledger(dsn) as ledger:
        await ledger.order(OpenCustomers(crowd))
    await scene.settle()
    hanging, answering, tried = Rounds(), list[Tally](), Counter[str]()
    doubts_s: list[float] = []
    async with (
        card_gateway() as gateway,
        PlatformProcess(*scene.platform_options(dsn), environment=environment_of(gateway)) as platform,
        MemoryWatch(lambda: [platform.pid], children=True) as memory,
    ):
        holders = await register_cards(platform, gateway, crowd)
        connections = min(options.connections, CONNECTIONS_MAX)
        target = Target(platform.url, platform.api_key, crowd, connections, holders)
        async with Wallet(load_charges, target) as wallet, Cards(try_cards, target) as cards:

            async def stretch(fault: Fault, seconds: float, seed: int) -> tuple[Tally, Counter[str]]:
                gateway.faults.clear()
                gateway.faults.program(fault)
                return await _side_by_side(wallet, cards, seconds, seed)

            await stretch(takes(CARD_DELAY_MS), WARM_S, 1)
            for number in range(options.rounds):
                steps.next(f"round {number + 1}: the card gateway answers")
                answering.append((await stretch(takes(CARD_DELAY_MS), options.stretch_s, 100 + number))[0])
                steps.next(f"round {number + 1}: the card gateway hangs")
                tally, answers = await stretch(HANGS, options.stretch_s, 100 + number)
                hanging.ours.append(tally)
                tried += answers
                gateway.faults.clear()
                steps.next(f"round {number + 1}: what is in doubt finds its end")
                doubts_s.append(await _no_doubt(dsn))
    hanging.peers = [tally.rate for tally in answering]
    usual = together(answering)
    steps.next("kessai verify")
    report = report_of(
        hanging,
        name="isolation",
        mode=f"wallet charges, {connections} connections, beside {TRIES_A_SECOND} card charges a second that hang",
        latency_of="one HTTP request of a wallet charge",
        rss_mb=memory.peak_mb,
        peer="the same while the card gateway answers; ratio: p99 over its p99",
        finding=await first_finding(dsn),
        sizes={"accounts": CUSTOMERS, "connections": connections, "card_charges_a_second": TRIES_A_SECOND},
        extra={
            "peer_p50_ms": percentile(usual.latencies_ms, 0.50),
            "peer_p99_ms": percentile(usual.latencies_ms, 0.99),
            "doubt_s": max(doubts_s),
            "load_average": os.getloadavg()[0],
            **{f"card_charges_{answer}": count for answer, count in tried.items()},
        },
    )
    return replace(report, ratio=round(report.p99_ms / (percentile(usual.latencies_ms, 0.99) or 1.0), 3))


async def _side_by_side(wallet: Wallet, cards: Cards, seconds: float, seed: int) -> tuple[Tally, Counter[str]]:
    """Both loads at once; gives the wallet's tally, and how the card charges were answered, the last of them too."""
    (tally, _), answers = await asyncio.gather(
        wallet.order(Charge(seconds, seed)), cards.order(Try(seconds, TRIES_A_SECOND))
    )
    return tally, answers


async def _no_doubt(dsn: str) -> float:
    """Wait until no payment is under way any more; gives the seconds, at most DOUBT_S_MAX."""
    started = time.perf_counter()
    connection = await asyncpg.connect(dsn)
    try:
        while await connection.fetchval(IN_DOUBT) and time.perf_counter() - started < DOUBT_S_MAX:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await connection.close()
    return time.perf_counter() - started
