"""Journals by hand and corrections: each booked once, under the gate that closing moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Conflict, KeyReused, NotFound
from kessai.foundation.ids import new_hex
from kessai.services.books.api.accounting import GetJournal, Journal, PostJournal, ReverseJournal
from kessai.services.books.domain import manual
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.posting import Batch
from kessai.services.books.store import ROLE, reading
from kessai.services.books.store.journals import write_journals
from kessai.services.books.store.periods import hold_gate
from kessai.services.books.store.seals import Chain, seal
from kessai.services.identity.api import content_digest


class JournalDesk:
    """Books what somebody writes."""

    def __init__(self, database: Database, clock: Clock, books: BooksConfig) -> None:
        self._database = database
        self._clock = clock
        self._books = books

    async def get(self, request: GetJournal) -> Journal:
        """A journal with its lines."""
        return await self._database.transaction(
            ROLE, lambda connection: require_journal(connection, request.journal_id)
        )

    async def post(self, request: PostJournal) -> Journal:
        """Book a journal by hand; the same request again gives the same journal."""
        call = current_call()
        own = request.journal_id
        journal_id = own[4:] if own else manual.own_journal_id(manual.MANUAL, call.request_key or new_hex())
        event_id = f"{manual.MANUAL}/{content_digest(request)}"

        async def write(connection: Connection) -> Journal:
            for booked in await reading.journals_named(connection, [journal_id]):
                if booked.event_id != event_id:
                    raise KeyReused
                call.replayed = True
                return booked
            drafts = manual.drafted(request, self._books)
            now = self._clock.now()
            standing = await hold_gate(connection, now)
            manual.require_open(standing, request.booked_on, business_date(now))
            version = self._books.rules.on(request.booked_on)
            batch = manual.by_hand(
                request,
                drafts,
                journal_id=journal_id,
                event_id=event_id,
                version=0 if version is None else version.number,
                by=call.caller,
                now=now,
            )
            return await _written(connection, batch, journal_id)

        return await self._once(write)

    async def reverse(self, request: ReverseJournal) -> Journal:
        """Take a journal back by its opposite; the same request again gives the same correction."""
        call = current_call()
        event_id = f"{manual.CORRECTION}/{content_digest(request)}"

        async def write(connection: Connection) -> Journal:
            journal = await require_journal(connection, request.journal_id)
            journal_id = manual.correction_id(journal)
            for correction in await reading.journals_named(connection, [journal_id]):
                if correction.event_id != event_id:
                    told = f"The journal was reversed by {correction.journal_id}."
                    raise Conflict("journal_already_reversed", told, journal_id=correction.journal_id)
                call.replayed = True
                return correction
            manual.refuse_event(journal)
            back = await _reversing(connection, journal)
            now = self._clock.now()
            standing = await hold_gate(connection, now)
            booked_on = manual.day_of_correction(request, journal, standing, business_date(now))
            both = [(journal, booked_on), *((each, manual.day_of_back(each, booked_on, standing)) for each in back)]
            batch = manual.correction(both, reason=request.reason, event_id=event_id, by=call.caller, now=now)
            return await _written(connection, batch, journal_id)

        return await self._once(write)

    async def _once(self, write: Callable[[Connection], Awaitable[Journal]]) -> Journal:
        """Write; where another process has just written the same journal, find it."""
        try:
            return await self._database.transaction(ROLE, write)
        except asyncpg.UniqueViolationError:
            return await self._database.transaction(ROLE, write)


async def require_journal(connection: Connection, journal_id: str) -> Journal:
    """A journal (`jnl_…`); raises NotFound `journal_not_found`."""
    found = await reading.journals_named(connection, [journal_id[4:]])
    if not found:
        raise NotFound("journal_not_found", "There is no such journal.")
    return found[0]


async def _reversing(connection: Connection, journal: Journal) -> list[Journal]:
    """What takes a reversing accrual back, and so is corrected with it; Conflict `journal_of_accrual`."""
    if journal.reverses is not None:
        original = await require_journal(connection, journal.reverses)
        manual.refuse_half(journal, original, reversing=bool(await _back(connection, original)))
    return await _back(connection, journal)


async def _back(connection: Connection, journal: Journal) -> list[Journal]:
    back = manual.back_of(journal)
    return [] if back is None else await reading.journals_named(connection, [back])


async def _written(connection: Connection, batch: Batch, journal_id: str) -> Journal:
    await write_journals(connection, batch.journals, batch.entries, batch.totals)
    await seal(connection, Chain.JOURNAL, [each.journal_id for each in batch.journals])
    (journal,) = await reading.journals_named(connection, [journal_id])
    return journal
