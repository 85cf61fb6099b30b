"""The journals anew: every event of the ledger and the bank is posted once more by the rules, and compared whole.

Events and journals are read side by side in pages: a journal's id runs with its event's position.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from typing import TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from kessai.apps.verify.books_orders import Orders
from kessai.apps.verify.books_undoing import Undoing
from kessai.apps.verify.checks import BROKEN_MAX
from kessai.apps.verify.finding import Projection, Report, Row
from kessai.foundation.db import Connection, Queries
from kessai.foundation.events.outbox import events_of
from kessai.services.bank.api import InstructionChanged
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.periods import Standing
from kessai.services.books.domain.posting import (
    AHEAD_MAX,
    SOURCES,
    Batch,
    Book,
    Entry,
    Happening,
    Journal,
    Known,
    Original,
    journal_id_of,
)
from kessai.services.books.domain.tax import tax_accounts
from kessai.services.ledger.api import ExchangeRecorded

AGAIN = "a journal is what its event is booked as"
PAGE = 5_000
"""Events posted anew together."""
ROWS_AT_ONCE = 50
"""Outbox rows read ahead; each has many events."""
ACCOUNTS_MAX = 200_000
"""Accounts kept in mind."""
JOURNALS = Projection(AGAIN, "books.journal", Journal._fields, 1)
ENTRIES = Projection(AGAIN, "books.entry", Entry._fields, 2)
_BOOKED_ON, _EVENT_ON, _RECORDED_AT = (Journal._fields.index(name) for name in ("booked_on", "event_on", "recorded_at"))
_exchange = msgspec.json.Decoder(ExchangeRecorded).decode
_instruction = msgspec.json.Decoder(InstructionChanged).decode
Stored: TypeAlias = dict[str, Row]
"""Journals that are there, by 32 digits."""


@dataclass(frozen=True, slots=True)
class Day:
    """The books as far as they were closed when something was booked: `Periods` of one journal."""

    booked_on: date | None

    def booking_day(self, event_on: date) -> date:
        """The day that the journal has; whether it could have that one is looked at apart."""
        return self.booked_on or event_on


@dataclass(slots=True)
class Closings:
    """When months were closed and opened again."""

    steps: Sequence[tuple[datetime, date, bool]]
    """Instant, month, whether it is open from then on; in order."""

    def days(self, event_on: date, recorded_at: datetime) -> set[date]:
        """Where an event could be booked at an instant, as clocks differ."""
        closed: set[date] = set()
        days: set[date] = set()
        for at, month, is_open in self.steps:
            if at > recorded_at - AHEAD_MAX:
                days.add(_booking_day(closed, event_on))
            if at > recorded_at + AHEAD_MAX:
                return days
            (closed.discard if is_open else closed.add)(month)
        return days | {_booking_day(closed, event_on)}


def _booking_day(closed: Collection[date], event_on: date) -> date:
    return Standing(max(closed, default=None)).booking_day(event_on)


@dataclass(slots=True)
class Page:
    """Some events, and the journals that stand in their places."""

    events: list[Happening]
    stored: Stored
    entries: list[Row]
    told: list[Row] = field(default_factory=list[Row])
    told_entries: list[Row] = field(default_factory=list[Row])
    refused: list[Happening] = field(default_factory=list[Happening])
    _entries: dict[str, list[Row]] | None = None

    def booked(self, event: Happening) -> tuple[Row | None, list[Row]]:
        """An event's journal, where it has one, and its entries."""
        if self._entries is None:
            self._entries = {str(name): list(rows) for name, rows in groupby(self.entries, lambda row: row[0])}
        journal_id = journal_id_of(event)
        return self.stored.get(journal_id), self._entries.get(journal_id, [])

    def take(self, batch: Batch) -> None:
        """What a batch has come to."""
        self.told += batch.journals
        self.told_entries += batch.entries
        self.refused += [event for event, _, _ in batch.unposted]

    @property
    def equal(self) -> bool:
        """Whether everything is booked as it is posted anew."""
        return self.told == list(self.stored.values()) and self.told_entries == self.entries and not self.refused


async def check_again(connection: Connection, sql: Queries, books: BooksConfig, report: Report) -> None:
    """Post every published event anew, and report each journal that is otherwise, missing or of no event."""
    steps = [(row["changed_at"], row["month"], row["open"]) for row in await connection.fetch(sql["closings"])]
    allowed = len(report.findings) + BROKEN_MAX
    for source in SOURCES:
        again = _Again(connection, sql, books, report, source, Closings(steps), allowed)
        await again.run()
    bounds = (UUID(_first(min(SOURCES.values()), 0)), UUID(_first(max(SOURCES.values()) + 1, 0)))
    for row in await connection.fetch(sql["misplaced_journals"], BROKEN_MAX, *bounds):
        report.add(AGAIN, "books.journal", row["key"], "no event has this id")


class _Again:
    """One source's events, from the first to the last."""

    def __init__(
        self,
        connection: Connection,
        sql: Queries,
        books: BooksConfig,
        report: Report,
        source: str,
        closings: Closings,
        allowed: int,
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._books = books
        self._report = report
        self._source = source
        self._closings = closings
        self._allowed = allowed
        self._known: dict[str, Known] = {}
        self._days: dict[tuple[date, datetime], set[date]] = {}
        self._next = _first(SOURCES[source], 0)
        self._heard = (0, 0)
        self._orders = Orders(connection, sql, report)

    async def run(self) -> None:
        cursor = await self._connection.fetchrow(self._sql["cursor"], f"books.{self._source}")
        self._heard = (0, 0) if cursor is None else (cursor["position"], cursor["handled"])
        events: list[Happening] = []
        async for row in self._connection.cursor(self._sql[f"published_{self._source}"], prefetch=ROWS_AT_ONCE):
            events += _happenings(self._source, row)
            if len(events) >= PAGE:
                await self._page(events, _first(SOURCES[self._source], row["position"] + 1))
                events = []
            if len(self._report.findings) >= self._allowed:
                return
        await self._page(events, _first(SOURCES[self._source] + 1, 0))
        if self._source == "ledger":
            await self._orders.check_strays()

    async def _page(self, events: list[Happening], until: str) -> None:
        bounds = (UUID(self._next), UUID(until))
        journals = await self._connection.fetch(self._sql["booked_journals"], *bounds)
        stored = {str(row[0]): tuple(row) for row in journals}
        found = await self._connection.fetch(self._sql["booked_entries"], *bounds)
        page = Page(events, stored, [tuple(row) for row in found if row[0] in stored])
        self._next = until
        if self._source == "ledger":
            await self._post_exchanges(page)
            await self._orders.check(events, self._was_heard)
        else:
            await self._post_instructions(page)
        self._check_days(page)
        if not page.equal:
            await self._compare(page)

    # -- posting anew ---------------------------------------------------------------------------------------------

    async def _post_exchanges(self, page: Page) -> None:
        await self._learn(page.events)
        held, undoing = await self._held(page.events), await self._undoing(page.events)
        for (recorded_at, booked_on, reverses), events in groupby(page.events, lambda each: _turn(page.stored, each)):
            book = Book(self._books.rules, self._known, Day(booked_on))
            if reverses is None:
                batch = Batch(recorded_at, held=held)
                book.book(batch, list(events))
                page.take(batch)
                continue
            for event in events:
                page.take(undoing.post(book, event, page.booked(event), recorded_at))

    async def _post_instructions(self, page: Page) -> None:
        """Of an instruction each event in its turn: what was booked before it is as the journals' instants say."""
        names = {each.told.instruction_id for each in page.events if isinstance(each.told, InstructionChanged)}
        rows = await self._connection.fetch(self._sql["instruction_journals"], list(names))
        for event in page.events:
            recorded_at, booked_on = _place(page.stored, event)
            batch = Batch(recorded_at, originals=_before(rows, event, page.stored))
            Book(self._books.rules, self._known, Day(booked_on)).book(batch, [event])
            page.take(batch)

    async def _learn(self, events: Sequence[Happening]) -> None:
        """Bring to mind the accounts that events name, as the ledger has them."""
        if len(self._known) > ACCOUNTS_MAX:
            self._known.clear()
        missing = {
            str(posting[1])
            for each in events
            if isinstance(each.told, ExchangeRecorded)
            for posting in each.told.postings
            if posting[1] not in self._known
        }
        for row in await self._connection.fetch(self._sql["accounts"], [UUID(each[4:]) for each in missing]):
            kind = self._books.types.get(row["account_type"])
            owner_kind = "internal" if kind is None else kind.owner_kind
            self._known[f"acc_{row['account_id'].hex}"] = Known(row["owner"], row["account_type"], owner_kind)

    async def _undoing(self, events: Sequence[Happening]) -> Undoing:
        """What is booked of the exchanges that events reverse."""
        wanted = {each.reverses for event in events if isinstance(each := event.told, ExchangeRecorded)} - {None}
        rows = await self._connection.fetch(self._sql["originals"], list(wanted)) if wanted else []
        originals = {
            row["exchange_id"]: Original(row["kind"], row["payment_id"], row["merchant"], row["root"]) for row in rows
        }
        roots = list({each.root for each in originals.values()})
        taxed = await self._connection.fetch(self._sql["taxed"], roots) if roots else []
        return Undoing(originals, taxed, tax_accounts(self._books.rules))

    async def _held(self, events: Sequence[Happening]) -> dict[str, str]:
        wanted = [
            each.told.exchange_id
            for each in events
            if isinstance(each.told, ExchangeRecorded) and each.told.action == "captured"
        ]
        rows = await self._connection.fetch(self._sql["held"], wanted) if wanted else []
        return {row["exchange_id"]: row["payment_id"] for row in rows}

    # -- comparing ------------------------------------------------------------------------------------------------

    def _check_days(self, page: Page) -> None:
        """Each journal stands on a day that was the one to book its event on when it was booked."""
        days = self._days
        days.clear()
        for journal_id, row in page.stored.items():
            event_on, recorded_at, booked_on = row[_EVENT_ON], row[_RECORDED_AT], row[_BOOKED_ON]
            assert isinstance(event_on, date)
            assert isinstance(recorded_at, datetime)
            place = (event_on, recorded_at)
            if (allowed := days.get(place)) is None:
                allowed = days[place] = self._closings.days(*place)
            if booked_on not in allowed:
                told = f"it is of {event_on} and booked at {recorded_at} on {booked_on}, not on {min(allowed)}"
                self._report.add(AGAIN, "books.journal", f"jnl_{journal_id}", told)

    async def _compare(self, page: Page) -> None:
        missing = JOURNALS.compare(self._report, _named(page.told), _named(page.stored.values()))
        lost = {str(row[0])[4:] for row in missing}
        rest = [row for row in page.told_entries if row[0] not in lost]
        ENTRIES.missed(self._report, ENTRIES.compare(self._report, _named(rest), _named(page.entries)))
        refused = {each for each in map(journal_id_of, page.refused) if each not in page.stored}
        suspects = {each.event_id: journal_id_of(each) for each in page.events if self._was_heard(each)}
        suspects = {event_id: each for event_id, each in suspects.items() if each in lost or each in refused}
        rows = await self._connection.fetch(self._sql["excused"], list(suspects), f"books.{self._source}")
        excused = {row["event_id"] for row in rows}
        for event_id, journal_id in suspects.items():
            if event_id not in excused:
                told = f"{event_id} was heard, and is neither booked nor stands unposted"
                self._report.add(AGAIN, "books.journal", f"jnl_{journal_id}", told)

    def _was_heard(self, event: Happening) -> bool:
        return (event.position, event.ordinal) < self._heard


# -- events and rows ----------------------------------------------------------------------------------------------


def _first(source: int, position: int) -> str:
    """Below the ids of all journals of a position, and above those of the positions before."""
    return f"{source:02x}{position:010x}{0:020x}"


def _happenings(source: str, row: asyncpg.Record) -> Iterator[Happening]:
    decode = _exchange if source == "ledger" else _instruction
    for event in events_of(source, row["position"], row["topic"], row["payload"], row["recorded_at"]):
        told: ExchangeRecorded | InstructionChanged | str
        try:
            told = decode(event.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            told = str(error)
        yield Happening(source, event.position, event.ordinal, event.topic, b"", event.recorded_at, told)


def _place(stored: Stored, event: Happening) -> tuple[datetime, date | None]:
    """When an event was booked, and on which day; its own instant where it is not booked."""
    row = stored.get(journal_id_of(event))
    if row is None:
        return event.at, None
    recorded_at, booked_on = row[_RECORDED_AT], row[_BOOKED_ON]
    assert isinstance(recorded_at, datetime)
    assert isinstance(booked_on, date)
    return recorded_at, booked_on


def _turn(stored: Stored, event: Happening) -> tuple[datetime, date | None, str | None]:
    """The same, and what an event reverses: neighbours that have it all in common are posted together."""
    return *_place(stored, event), event.told.reverses if isinstance(event.told, ExchangeRecorded) else None


def _before(rows: Sequence[asyncpg.Record], event: Happening, stored: Stored) -> dict[str, Original]:
    """What was booked of an instruction before one of its events was; all of it before one that is not booked."""
    if not isinstance(event.told, InstructionChanged):
        return {}
    journal_id = journal_id_of(event)
    mine = None if journal_id not in stored else (_place(stored, event)[0], journal_id)
    for row in rows:
        is_before = mine is None or (row["recorded_at"], row["journal_id"]) < mine
        if row["exchange_id"] == event.told.instruction_id and is_before:
            root = row["exchange_id"]
            return {root: Original(row["kind"], row["payment_id"], row["merchant"], root)}
    return {}


def _named(rows: Collection[Row]) -> list[Row]:
    return [(f"jnl_{row[0]}", *row[1:]) for row in rows]
