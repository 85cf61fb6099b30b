"""A process of its own that keeps the books of a ledger: it catches up, follows a ledger at work, reads balances."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing.connection import Connection as Pipe

import uvloop

from kessai.apps.bench.figures import Tally
from kessai.apps.bench.mixes import Crowd, Draw, Touch
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.apps.memory import settle_memory
from kessai.foundation.clock import SystemClock
from kessai.foundation.db import Connection, Database
from kessai.foundation.events import Event, Relay, Subscription
from kessai.foundation.telemetry import configure_logging
from kessai.services.books.api.statements import GetTrialBalance
from kessai.services.books.domain.configuration import read_books
from kessai.services.books.service.accounting import AccountingDesk
from kessai.services.books.service.bookkeeping import Bookkeeper
from kessai.services.books.subscribers import GATHER_S, LEDGER_TOPICS, ledger_events
from kessai.services.ledger.api import CreateExchange
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service import LedgerService

FIRST_DAY = date(2020, 1, 1)
TICK_S = 0.01


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Book everything that there is: how many events, in what time. Positions are given before the time begins."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Keep the books beside a ledger that posts so many exchanges a second: how long each waited to be booked."""

    crowd: Crowd
    seconds: float
    pace: int
    seed: int


@dataclass(frozen=True, slots=True)
class Balance:
    """Read the trial balance of all days so many times: how long each reading took."""

    times: int


Order = CatchUp | Follow | Balance


def start_books(dsn: str) -> Spawned[Order, Tally]:
    """A process with the books of a database."""
    return Spawned(_serve, dsn)


def _serve(dsn: str, pipe: Pipe) -> None:
    configure_logging(level="warning", form="text")
    uvloop.run(_work(dsn, pipe))


async def _work(dsn: str, pipe: Pipe) -> None:
    database = Database(dsn)
    keeper = _Keeper(database)
    settle_memory()
    try:
        await follow_orders(pipe, keeper.carry_out)
    finally:
        await database.close()


class _Watched(Subscription):
    """Tells of each event how long after its flush it was booked, in milliseconds."""

    def __init__(self, database: Database, clock: SystemClock, bookkeeper: Bookkeeper) -> None:
        self.tally = Tally()
        self._hear = bookkeeper.hear
        self._heard: list[datetime] = []
        super().__init__(
            database, source="ledger", topics=LEDGER_TOPICS, subscriber="books", name="books.ledger",
            handler=self._note, clock=clock, pause_s=GATHER_S,
        )  # fmt: skip

    async def _note(self, connection: Connection, events: Sequence[Event]) -> None:
        self._heard = [each.recorded_at for each in events]
        await self._hear(connection, events)

    async def deliver(self) -> int:
        """One batch, and what became of it."""
        passed = await super().deliver()
        now, heard, self._heard = datetime.now(UTC), self._heard, []
        self.tally.acknowledged += len(heard)
        self.tally.latencies_ms.extend((now - at).total_seconds() * 1e3 for at in heard)
        return passed


class _Keeper:
    """The bookkeeper of the process."""

    def __init__(self, database: Database) -> None:
        self._database, self._clock = database, SystemClock()
        books = read_books([each.info() for each in load_account_types()])
        self._bookkeeper = Bookkeeper(database, self._clock, books)
        self._desk = AccountingDesk(database, self._clock, books, bookkeeper=self._bookkeeper)

    async def carry_out(self, order: Order) -> Tally:
        """The answer to one order."""
        match order:
            case CatchUp():
                return await self._catch_up()
            case Follow():
                return await self._follow(order)
            case Balance(times):
                return await self._balance(times)

    async def _catch_up(self) -> Tally:
        await Relay(self._database, "ledger").assign()
        subscription = ledger_events(self._database, self._clock, self._bookkeeper)
        tally, started = Tally(), time.perf_counter()
        while events := await subscription.deliver():
            tally.acknowledged += events
        tally.elapsed_s = time.perf_counter() - started
        return tally

    async def _follow(self, order: Follow) -> Tally:
        ledger = LedgerService(self._database, self._clock, load_account_types())
        relay, watched = Relay(self._database, "ledger"), _Watched(self._database, self._clock, self._bookkeeper)
        await ledger.open()
        for each in (relay, watched):
            await each.open()
        drawn = Draw(Touch.UNIFORM, order.crowd, order.seed).exchanges(round(order.pace * order.seconds))
        started = time.perf_counter()
        await _paced(ledger, drawn, order.pace)
        watched.tally.elapsed_s = time.perf_counter() - started
        await relay.close()
        await relay.assign()
        await watched.close()
        while await watched.deliver():
            pass
        await ledger.close()
        return watched.tally

    async def _balance(self, times: int) -> Tally:
        tally, today = Tally(), datetime.now(UTC).date()
        for _ in range(times):
            started = time.perf_counter()
            await self._desk.get_trial_balance(GetTrialBalance(since=FIRST_DAY, until=today))
            tally.latencies_ms.append((time.perf_counter() - started) * 1e3)
        return tally


async def _paced(ledger: LedgerService, exchanges: list[CreateExchange], pace: int) -> None:
    """Post exchanges one by one, as callers would who come at random, so many a second."""
    started, sent, tasks = time.perf_counter(), 0, set[asyncio.Task[object]]()
    while sent < len(exchanges):
        due = min(len(exchanges), int((time.perf_counter() - started) * pace))
        for exchange in exchanges[sent:due]:
            task: asyncio.Task[object] = asyncio.create_task(ledger.create_exchange(exchange))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        sent = max(sent, due)
        await asyncio.sleep(TICK_S)
    await asyncio.gather(*tasks)
