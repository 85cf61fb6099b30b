"""The bookkeeper (記帳): books what the ledger and the bank tell, exactly once, in the transaction that heard it.

A journal's id is its event's; so an event that is heard again after its cursor was lost is known, and left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import asyncpg
import msgspec
import structlog

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.errors import Unavailable
from kessai.foundation.events import Event
from kessai.services.bank.api import InstructionChanged, InstructionState
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.posting import Batch, Book, Entry, Happening, Journal, Known, Unposted, journal_id_of
from kessai.services.books.domain.statutory.lines import Statement, statement_of
from kessai.services.books.store import ROLE, directory, journals, unposted
from kessai.services.books.store.feed import Feed
from kessai.services.books.store.periods import hold_gate
from kessai.services.books.store.unposted import StoredEvent
from kessai.services.ledger.api import AccountOpened, ExchangeRecorded, ExportAccounts, ExportedAccount, Ledger

log = structlog.get_logger(__name__)

PART = 500
"""Events written together."""
STRETCH = 100
"""Events read, or decided, at a stretch."""
ACCOUNTS_MAX = 200_000
"""Accounts remembered; what they are never changes."""
PAGE = 1_000
"""Accounts taken note of at once."""
WAITING_MAX = 2_000
"""Events booked with the news of an account that they waited for; a job goes on with the rest."""
TOPIC_ACCOUNT = "ledger.account"
TOPIC_EXCHANGE = "ledger.exchange"

Heard: TypeAlias = "Event | StoredEvent"
E = TypeVar("E")

_exchange = msgspec.json.Decoder(ExchangeRecorded).decode
_account = msgspec.json.Decoder(AccountOpened).decode
_instruction = msgspec.json.Decoder(InstructionChanged).decode


@dataclass(frozen=True, slots=True)
class Reposted:
    """What became of events that stood unposted."""

    posted: Sequence[str]
    standing: Sequence[tuple[str, str, str]]
    """Event, reason, detail."""


class Bookkeeper:
    """One a process; several may work on one database."""

    def __init__(self, database: Database, clock: Clock, books: BooksConfig) -> None:
        self._database = database
        self._clock = clock
        self.books = books
        self._any_account = load_queries("kessai.services.books")["any_account"]
        self._known: dict[str, Known] = {}
        self._again = False
        """Whether what is heard may be booked already: something of the last batch was."""
        self.booked = 0
        """Events booked by this process."""
        self.standing: dict[str, int] = {}
        """Events that stand unposted, by reason, when they were last counted."""

    async def hear(self, connection: Connection, events: Sequence[Event]) -> None:
        """Book events in the transaction that delivers them; what cannot be booked stands unposted, and is seen."""
        learned = await self._learn(connection, events)
        heard = told = await _happenings(events)
        if self._again:
            told = await self._without_booked(connection, heard)
        try:
            batch = await self._book(connection, told, careful=self._again)
        except asyncpg.UniqueViolationError as error:
            self._again = True
            raise Unavailable("booked_already", "Something of this was booked before.") from error
        if batch.unposted:
            await unposted.insert_unposted(connection, batch.unposted, batch.recorded_at)
        waiting = await unposted.unposted_of_accounts(connection, learned, WAITING_MAX) if learned else []
        if waiting:
            await self._repost(connection, waiting)
        if batch.unposted or waiting:
            await self._count(connection)
        self._again = len(told) < len(heard)

    async def repost(self, event_ids: Collection[str]) -> Reposted:
        """Try events again that stand unposted; those that are booked meanwhile, or unknown, are left out."""

        async def work(connection: Connection) -> Reposted:
            done = await self._repost(connection, event_ids)
            await self._count(connection)
            return done

        return await self._database.transaction(ROLE, work)

    async def learn_from(self, ledger: Ledger) -> int:
        """Take note of every account of the ledger, and book what waited for one; gives how many were new.

        For a ledger that had accounts before it told of them.
        """
        new: list[ExportedAccount] = []
        learned = 0
        async for account in ledger.export_accounts(ExportAccounts()):
            new.append(account)
            if len(new) == PAGE:
                learned += await self._take_note(new)
                new = []
        return learned + await self._take_note(new)

    async def learn_if_new(self, ledger: Ledger) -> int:
        """The same where not one account is known yet, so that nothing has to wait; gives how many were learned."""
        if await self._database.fetch(ROLE, self._any_account):
            return 0
        return await self.learn_from(ledger)

    async def look_after_unknown(self, ledger: Ledger) -> int:
        """The same where an event waits for an account (for the job); gives how many accounts were learned."""
        await self.refresh()
        return await self.learn_from(ledger) if Unposted.ACCOUNT_UNKNOWN in self.standing else 0

    async def _take_note(self, accounts: Sequence[ExportedAccount]) -> int:
        async def work(connection: Connection) -> int:
            learned = await directory.insert_accounts(connection, accounts)
            if waiting := await unposted.unposted_of_accounts(connection, learned, WAITING_MAX):
                await self._repost(connection, waiting)
                await self._count(connection)
            return len(learned)

        return await self._database.transaction(ROLE, work)

    async def refresh(self) -> None:
        """Count anew what stands unposted."""
        await self._database.transaction(ROLE, self._count)

    # -- accounts -------------------------------------------------------------------------------------------------

    async def _learn(self, connection: Connection, events: Sequence[Event]) -> list[str]:
        """Take note of the accounts that events tell of; gives those that are new."""
        opened = [_account(event.payload) for event in events if event.topic == TOPIC_ACCOUNT]
        if not opened:
            return []
        self._remember((each.account_id, each.owner, each.account_type) for each in opened)
        return await directory.insert_accounts(connection, opened)

    def _remember(self, accounts: Iterable[tuple[str, str, str]]) -> None:
        types = self.books.types
        for account_id, owner, account_type in accounts:
            known = types.get(account_type)
            self._known[account_id] = Known(owner, account_type, "internal" if known is None else known.owner_kind)

    async def _look_up(self, connection: Connection, told: Sequence[Happening]) -> None:
        """Bring to mind the accounts that events name."""
        known = self._known
        if len(known) > ACCOUNTS_MAX:
            known.clear()
        missing: set[str] = set()
        for happening in told:
            if isinstance(happening.told, ExchangeRecorded):
                postings: Any = happening.told.postings
                missing.update(posting[1] for posting in postings if posting[1] not in known)
        if missing:
            self._remember(await directory.load_accounts(connection, missing))

    # -- booking --------------------------------------------------------------------------------------------------

    async def _book(self, connection: Connection, told: list[Happening], *, careful: bool) -> Batch:
        """Book what can be; the rest is the batch's `unposted`, and is not written here.

        `careful`: lines of the statutory books may be there already. What is decided of one part is written while the
        next one is decided; others have a turn between two stretches.
        """
        batch = Batch(self._clock.now())
        await self._look_up(connection, told)
        await self._recall(connection, batch, told)
        held = set(batch.held)
        book = Book(self.books.rules, self._known, await hold_gate(connection, batch.recorded_at))
        feed = await Feed.of(connection, told, careful=careful)
        writing: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(told), PART):
                statements: list[Statement] = []
                for stretch in _stretches(told[start : start + PART]):
                    book.book(batch, stretch)
                    statements += self._statements(stretch, batch.held)
                    await asyncio.sleep(0)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_write(connection, feed, *batch.taken(), statements))
            if writing is not None:
                await writing
        finally:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
        await feed.end()
        await journals.add_totals(connection, batch.totals)
        if len(batch.held) > len(held):
            new = {exchange: payment for exchange, payment in batch.held.items() if exchange not in held}
            await directory.insert_held(connection, new)
        self.booked += batch.booked
        return batch

    def _statements(self, told: Sequence[Happening], held: Mapping[str, str]) -> list[Statement]:
        """The statutory books' part of it, which does not ask whether the event could be booked."""
        known, rules, found = self._known, self.books.statutory, list[Statement]()
        for happening in told:
            each = happening.told
            if isinstance(each, ExchangeRecorded):
                made = statement_of(each, known, rules, happening.at, held.get(each.exchange_id))
                if made.lines:
                    found.append(made)
        return found

    async def _recall(self, connection: Connection, batch: Batch, told: Sequence[Happening]) -> None:
        """What was booked before of the exchanges and instructions that events go on with."""
        originals: set[str] = set()
        captured: set[str] = set()
        for happening in told:
            each = happening.told
            if isinstance(each, ExchangeRecorded):
                if each.reverses is not None:
                    originals.add(each.reverses)
                elif each.action == "captured":
                    captured.add(each.exchange_id)
            elif isinstance(each, InstructionChanged) and each.state is InstructionState.RETURNED:
                originals.add(each.instruction_id)
        if originals:
            batch.originals.update(await directory.load_originals(connection, originals))
        if captured:
            batch.held.update(await directory.load_held(connection, captured))

    async def _repost(self, connection: Connection, event_ids: Collection[str]) -> Reposted:
        told = [_happening(each) for each in await unposted.lock_unposted(connection, event_ids)]
        batch = await self._book(connection, await self._without_booked(connection, told), careful=True)
        standing = [(each.event_id, reason, detail) for each, reason, detail in batch.unposted]
        still = {event_id for event_id, _, _ in standing}
        posted = [each.event_id for each in told if each.event_id not in still]
        await unposted.settle_unposted(connection, posted, standing, batch.recorded_at)
        return Reposted(posted, standing)

    async def _without_booked(self, connection: Connection, told: list[Happening]) -> list[Happening]:
        booked = await journals.booked_journals(connection, [journal_id_of(each) for each in told])
        return [each for each in told if journal_id_of(each) not in booked]

    async def _count(self, connection: Connection) -> None:
        self.standing = await unposted.count_unposted(connection)


async def _write(
    connection: Connection,
    feed: Feed,
    decided: Sequence[Journal],
    entries: Sequence[Entry],
    statements: Sequence[Statement],
) -> None:
    await journals.copy_journals(connection, decided, entries)
    await feed.write(statements)


async def _happenings(events: Sequence[Event]) -> list[Happening]:
    """Events of movements, read."""
    told: list[Happening] = []
    for stretch in _stretches(events):
        told += [_happening(event) for event in stretch if event.topic != TOPIC_ACCOUNT]
        await asyncio.sleep(0)
    return told


def _stretches(events: Sequence[E]) -> Iterator[Sequence[E]]:
    """Events in parts that do not hold up the event loop for long."""
    return (events[start : start + STRETCH] for start in range(0, len(events), STRETCH))


def _happening(event: Heard) -> Happening:
    told: ExchangeRecorded | InstructionChanged | str
    try:
        told = _exchange(event.payload) if event.source == "ledger" else _instruction(event.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        told = str(error)[:500]
    return Happening(event.source, event.position, event.ordinal, event.topic, event.payload, event.recorded_at, told)
