"""Many taps at a rate, whatever their answers do (open loop): what terminals would see of an authorization server.

A tap is due at its own instant; how long it took counts from there, so that a server that stalls is not asked less, and
does not look quicker for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.simulator import CardNetworkSimulator

IN_FLIGHT_MAX = 10_000
"""Beyond it the load is given up: nothing answers."""


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What terminals saw."""

    taps: int
    seconds: float
    """From the first tap's instant to the last answer."""
    approved: int
    given_up: int
    """Without an answer in the network's time."""
    responses: dict[str, int]
    latencies_ms: list[float]
    """Of those that were answered, sorted."""

    @property
    def rate(self) -> float:
        """Approved taps a second."""
        return self.approved / self.seconds if self.seconds else 0.0

    def quantile_ms(self, share: float) -> float:
        """The latency that this share of answers did not exceed; 0 without answers."""
        if not self.latencies_ms:
            return 0.0
        return self.latencies_ms[max(math.ceil(share * len(self.latencies_ms)) - 1, 0)]

    def later_than(self, window_ms: float) -> int:
        """Answers that took longer, and taps without one."""
        return self.given_up + sum(each > window_ms for each in self.latencies_ms)


async def at_rate(
    network: CardNetworkSimulator, cards: Sequence[str], *, rate: float, seconds: float, amount: int = 100
) -> Heard:
    """Taps at so many a second, over the cards in turn; raises RuntimeError when too many are in flight."""
    begun, due_in_s = time.perf_counter(), [each / rate for each in range(int(rate * seconds))]
    under_way: set[asyncio.Task[None]] = set()
    responses, latencies = Counter[str](), list[float]()

    async def tap(card: str, due: float) -> None:
        told = await network.tap(Tap(card=card, amount=amount))
        responses[told.response or ""] += 1
        if told.response is not None:
            latencies.append((time.perf_counter() - due) * 1_000)

    for index, after_s in enumerate(due_in_s):
        await asyncio.sleep(max(begun + after_s - time.perf_counter(), 0))
        if len(under_way) >= IN_FLIGHT_MAX:
            raise RuntimeError("too many taps are in flight")
        task = asyncio.create_task(tap(cards[index % len(cards)], begun + after_s))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)
    return _heard(len(due_in_s), time.perf_counter() - begun, responses, latencies)


async def in_turns(
    network: CardNetworkSimulator, cards: Sequence[str], *, terminals: int, seconds: float, amount: int = 100
) -> Heard:
    """As many taps as so many terminals can do, one after the other each: the best rate (closed loop)."""
    begun = time.perf_counter()
    responses, latencies = Counter[str](), list[float]()

    async def terminal(card: str) -> None:
        while (due := time.perf_counter()) - begun < seconds:
            told = await network.tap(Tap(card=card, amount=amount))
            responses[told.response or ""] += 1
            if told.response is not None:
                latencies.append((time.perf_counter() - due) * 1_000)

    await asyncio.gather(*(terminal(cards[index % len(cards)]) for index in range(terminals)))
    return _heard(responses.total(), time.perf_counter() - begun, responses, latencies)


def _heard(taps: int, seconds: float, responses: Counter[str], latencies: list[float]) -> Heard:
    given_up = responses.pop("", 0)
    return Heard(
        taps=taps,
        seconds=seconds,
        approved=responses["00"],
        given_up=given_up,
        responses=dict(responses),
        latencies_ms=sorted(latencies),
    )
