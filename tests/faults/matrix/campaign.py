"""A campaign: many cases on several lanes, each lane proved as a whole again and again, and the counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from kessai.apps.verify.bank import compare_bank
from kessai.apps.verify.cards import compare_cards
from kessai.apps.verify.finding import Report
from kessai.foundation.db import AUDITOR_ROLE, load_queries
from tests.faults.matrix.cases import Case, disturbed
from tests.faults.matrix.lane import Lane
from tests.faults.matrix.play import Played, play
from tests.faults.matrix.troubles import LATE_MS
from tests.proof import prove as prove_rows

NewLane = Callable[..., Awaitable[Lane]]
Key = tuple[str, str, str, str]
"""Kind, call, trouble, boundary."""

LANES = 3
PROOF_EVERY = 300
"""Cases between two proofs of a lane."""
FAILURES_MAX = 40


@dataclass
class Tally:
    """What was played, and what did not end as it should."""

    counts: Counter[Key] = field(default_factory=Counter[Key])
    struck: int = 0
    """Cases whose boundary came."""
    failures: list[str] = field(default_factory=list[str])

    def add(self, played: Played) -> None:
        """Count a case."""
        case = played.case
        at = f"{case.service} {case.disturbance} {case.when}" if case.service else "undisturbed"
        self.counts[case.story.kind, case.call, case.trouble.name, at] += 1
        self.struck += played.struck
        self.fail([f"{case}: {fault} [{played.payment_id}]" for fault in played.faults])

    def fail(self, sentences: list[str]) -> None:
        """Note what is wrong, and say so at once: a campaign is long."""
        self.failures += sentences
        for sentence in sentences:
            print(sentence, flush=True)


Unit = Callable[[Lane], AsyncIterator[Played]]
"""Cases that are played one after the other on one lane."""


async def campaign(new_lane: NewLane, units: Iterable[Unit], *, lanes: int = LANES) -> Tally:
    """Play everything, on so many lanes at a time; a lane that does not come to rest is given up for a new one."""
    tally, left = Tally(), iter(units)

    async def work() -> None:
        lane, played = await new_lane(), 0
        for unit in left:
            async for each in unit(lane):
                tally.add(each)
                played += 1
                if len(tally.failures) >= FAILURES_MAX:
                    return
                if each.faults and await lane.open_work():
                    lane = await new_lane()
                    break
                if played % PROOF_EVERY == 0:
                    tally.fail(await prove(lane))
        tally.fail(await prove(lane))

    await asyncio.gather(*(work() for _ in range(lanes)))
    return tally


def one(case: Case) -> Unit:
    """A case alone."""

    async def unit(lane: Lane) -> AsyncIterator[Played]:
        yield await play(lane, case)

    return unit


def at_every_boundary(case: Case, disturb: Callable[[Case, dict[str, int]], Iterable[Case]] = disturbed) -> Unit:
    """A combination undisturbed, and then disturbed at every boundary that it has."""

    async def unit(lane: Lane) -> AsyncIterator[Played]:
        undisturbed = await play(lane, case)
        yield undisturbed
        for each in disturb(case, undisturbed.flushes):
            yield await play(lane, each)

    return unit


async def prove(lane: Lane) -> list[str]:
    """`kessai verify` over a lane that is at rest, with the books of who is outside; gives what is broken."""
    try:
        await lane.come_to_rest()
    except TimeoutError as error:
        return [f"proof: {error}"]
    await asyncio.sleep(LATE_MS / 1000)  # what was delayed outside comes to nothing now
    report = Report()
    report.findings += await prove_rows(lane.database, lane.kinds)
    connection = await lane.database.connect(AUDITOR_ROLE)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            cards = load_queries("kessai.apps.verify", file="sql/cardgateway.sql")
            books = lane.cards.books
            compare_cards(await connection.fetch(cards["card_operations"]), books, lane.clock.now(), report)
            bank = load_queries("kessai.apps.verify", file="sql/bank.sql")
            rows = await connection.fetch(bank["instructions"])
            compare_bank(rows, lane.bank.books, tuple(lane.bank.books.orders), report)
    finally:
        await connection.close()
    return [f"proof: {each.invariant}: {each.table} {each.key}: {each.sentence}" for each in report.findings]
