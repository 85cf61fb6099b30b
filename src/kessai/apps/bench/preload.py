"""A ledger's past, made quickly: entered by the ledger's own rules, page by page, and written by COPY.

What is left is what posting would have left, row by row (accounts, events, exchanges with their sealed records, logs,
lots, outbox, flushes and the writer), so that `kessai verify` derives all of it again. Only the final state of accounts
and lots is written, not each state on the way. A chunk of accounts has its whole history among itself, which bounds
memory; several processes work on chunks side by side, each under a writer's slot and a seal chain of its own.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from uuid import UUID

import msgspec
import uvloop

from kessai.apps.bench.mixes import (
    AMOUNT_MAX,
    CUSTOMER_TYPE,
    FUNDING_OWNER,
    FUNDING_TYPE,
    OPENING_MINOR,
    customer,
    funding,
    pay,
)
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.apps.bench.worker import OpenFunding, start_ledger
from kessai.apps.memory import settle_memory
from kessai.foundation.call import Call
from kessai.foundation.db import Connection, Database, role_of
from kessai.foundation.errors import PaymentError
from kessai.foundation.events import encode_events
from kessai.foundation.ids import new_hex
from kessai.services.ledger.api import ExchangeRecorded, ExchangeState, OpenAccount, account_id_of
from kessai.services.ledger.domain.book import Book
from kessai.services.ledger.domain.commands import Command, Create, Open
from kessai.services.ledger.domain.page import Page
from kessai.services.ledger.domain.posting import credit, debit
from kessai.services.ledger.domain.state import SLOT_BITS, AccountState, Lot, flush_instant, micros
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.service.verbs import content_digest
from kessai.services.ledger.store import SERVICE
from kessai.services.ledger.store.loading import load_accounts
from kessai.services.ledger.store.rows import accounts_row, page_digest
from kessai.services.ledger.store.writer import GENESIS, next_seal

CALLER = Call().caller
CHUNK_ACCOUNTS_MAX = 20_000
EXCHANGES_A_PAGE = 2_000
PAGES_A_COPY = 8
PROCESSES = 2

Row = Sequence[object]

encode = msgspec.json.Encoder().encode

COLUMNS: dict[str, tuple[str, ...]] = {
    "flush": ("flush_id", "slot", "epoch", "sequence", "effects", "digest", "seal", "expected", "verified"),
    "account_event": ("account_id", "version", "event", "ordinal", "record", "flush_id"),
    "exchange": ("exchange_id", "ordinal", "record", "digest", "caller", "processing_id", "flush_id"),
    "account_log": (
        "account_id", "sequence", "exchange_id", "leg", "amount", "held_change", "balance", "held", "flush_id",
    ),
    "hot_log": ("account_id", "ordinal", "exchange_id", "leg", "amount", "flush_id"),
    "lot_log": ("account_id", "sequence", "lot_sequence", "amount", "held_change"),
    "outbox": ("outbox_id", "topic", "event_count", "payload", "recorded_at"),
    "lot": ("account_id", "sequence", "amount", "remaining", "held", "is_open"),
    "account": (
        "account_id", "owner", "account_type", "asset", "balance", "held", "version", "overdraft", "frozen", "closed",
        "metadata", "opened_id", "flush_id",
    ),
    "writer": ("slot", "epoch", "holder", "lease_until", "fenced", "stable_id", "sequence", "seal"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chunk:
    """Open these customers' accounts, credit each, and post `exchanges` between them."""

    customers: list[int]
    exchanges: int
    seed: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Write the writer's row: this process adds nothing more."""


async def preload(dsn: str, accounts: int, logs: int, told: Callable[[int, int], None]) -> int:
    """Fill a fresh database with accounts and their past; gives how many logs there are.

    `told` hears, again and again, how many of how many logs are written.
    """
    async with start_ledger(dsn) as ledger:
        await ledger.order(OpenFunding())
    chunks = chunks_of(accounts, logs)
    total = sum(2 * (len(chunk.customers) + chunk.exchanges) for chunk in chunks)
    waiting, done = iter(chunks), 0

    async def work(slot: int) -> None:
        nonlocal done
        async with start_preload(dsn, slot) as process:
            for chunk in waiting:
                written = await process.order(chunk)
                done += written
                told(done, total)
            await process.order(Finish())

    await asyncio.gather(*(work(slot) for slot in range(1, 1 + min(PROCESSES, len(chunks)))))
    return done


def start_preload(dsn: str, slot: int) -> Spawned[Chunk | Finish, int]:
    """A process that writes chunks under a slot of its own; each order's answer is how many logs it has written."""
    return Spawned(_serve, dsn, slot)


def chunks_of(accounts: int, logs: int) -> list[Chunk]:
    """The chunks of a ledger: neighbours by account id, so that what a chunk writes stays together in each index."""
    ordered = sorted((account_id_of(customer(number), CUSTOMER_TYPE), number) for number in range(accounts))
    # Each exchange leaves two logs, the opening credits included.
    history = max(0, logs // 2 - accounts)
    count = -(-accounts // CHUNK_ACCOUNTS_MAX)
    return [
        Chunk(
            [number for _, number in ordered[part * accounts // count : (part + 1) * accounts // count]],
            (part + 1) * history // count - part * history // count,
            seed=part,
        )
        for part in range(count)
    ]


def _serve(dsn: str, slot: int, pipe: Pipe) -> None:
    uvloop.run(_work(dsn, slot, pipe))


async def _work(dsn: str, slot: int, pipe: Pipe) -> None:
    connection = await Database(dsn).connect(role_of(SERVICE))
    try:
        filler = _Filler(connection, slot)
        await filler.open()
        settle_memory()
        await follow_orders(pipe, filler.carry_out)
    finally:
        await connection.close()


@dataclass(slots=True)
class _Gathered:
    """Rows on their way to the database, a list a table."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in COLUMNS})
    pages: int = 0

    def page(self, page: Page, slot: int, sequence: int, seal: bytes) -> bytes:
        """Add everything a page writes but accounts and lots; gives the page's seal."""
        tables, tail = self.tables, (page.flush_id,)
        digest = page_digest(page.records, [row[3] for row in page.exchanges])
        matched = 1 + len(page.accounts) - len(page.births) + len(page.consulted) + len(page.lots)
        following = next_seal(seal, page.flush_id, digest, len(page.records), matched)
        tables["flush"].append(
            (page.flush_id, slot, 1, sequence, len(page.records), digest, following, matched, matched)
        )
        for table, rows in (
            ("account_event", page.account_events), ("exchange", page.exchanges),
            ("account_log", page.logs), ("hot_log", page.hot_logs),
        ):  # fmt: skip
            tables[table] += [row + tail for row in rows]
        tables["lot_log"] += page.lot_logs
        recorded_at = flush_instant(page.flush_id)
        if page.births:
            tables["outbox"].append(accounts_row(page, recorded_at))
        if effects := page.exchange_records():
            tables["outbox"].append((new_hex(), "ledger.exchange", len(effects), encode_events(effects), recorded_at))
        self.pages += 1
        return following

    async def copy(self, connection: Connection) -> None:
        """Write what has been gathered, and forget it."""
        for table, rows in self.tables.items():
            if rows:
                await connection.copy_records_to_table(
                    table, schema_name=SERVICE, columns=COLUMNS[table], records=rows, timeout=None
                )
                rows.clear()
        self.pages = 0


class _Filler:
    """Decides and writes chunk after chunk under one writer's slot."""

    def __init__(self, connection: Connection, slot: int) -> None:
        self._connection = connection
        self._slot = slot
        self._types = load_account_types()
        self._funding: AccountState | None = None
        self._serial = 0
        self._sequence = 0
        self._last_id = 0
        self._seal = GENESIS

    async def open(self) -> None:
        """Load the account that every opening credit comes from."""
        account_id = account_id_of(FUNDING_OWNER, FUNDING_TYPE)
        ((self._funding, _),) = await load_accounts(self._connection, self._types, [account_id[4:]], lock=False)

    async def carry_out(self, order: Chunk | Finish) -> int:
        """The answer to one order: how many logs it has written."""
        if isinstance(order, Finish):
            await self._finish()
            return 0
        async with self._connection.transaction():
            return await self._write(order)

    async def _write(self, chunk: Chunk) -> int:
        assert self._funding is not None
        book, gathered, logs = Book(self._types), _Gathered(), 0
        book.accounts[self._funding.account_id] = self._funding
        lots: list[tuple[AccountState, Lot]] = []
        touched: dict[AccountState, int] = {}
        for page in self._pages(book, chunk):
            self._sequence += 1
            self._seal = gathered.page(page, self._slot, self._sequence, self._seal)
            lots += page.new_lots
            for account in page.accounts:
                touched[account] = page.flush_id
                account.side.clear()  # exhausted lots: nothing here reverses
            logs += len(page.logs) + len(page.hot_logs)
            if gathered.pages == PAGES_A_COPY:
                await gathered.copy(self._connection)
        gathered.tables["lot"] += [_lot(account, lot) for account, lot in lots]
        gathered.tables["account"] += [_account(each, flush_id, self._slot) for each, flush_id in touched.items()]
        await gathered.copy(self._connection)
        return logs

    def _pages(self, book: Book, chunk: Chunk) -> Iterable[Page]:
        """Openings, opening credits, then exchanges between two of the customers, drawn evenly."""
        owners = [customer(number) for number in chunk.customers]
        for at in range(0, len(owners), EXCHANGES_A_PAGE):
            part = owners[at : at + EXCHANGES_A_PAGE]
            yield self._decide(book, [_open(owner) for owner in part])
            yield self._decide(book, [_fund(owner) for owner in part])
        draw = random.Random(chunk.seed)  # noqa: S311  (a load, not a secret)
        accounts = [book.accounts[account_id_of(owner, CUSTOMER_TYPE)] for owner in owners]
        for at in range(0, chunk.exchanges, EXCHANGES_A_PAGE):
            page = self._page()
            for _ in range(min(EXCHANGES_A_PAGE, chunk.exchanges - at)):
                _post(page, *_drawn(draw, accounts), draw.randint(1, AMOUNT_MAX))
            yield page

    def _page(self) -> Page:
        self._serial += 1
        at = max(micros(datetime.now(UTC)), (self._last_id >> SLOT_BITS) + 1)
        self._last_id = (at << SLOT_BITS) | self._slot
        return Page(self._serial, self._last_id, at)

    def _decide(self, book: Book, commands: Sequence[Command]) -> Page:
        page = self._page()
        book.decide(page, commands)
        book.finish(page)
        refused = next((each for each in page.outcomes if isinstance(each, PaymentError)), None)
        if refused is not None:
            raise RuntimeError(f"history was refused: {refused.code}")
        return page

    async def _finish(self) -> None:
        """A slot that was given up, as the ledger leaves it when it stops: the next process takes a new epoch."""
        if not self._sequence:
            return
        rows = [
            (self._slot, 2, UUID(int=0), datetime.now(UTC), True, self._last_id, self._sequence, self._seal),
        ]
        await self._connection.copy_records_to_table(
            "writer", schema_name=SERVICE, columns=COLUMNS["writer"], records=rows
        )


def _open(owner: str) -> Open:
    return Open(OpenAccount(owner=owner, account_type=CUSTOMER_TYPE), account_id_of(owner, CUSTOMER_TYPE))


def _fund(owner: str) -> Create:
    request = funding(owner, CUSTOMER_TYPE, OPENING_MINOR)
    accounts: list[str] = [account_id_of(FUNDING_OWNER, FUNDING_TYPE), account_id_of(owner, CUSTOMER_TYPE)]
    return Create(request, f"exc_{new_hex()}", content_digest(request), accounts, CALLER, None)


def _drawn(draw: random.Random, accounts: Sequence[AccountState]) -> tuple[AccountState, AccountState]:
    one, step = draw.randrange(len(accounts)), draw.randrange(1, len(accounts))
    return accounts[one], accounts[(one + step) % len(accounts)]


def _post(page: Page, source: AccountState, target: AccountState, amount: int) -> None:
    """What the ledger does with an exchange that nothing stands in the way of, without the answer nobody waits for."""
    assert source.balance >= amount, "a random walk of small amounts reaches neither end"
    request, exchange_hex = pay(source.account_id, target.account_id, amount), new_hex()
    record = encode(
        ExchangeRecorded(
            exchange_id=f"exc_{exchange_hex}",
            action="created",
            kind=request.kind,
            state=ExchangeState.CAPTURED,
            caller=CALLER,
            postings=[debit(page, source, exchange_hex, 0, amount), credit(page, target, exchange_hex, 1, amount)],
        )
    )
    page.exchanges.append((exchange_hex, len(page.records), record, content_digest(request), CALLER, None))
    page.records.append(record)


def _lot(account: AccountState, lot: Lot) -> Row:
    return (account.hex, lot.sequence, lot.amount, lot.remaining, lot.held, lot.remaining > 0)


def _account(account: AccountState, flush_id: int, slot: int) -> Row:
    return (
        account.hex, account.owner, account.type.code, account.type.asset, account.balance, account.held,
        account.version, account.overdraft, account.freeze.value, account.closed, "{}",
        account.opened << SLOT_BITS | slot, flush_id,
    )  # fmt: skip
