"""`bench nfc`: taps over ISO 8583, each a 0100 that holds a customer's funds by a payment, and its 0110.

First at 300 a second whatever the answers do: how long terminals wait. Then as many as there can be, in turns with
pgbench. The load is a process of its own. At the end what terminals were told, the journal, the payments and the
ledger's holds must agree, and `kessai verify` must find nothing.
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import msgspec
from rich.console import Console
from rich.table import Table

from kessai.apps.bench.figures import Rounds, percentile, together
from kessai.apps.bench.memory import MemoryWatch, resident_mb
from kessai.apps.bench.mixes import CUSTOMER_TYPE, Crowd
from kessai.apps.bench.nfc_cards import give_cards, unlimited_rules
from kessai.apps.bench.nfc_load import AtRate, Heard, Idle, InTurns, Load, Server, TestCard, codec_us, tapping
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.peer import PEER
from kessai.apps.bench.program import PlatformProcess, first_finding, free_port
from kessai.apps.bench.scene import Scene
from kessai.apps.bench.worker import OpenCustomers, start_ledger
from kessai.foundation.vault import Vault, new_vault_key, read_vault_keys
from kessai.services.payment.domain.kinds import load_kinds

CUSTOMERS = 1_000
"""Each has a card."""
OPEN_RATE = 300.0
"""Taps a second of the open loop."""
CONNECTIONS = 4
WARM_S = 3.0
"""Long enough that every card was tapped once."""
IDLE = 1_000
SETTLED_S = 0.5
"""Before memory is looked at."""
WINDOW_MS = 1_000.0
"""Within which every tap is to be answered."""

_TOLD = """
SELECT a.count AS approved, a.minor AS approved_minor, p.count AS payments, p.minor AS payments_minor,
    (SELECT coalesce(sum(held), 0)::bigint FROM ledger.account) AS held_minor
FROM (SELECT count(*) AS count, coalesce(sum(amount_minor), 0)::bigint AS minor
      FROM nfc.id_authorization WHERE state = 'APPROVED') AS a,
     (SELECT count(*) AS count, coalesce(sum(amount_minor), 0)::bigint AS minor
      FROM payment.payment WHERE kind = 'id_charge' AND state = 'AUTHORIZED') AS p
"""


class NfcReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of standard output, as one JSON object."""

    name: str = "nfc"
    rate: float
    """Approved taps a second, the most there can be."""
    p50_ms: float
    """Of a tap's answer, at `open_rate` taps a second."""
    p99_ms: float
    late: int
    """Taps that were answered after the window, or never; at `open_rate` and at the best rate."""
    open_rate: float
    """Taps a second that were asked for in the open loop."""
    open_approved: float
    """Taps a second that were approved in it."""
    best_p99_ms: float
    """Of a tap's answer at the best rate, with `terminals` at once."""
    terminals: int
    refused: dict[str, int]
    """By response code."""
    codec_us: float
    """Of one message, in or out."""
    idle_mb: float
    """What 1,000 idle connections add to the server's memory."""
    rss_mb: float
    peer: str
    peer_rate: float
    ratio: float
    processes: int
    cards: int
    taps: int
    verified: bool
    finding: str | None = None
    """What does not agree, when `verified` is false."""


async def bench_nfc(options: Options, scene: Scene, steps: Steps) -> NfcReport:
    """Measure taps; what terminals were told must agree with everybody's books afterwards."""
    crowd = Crowd(0, CUSTOMERS)
    dsn = await scene.platform_database("platform")
    steps.next("preparing both sides")
    keys = new_vault_key()
    cards = await _prepared(dsn, keys, crowd)
    peer = await scene.pgbench()
    await scene.settle()
    port = free_port()
    environment = {"KESSAI_VAULT_KEYS": keys, "KESSAI_NFC_AUTHORIZATION": str(unlimited_rules(scene.folder))}
    options_of_up = ("--nfc-port", str(port), "--workers", str(options.processes), *scene.platform_options(dsn))
    target = Server(port, CONNECTIONS * options.processes, cards)
    async with (
        PlatformProcess(*options_of_up, environment=environment) as platform,
        MemoryWatch(lambda: [platform.pid], children=True) as memory,
        tapping(target) as load,
    ):
        told = _Told()
        steps.next("warming up")
        await told.hear(load, InTurns(options.clients, WARM_S))
        idle_mb = await _idle_mb(load, platform.pid)
        steps.next(f"{OPEN_RATE:,.0f} taps a second")
        opened = await told.hear(load, AtRate(OPEN_RATE, options.stretch_s))
        rounds, late = Rounds(), _late(opened)
        for number in range(options.rounds):
            steps.next(f"round {number + 1}: ours")
            heard = await told.hear(load, InTurns(options.clients, options.stretch_s))
            rounds.ours.append(heard.tally)
            late += _late(heard)
            steps.next(f"round {number + 1}: peer")
            rounds.peers.append(await peer.best_rate(options.stretch_s))
    steps.next("kessai verify")
    finding = await told.difference(dsn) or await first_finding(dsn)
    return NfcReport(
        rate=round(rounds.rate, 1),
        p50_ms=round(percentile(opened.tally.latencies_ms, 0.50), 3),
        p99_ms=round(percentile(opened.tally.latencies_ms, 0.99), 3),
        late=late,
        open_rate=OPEN_RATE,
        open_approved=round(opened.tally.rate, 1),
        best_p99_ms=round(rounds.latency_ms(0.99), 3),
        terminals=options.clients,
        refused=together([opened.tally, *rounds.ours]).reasons,
        codec_us=round(codec_us(cards[0]), 1),
        idle_mb=round(idle_mb, 1),
        rss_mb=round(memory.peak_mb, 1),
        peer=PEER,
        peer_rate=round(rounds.peer_rate, 1),
        ratio=round(rounds.ratio, 3),
        processes=options.processes,
        cards=len(cards),
        taps=told.taps,
        verified=finding is None,
        finding=finding,
    )


async def _prepared(dsn: str, keys: str, crowd: Crowd) -> list[TestCard]:
    """Customers with funds and the accounts that their points and sales are in, and a card each."""
    types = load_kinds().require("id_charge").payer_account_types
    async with start_ledger(dsn) as ledger:
        await ledger.order(OpenCustomers(crowd, tuple(each for each in types if each != CUSTOMER_TYPE)))
    return await give_cards(dsn, Vault(read_vault_keys(keys)), crowd)


async def _idle_mb(load: Load, pid: int) -> float:
    """What idle connections add to the server's memory."""
    before = resident_mb(pid, children=True)
    await load.order(Idle(IDLE))
    await asyncio.sleep(SETTLED_S)
    after = resident_mb(pid, children=True)
    await load.order(Idle(0))
    return max(0.0, after - before)


class _Told:
    """What terminals were told in all."""

    def __init__(self) -> None:
        self.taps = 0
        self.approved = 0
        self.approved_minor = 0
        self.unanswered = 0

    async def hear(self, load: Load, order: AtRate | InTurns) -> Heard:
        """Have a stretch tapped."""
        heard = await load.order(order)
        assert heard is not None
        self.taps += heard.tally.acknowledged + heard.tally.refused + heard.unanswered
        self.approved += heard.tally.acknowledged
        self.approved_minor += heard.approved_minor
        self.unanswered += heard.unanswered
        return heard

    async def difference(self, dsn: str) -> str | None:
        """Where the journal, the payments or the ledger's holds differ from it."""
        connection = await asyncpg.connect(dsn)
        try:
            row = await connection.fetchrow(_TOLD, timeout=None)
        finally:
            await connection.close()
        assert row is not None
        wanted = {
            "approved": self.approved,
            "approved_minor": self.approved_minor,
            "payments": self.approved,
            "payments_minor": self.approved_minor,
            "held_minor": self.approved_minor,
        }
        return next(
            (f"{name}: {row[name]}, terminals heard {told}" for name, told in wanted.items() if row[name] != told), None
        )


def _late(heard: Heard) -> int:
    return heard.unanswered + sum(each > WINDOW_MS for each in heard.tally.latencies_ms)


def print_nfc(report: NfcReport, *, as_json: bool) -> None:
    """A table on standard error, and with `--json` the object as the last line."""
    table = Table("what", "value", title="bench nfc")
    for name, value in msgspec.structs.asdict(report).items():
        table.add_row(name, f"{value:,}" if isinstance(value, (int, float)) else str(value))
    Console(stderr=True).print(table)
    if as_json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
