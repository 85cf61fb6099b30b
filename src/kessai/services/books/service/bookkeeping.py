"""The bookkeeper (記帳): books what the ledger and the bank tell, exactly once, in the transaction that heard it.

A journal's id is its event's; so an event that is heard again after its cursor was lost is known, and left alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
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
from kessai.services.books.domain.faults import OF_AN_EVENT, fault_of
from kessai.services.books.domain.posting import Batch, Book, Entry, Happening, Journal, Known, Unposted, journal_id_of
from kessai.services.books.domain.statutory.lines import Statement, Undone, statement_of
from kessai.services.books.domain.tax import tax_accounts
from kessai.services.books.service.orders import order_for, recall_orders
from kessai.services.books.store import ROLE, directory, journals, unposted
from kessai.services.books.store.feed import Feed
from kessai.services.books.store.periods import hold_gate
from kessai.services.books.store.statutory_lines import insert_orders
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

MOVED = (InstructionState.DONE, InstructionState.RETURNED)
"""Of an instruction to the bank: something left, or came in."""

FAULTS = (*OF_AN_EVENT, asyncpg.DataError, asyncpg.CheckViolationError, asyncpg.NotNullViolationError)
"""Errors that come back however often the event is tried, from the database, too."""

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


class _Faulty(Exception):
    """Something of what is reposted cannot be written: what is wrong."""


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
        self._faulty: dict[str, str] = {}
        """Events that cannot be written, with what is wrong with them: they stand unposted when they come again."""
        self._leaves_waiting = False
        """Whether what waits for an account is left to the job: booking it with the last news failed."""
        self.booked = 0
        """Events booked by this process."""
        self.standing: dict[str, int] = {}
        """Events that stand unposted, by reason, when they were last counted."""

    async def hear(self, connection: Connection, events: Sequence[Event]) -> None:
        """Book events in the transaction that delivers them; what cannot be booked stands unposted, and is seen.

        Where writing fails, the events are to be told again: each alone, and then the one that fails stands unposted.
        """
        try:
            await self._hear(connection, events)
        except asyncpg.UniqueViolationError as error:
            self._again = True
            raise Unavailable("booked_already", "Something of this was booked before.") from error
        except FAULTS as error:
            if len(events) > 1:
                raise
            self._faulty[_event_id(events[0])] = fault_of(error)
            raise Unavailable("event_faulty", "The event cannot be written; it is put aside next.") from error

    async def _hear(self, connection: Connection, events: Sequence[Event]) -> None:
        heard = told = await _happenings(events, self._faulty)
        learned = await self._learn(connection, events)
        if self._again:
            told = await self._without_booked(connection, heard)
        batch = await self._book(connection, told, careful=self._again, heard=True)
        parked: list[str] = []
        if batch.unposted:
            parked = await unposted.insert_unposted(connection, batch.unposted, batch.recorded_at)
        if learned and not self._leaves_waiting:
            await self._book_waiting(connection, learned)
        self._tally(parked, ())
        self._again, self._leaves_waiting = len(told) < len(heard), False
        self._faulty.clear()

    async def _book_waiting(self, connection: Connection, learned: Sequence[str]) -> None:
        """Book what waited for accounts; where that fails, the news alone are to be told again."""
        if not (waiting := await unposted.unposted_of_accounts(connection, learned, WAITING_MAX)):
            return
        try:
            await self._repost(connection, waiting)
        except FAULTS as error:
            self._leaves_waiting = True
            raise Unavailable("waiting_faulty", "Something that waited cannot be written; it is left.") from error

    async def repost(self, event_ids: Collection[str]) -> Reposted:
        """Try events again that stand unposted; those that are booked meanwhile, or unknown, are left out.

        Where writing them fails, they are tried in halves, until the one that fails stands alone, with what is wrong.
        """
        named = list(event_ids)

        async def work(connection: Connection) -> Reposted:
            try:
                return await self._repost(connection, named)
            except asyncpg.UniqueViolationError:
                raise
            except FAULTS as error:
                raise _Faulty(fault_of(error)) from error

        try:
            return await self._database.transaction(ROLE, work)
        except _Faulty as error:
            fault = str(error)
        if len(named) == 1:
            return await self._database.transaction(ROLE, lambda each: self._leave(each, named[0], fault))
        middle = len(named) // 2
        first, second = await self.repost(named[:middle]), await self.repost(named[middle:])
        return Reposted([*first.posted, *second.posted], [*first.standing, *second.standing])

    async def _leave(self, connection: Connection, event_id: str, fault: str) -> Reposted:
        """An event stands on, with what is wrong with it."""
        stored = await unposted.lock_unposted(connection, [event_id])
        standing = [(each.event_id, Unposted.UNREADABLE, fault) for each in stored]
        await unposted.settle_unposted(connection, [], standing, self._clock.now())
        self._tally([Unposted.UNREADABLE for _ in stored], [each.reason for each in stored])
        return Reposted([], standing)

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
        """The same where an event waits for an account (for the job); gives how many accounts were learned.

        What was left when the news of its account came is booked here, too.
        """
        await self.refresh()
        if Unposted.ACCOUNT_UNKNOWN not in self.standing:
            return 0
        learned = await self.learn_from(ledger)
        if known := await self._database.transaction(ROLE, lambda each: unposted.unposted_of_known(each, WAITING_MAX)):
            await self.repost(known)
        return learned

    async def _take_note(self, accounts: Sequence[ExportedAccount]) -> int:
        async def work(connection: Connection) -> tuple[list[str], list[str]]:
            learned = await directory.insert_accounts(connection, accounts)
            return learned, await unposted.unposted_of_accounts(connection, learned, WAITING_MAX)

        learned, waiting = await self._database.transaction(ROLE, work)
        if waiting:
            await self.repost(waiting)
        return len(learned)

    async def refresh(self) -> None:
        """Count anew what stands unposted."""
        await self._database.transaction(ROLE, self._count)

    # -- accounts -------------------------------------------------------------------------------------------------

    async def _learn(self, connection: Connection, events: Sequence[Heard]) -> list[str]:
        """Take note of the accounts that events tell of; gives those that are new."""
        told = [event for event in events if event.topic == TOPIC_ACCOUNT and _event_id(event) not in self._faulty]
        if not told:
            return []
        opened = [_account(event.payload) for event in told]
        self._remember((each.account_id, each.owner, each.account_type) for each in opened)
        return await directory.insert_accounts(connection, opened)

    def _remember(self, accounts: Iterable[tuple[str, str, str]]) -> None:
        types = self.books.types
        for account_id, owner, account_type in accounts:
            known = types.get(account_type)
            self._known[account_id] = Known(owner, account_type, "internal" if known is None else known.owner_kind)

    async def _look_up(self, connection: Connection, told: list[Happening]) -> None:
        """Bring to mind the accounts that events name; an event whose postings are none becomes one without."""
        known = self._known
        if len(known) > ACCOUNTS_MAX:
            known.clear()
        missing: set[str] = set()
        for place, happening in enumerate(told):
            if isinstance(happening.told, ExchangeRecorded):
                postings: Any = happening.told.postings
                try:
                    missing.update(posting[1] for posting in postings if posting[1] not in known)
                except FAULTS as error:
                    told[place] = happening._replace(told=fault_of(error))
        if missing:
            self._remember(await directory.load_accounts(connection, missing))

    # -- booking --------------------------------------------------------------------------------------------------

    async def _book(self, connection: Connection, told: list[Happening], *, careful: bool, heard: bool) -> Batch:
        """Book what can be; the rest is the batch's `unposted`, and is not written here.

        `careful`: lines of the statutory books may be there already; `heard`: the feed tells of this now. What is
        decided of one part is written while the next one is decided; others have a turn between two stretches.
        """
        batch = Batch(self._clock.now())
        # First, as one who books waits here for another: what was given back before is asked for after it.
        feed = await Feed.of(connection, told, careful=careful, heard_at=batch.recorded_at if heard else None)
        await self._look_up(connection, told)
        held = await self._recall(connection, batch, told)
        orders = await recall_orders(connection, batch, told)
        book = Book(self.books.rules, self._known, await hold_gate(connection, batch.recorded_at))
        writing: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(told), PART):
                statements: list[Statement] = []
                for each in _stretches(told[start : start + PART]):
                    stretch = list(each)
                    statements += self._statements(stretch, batch)
                    book.book(batch, stretch)
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
        if held:
            await directory.insert_held(connection, held)
        if orders:
            await insert_orders(connection, orders)
        self.booked += batch.booked
        return batch

    def _statements(self, told: list[Happening], batch: Batch) -> list[Statement]:
        """The statutory books' part of it, which does not ask whether the event can be booked.

        An event of which it cannot be made becomes one that is not booked either.
        """
        known, config, found = self._known, self.books.statutory, list[Statement]()
        held, kinds = batch.held, dict[str, str]()
        for place, happening in enumerate(told):
            each = happening.told
            if isinstance(each, ExchangeRecorded):
                kinds[each.exchange_id] = each.kind
                undone = None if each.reverses is None else _undone(each.reverses, batch, kinds)
                try:
                    payment_id, order = held.get(each.exchange_id), order_for(batch, each)
                    made = statement_of(each, known, config, happening.at, payment_id, undone, order)
                except FAULTS as error:
                    told[place] = happening._replace(told=fault_of(error))
                else:
                    if made.lines:
                        found.append(made)
        return found

    async def _recall(self, connection: Connection, batch: Batch, told: Sequence[Happening]) -> dict[str, str]:
        """What was booked before of the exchanges and instructions that events go on with.

        Gives the payments of exchanges that are held by these events.
        """
        captured: set[str] = set()
        moved: set[str] = set()
        held: dict[str, str] = {}
        for happening in told:
            each = happening.told
            if isinstance(each, ExchangeRecorded):
                if each.reverses is not None:
                    batch.reversed.add(each.reverses)
                elif each.action == "captured":
                    captured.add(each.exchange_id)
                elif each.action == "authorized" and each.reference is not None:
                    held[each.exchange_id] = each.reference
            elif isinstance(each, InstructionChanged) and each.state in MOVED:
                moved.add(each.instruction_id)
        if originals := batch.reversed | moved:
            batch.originals.update(await directory.load_originals(connection, originals))
        if batch.reversed:
            await self._recall_taxed(connection, batch)
        if moved:
            here = {happening.event_id for happening in told}
            standing = await unposted.standing_of(connection, moved)
            batch.standing.update(subject for event_id, subject in standing if event_id not in here)
        if captured:
            batch.held.update(await directory.load_held(connection, captured))
        batch.held.update(held)
        return held

    async def _recall_taxed(self, connection: Connection, batch: Batch) -> None:
        """What is booked under tax codes of exchanges that are reversed, or of those that their chains begin with."""
        roots = {known.root for each in batch.reversed if (known := batch.originals.get(each)) is not None}
        if roots:
            accounts = tax_accounts(self.books.rules)
            batch.taxed.update(await directory.load_taxed(connection, roots, accounts))

    async def _repost(self, connection: Connection, event_ids: Collection[str]) -> Reposted:
        stored = await unposted.lock_unposted(connection, event_ids)
        await self._learn(connection, stored)
        told = [_happening(each, {}) for each in stored if each.topic != TOPIC_ACCOUNT]
        batch = await self._book(connection, await self._without_booked(connection, told), careful=True, heard=False)
        standing = [(each.event_id, reason, detail) for each, reason, detail in batch.unposted]
        still = {event_id for event_id, _, _ in standing}
        posted = [each.event_id for each in stored if each.event_id not in still]
        await unposted.settle_unposted(connection, posted, standing, batch.recorded_at)
        self._tally([reason for _, reason, _ in standing], [each.reason for each in stored])
        return Reposted(posted, standing)

    async def _without_booked(self, connection: Connection, told: list[Happening]) -> list[Happening]:
        booked = await journals.booked_journals(connection, [journal_id_of(each) for each in told])
        return [each for each in told if journal_id_of(each) not in booked]

    async def _count(self, connection: Connection) -> None:
        self.standing = await unposted.count_unposted(connection)

    def _tally(self, parked: Iterable[str], settled: Iterable[str]) -> None:
        """Go on counting from the last count: all of them are counted by the job only, however many stand."""
        counts = Counter(self.standing)
        counts.update(parked)
        counts.subtract(settled)
        self.standing = {reason: count for reason, count in counts.items() if count > 0}


def _undone(reversed_id: str, batch: Batch, kinds: Mapping[str, str]) -> Undone | None:
    """What a reversal undoes, as far as it is told with it or booked; `kinds`: of what is told with it."""
    if (original := batch.originals.get(reversed_id)) is not None:
        return Undone(original.kind, again=original.root != reversed_id)
    return Undone(kinds[reversed_id]) if reversed_id in kinds else None


async def _write(
    connection: Connection,
    feed: Feed,
    decided: Sequence[Journal],
    entries: Sequence[Entry],
    statements: Sequence[Statement],
) -> None:
    await journals.copy_journals(connection, decided, entries)
    await feed.write(statements)


async def _happenings(events: Sequence[Event], faulty: Mapping[str, str]) -> list[Happening]:
    """Events of movements, read, and whatever cannot be written; `faulty`: what is known to be wrong with events."""
    told: list[Happening] = []
    for stretch in _stretches(events):
        told += [
            _happening(event, faulty) for event in stretch if event.topic != TOPIC_ACCOUNT or _event_id(event) in faulty
        ]
        await asyncio.sleep(0)
    return told


def _stretches(events: Sequence[E]) -> Iterator[Sequence[E]]:
    """Events in parts that do not hold up the event loop for long."""
    return (events[start : start + STRETCH] for start in range(0, len(events), STRETCH))


def _event_id(event: Heard) -> str:
    return f"{event.source}/{event.position}/{event.ordinal}"


def _happening(event: Heard, faulty: Mapping[str, str]) -> Happening:
    told: ExchangeRecorded | InstructionChanged | str
    try:
        told = _exchange(event.payload) if event.source == "ledger" else _instruction(event.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        told = str(error)[:500]
    if faulty:
        told = faulty.get(_event_id(event), told)
    return Happening(event.source, event.position, event.ordinal, event.topic, event.payload, event.recorded_at, told)
