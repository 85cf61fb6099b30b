"""A server process of its own with a ledger in it, and the callers that load it from inside.

Started with `spawn` and told what to do over a pipe, so that its memory is the server's and nothing else's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import uvloop

from kessai.apps.bench.figures import Tally
from kessai.apps.bench.mixes import (
    CHECKED_OPENING_MINOR,
    CHECKED_TYPE,
    CUSTOMER_TYPE,
    FUNDING_OWNER,
    FUNDING_TYPE,
    MERCHANT,
    OPENING_MINOR,
    Crowd,
    Draw,
    Touch,
    customer,
    funding,
)  # fmt: skip
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.apps.memory import settle_memory
from kessai.foundation.clock import SystemClock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError
from kessai.foundation.telemetry import configure_logging
from kessai.services.ledger.api import BATCH_EXCHANGES_MAX, CreateExchange, CreateExchanges, Ledger, OpenAccount
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService

OPENINGS_AT_ONCE = 4_000
BATCHES_OUTSTANDING = 2
"""One is committed while the next is prepared."""
DRAWN_MAX = 32_000
"""Exchanges drawn ahead of a stretch; a longer one goes round."""


@dataclass(frozen=True, slots=True)
class OpenCustomers:
    """Open a crowd's accounts and credit each with the opening balance."""

    crowd: Crowd
    further: tuple[str, ...] = ()
    """Account types that each has besides, with nothing in them."""


@dataclass(frozen=True, slots=True)
class OpenFunding:
    """Open the account that every opening credit comes from."""


@dataclass(frozen=True, slots=True)
class FundMerchant:
    """Credit the checked hot account."""


@dataclass(frozen=True, slots=True)
class Post:
    """Post a number of exchanges in batches, unmeasured, to warm up."""

    touch: Touch
    crowd: Crowd
    count: int
    seed: int


@dataclass(frozen=True, slots=True)
class Load:
    """Measure for `seconds`: batches of `batch`, or one exchange a call from `clients` callers when `batch` is 0."""

    touch: Touch
    crowd: Crowd
    seconds: float
    seed: int
    batch: int = BATCH_EXCHANGES_MAX
    clients: int = 0


Order = OpenCustomers | OpenFunding | FundMerchant | Post | Load


def start_ledger(dsn: str) -> Spawned[Order, Tally]:
    """A server process with a ledger on a database."""
    return Spawned(_serve, dsn)


def _serve(dsn: str, pipe: Connection) -> None:
    configure_logging(level="warning", form="text")
    uvloop.run(_work(dsn, pipe))


async def _work(dsn: str, pipe: Connection) -> None:
    database = Database(dsn)
    ledger = LedgerService(database, SystemClock(), load_account_types())
    await ledger.open()
    try:
        await follow_orders(pipe, lambda order: _carry_out(ledger, order))
    finally:
        await ledger.close()
        await database.close()


async def _carry_out(ledger: Ledger, order: Order) -> Tally:
    match order:
        case OpenCustomers(crowd, further):
            return await _open_customers(ledger, crowd, further)
        case OpenFunding():
            await ledger.open_account(OpenAccount(owner=FUNDING_OWNER, account_type=FUNDING_TYPE))
            return Tally()
        case FundMerchant():
            return await _post(ledger, [[funding(MERCHANT, CHECKED_TYPE, CHECKED_OPENING_MINOR)]])
        case Post(touch, crowd, count, seed):
            draw = Draw(touch, crowd, seed)
            sizes = [min(BATCH_EXCHANGES_MAX, count - done) for done in range(0, count, BATCH_EXCHANGES_MAX)]
            return await _post(ledger, (draw.exchanges(size) for size in sizes))
        case Load():
            return await (_batches(ledger, order) if order.batch else _singles(ledger, order))


async def _open_customers(ledger: Ledger, crowd: Crowd, further: Sequence[str]) -> Tally:
    numbers = range(crowd.first, crowd.first + crowd.count)
    total = Tally()
    for start in range(0, crowd.count, OPENINGS_AT_ONCE):
        owners = [customer(number) for number in numbers[start : start + OPENINGS_AT_ONCE]]
        places = [OpenAccount(owner=owner, account_type=each) for owner in owners for each in (CUSTOMER_TYPE, *further)]
        await asyncio.gather(*map(ledger.open_account, places))
        done = await _post(ledger, [[funding(owner, CUSTOMER_TYPE, OPENING_MINOR) for owner in owners]])
        total.acknowledged += done.acknowledged
    return total


async def _post(ledger: Ledger, batches: Iterable[list[CreateExchange]]) -> Tally:
    """Post batches, two at a time; every single one must be done."""
    total, waiting = Tally(), iter(batches)

    async def caller() -> None:
        for batch in waiting:
            await _one_batch(ledger, CreateExchanges(exchanges=batch), total)

    await asyncio.gather(*(caller() for _ in range(BATCHES_OUTSTANDING)))
    if total.refused:
        raise RuntimeError(f"preparation was refused: {total.reasons}")
    return total


async def _one_batch(ledger: Ledger, batch: CreateExchanges, tally: Tally) -> None:
    outcomes = (await ledger.create_exchanges(batch)).outcomes
    done = sum(outcome.exchange is not None for outcome in outcomes)
    tally.acknowledged += done
    if done != len(outcomes):
        for outcome in outcomes:
            if outcome.failure is not None:
                tally.refuse(outcome.failure.code)


async def _batches(ledger: Ledger, load: Load) -> Tally:
    draw = Draw(load.touch, load.crowd, load.seed)
    ready = [CreateExchanges(exchanges=draw.exchanges(load.batch)) for _ in range(max(2, DRAWN_MAX // load.batch))]

    async def call(turn: int, tally: Tally) -> None:
        await _one_batch(ledger, ready[turn % len(ready)], tally)

    return await _measured(call, callers=BATCHES_OUTSTANDING, seconds=load.seconds)


async def _singles(ledger: Ledger, load: Load) -> Tally:
    ready = Draw(load.touch, load.crowd, load.seed).exchanges(DRAWN_MAX // 2)

    async def call(turn: int, tally: Tally) -> None:
        try:
            await ledger.create_exchange(ready[turn % len(ready)])
        except PaymentError as error:
            tally.refuse(error.code)
        else:
            tally.acknowledged += 1

    return await _measured(call, callers=load.clients, seconds=load.seconds)


async def _measured(call: Callable[[int, Tally], Awaitable[None]], *, callers: int, seconds: float) -> Tally:
    """Run `callers` at once, each sending again as soon as it is answered; the time includes the last answers."""
    tally, turn = Tally(), 0
    settle_memory()
    started = time.perf_counter()
    until = started + seconds

    async def caller() -> None:
        nonlocal turn
        while (sent := time.perf_counter()) < until:
            turn += 1
            await call(turn, tally)
            tally.latencies_ms.append((time.perf_counter() - sent) * 1e3)

    await asyncio.gather(*(caller() for _ in range(callers)))
    tally.elapsed_s = time.perf_counter() - started
    return tally
