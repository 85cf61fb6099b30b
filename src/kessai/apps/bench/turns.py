"""What runs have in common: ours and the peer in turns, and the proof at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kessai.apps.bench.figures import Rounds, Tally
from kessai.apps.bench.options import Options, Steps
from kessai.apps.bench.program import first_finding


async def in_turns(
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


async def rate_of(load: Awaitable[Tally]) -> float:
    """What was acknowledged a second."""
    return (await load).rate


async def verified(steps: Steps, *dsns: str) -> str | None:
    """What `kessai verify` finds first on any of the databases; None when every invariant holds."""
    steps.next("kessai verify")
    for dsn in dsns:
        if (finding := await first_finding(dsn)) is not None:
            return finding
    return None
