"""`bench charge`: create and capture over HTTP, each a durable workflow, from a load process of its own.

With `--mix`: charges, transfers, top-ups, escrows and refunds in their shares, one charge in five on a card.
With `--alone`: ledger and payment only, without tracer, books and settlement.
"""

from __future__ import annotations

import asyncio
import sys

import httpx

from kessai.apps.bench.cards import card_gateway, environment_of, register_cards, takes
from kessai.apps.bench.figures import Report, Rounds, Tally, report_of, together
from kessai.apps.bench.http_load import MERCHANTS, Charge, Target, load_charges, merchant
from kessai.apps.bench.memory import MemoryWatch
from kessai.apps.bench.mixed_load import SHARES, load_mix
from kessai.apps.bench.mixes import LOG_ONLY_TYPE, Crowd
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.peer import PEER
from kessai.apps.bench.program import KESSAI, PlatformProcess, first_finding
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.spawned import Spawned
from kessai.apps.bench.untraced import without_traces
from kessai.apps.bench.worker import OpenCustomers, start_ledger

CUSTOMERS = 10_000
WARM_S = 1.0
CARD_DELAY_MS = 20
ALONE = (sys.executable, "-m", "kessai.apps.bench.alone")
MIX = ", ".join(f"{kind} {share}%" for kind, share in SHARES.items())


async def bench_charge(options: Options, scene: Scene, steps: Steps) -> Report:
    """Measure charges, or a mix, a second; the client's own account must agree with the ledger afterwards."""
    crowd = Crowd(0, CUSTOMERS)
    dsn = await scene.platform_database("platform")
    steps.next("preparing both sides")
    async with start_ledger(dsn) as ledger:
        _, peer = await asyncio.gather(ledger.order(OpenCustomers(crowd)), scene.pgbench())
    if options.alone:
        await without_traces(dsn)
    await scene.settle()
    program = ALONE if options.alone else KESSAI
    async with (
        card_gateway() as gateway,
        PlatformProcess(*scene.platform_options(dsn), program=program, environment=environment_of(gateway)) as platform,
        MemoryWatch(lambda: [platform.pid], children=True) as memory,
    ):
        cards = await register_cards(platform, gateway, crowd) if options.mix else ()
        gateway.faults.program(takes(CARD_DELAY_MS))
        target = Target(platform.url, platform.api_key, crowd, options.connections, cards)
        load: Spawned[Charge, tuple[Tally, int]] = Spawned(load_mix if options.mix else load_charges, target)
        async with load:
            _, told = await load.order(Charge(WARM_S, seed=1))
            rounds = Rounds()
            for number in range(options.rounds):
                steps.next(f"round {number + 1}: ours")
                tally, captured = await load.order(Charge(options.stretch_s, seed=100 + number))
                rounds.ours.append(tally)
                told += captured
                steps.next(f"round {number + 1}: peer")
                rounds.peers.append(await peer.best_rate(options.stretch_s))
        finding = await _disagreement(platform, told)
    steps.next("kessai verify")
    return report_of(
        rounds,
        name="charge",
        mode=_mode(options),
        latency_of="one HTTP request",
        rss_mb=memory.peak_mb,
        peer=PEER,
        finding=finding or await first_finding(dsn),
        extra={f"refused_{code}": count for code, count in together(rounds.ours).reasons.items()},
        sizes={"accounts": CUSTOMERS, "merchants": MERCHANTS, "connections": options.connections},
    )


def _mode(options: Options) -> str:
    what = MIX if options.mix else "create + capture"
    beside = ", ledger and payment alone" if options.alone else ""
    return f"HTTP {what}, {options.connections} connections{beside}"


async def _disagreement(platform: PlatformProcess, told_minor: int) -> str | None:
    """Where the load's own account of acknowledged captures differs from the merchants' balances."""
    headers = {"Authorization": f"Bearer {platform.api_key}"}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers) as client:
        held = 0
        for number in range(MERCHANTS):
            answer = (await client.get("/v1/ledger/accounts", params={"owner": merchant(number)})).json()
            held += sum(each["balance_minor"] for each in answer["accounts"] if each["account_type"] == LOG_ONLY_TYPE)
    if held == told_minor:
        return None
    return f"the load was told of {told_minor} captured, the merchants hold {held}"
