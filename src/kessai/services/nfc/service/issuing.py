"""The verbs about batches and the pool; and how a card of it is given away."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import structlog

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock, business_date
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, NotFound, Refused, Unavailable, Unknown
from kessai.foundation.ids import bare, derived_hex, new_hex
from kessai.foundation.outbound import NotSent, Unanswered
from kessai.foundation.vault import Vault
from kessai.services.nfc.api import (
    CARDS_MAX,
    LINE_ERRORS_SHOWN_MAX,
    BatchState,
    GetIssueBatch,
    GetPool,
    GiveUpBatch,
    ImportCards,
    IssueBatch,
    IssueBatchPage,
    IssueLineError,
    ListIssueBatches,
    PoolStanding,
    RequestCards,
)
from kessai.services.nfc.domain.cards import PoolCard
from kessai.services.nfc.domain.pool import FileWrong, IssuedCard, IssuedCards, read_issued, request_file
from kessai.services.nfc.domain.terms import CardTerms
from kessai.services.nfc.gateways import CardIssuer, Issuance
from kessai.services.nfc.service.acting import Acts, Overtaken
from kessai.services.nfc.service.paging import cursor_of, position_of
from kessai.services.nfc.store import ROLE, cards, pool
from kessai.services.nfc.store import vault as pans
from kessai.services.nfc.store.pool import Batch, NewPoolCard
from kessai.services.nfc.store.vault import SealedPan

log = structlog.get_logger(__name__)

NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), "f" * 32)
REQUESTS = "issue_requests"
SEQUENCE_MAX = 999_999
PAGE = 100
GIVEN_UP = "given_up"
_WAITED_FOR = (BatchState.REQUESTED, BatchState.ISSUED)
SPREAD = (64, 16, 4, 1, 1, 1, 1, 1)
"""Behind how many other free cards one is looked for, attempt by attempt: so that many at once rarely meet."""


class IssueDesk:
    """Implements the door's part `CardIssuing`."""

    _database: Database
    _clock: Clock
    _vault: Vault
    _acts: Acts
    _terms: CardTerms
    _issuer: CardIssuer
    pool_free: int | None = None
    """Free cards as this process counted them last, up to the low-water mark; for a gauge."""

    async def request_cards(self, request: RequestCards, /) -> IssueBatch:
        """Ask the issuer for cards."""
        batch_id = current_call().request_key or new_hex()
        batch = await self._request(batch_id, request)
        if batch.state is BatchState.REQUESTED and batch.sent_at is None:
            batch = await self._carried(batch)
        return await self._shown_batch(batch.batch_id)

    async def _request(self, batch_id: str, request: RequestCards) -> Batch:
        digest = bytes.fromhex(derived_hex("nfc.request_cards", str(request.count)))

        async def write(connection: Connection) -> Batch:
            if (known := await pool.batch_named(connection, batch_id)) is not None:
                if known.digest != digest:
                    raise KeyReused
                current_call().replayed = True
                return known
            place = await cards.feed_place(connection, REQUESTS)
            if not await cards.move_feed_place(connection, REQUESTS, place, place + 1):
                raise Overtaken
            batch = Batch(
                batch_id=batch_id,
                state=BatchState.REQUESTED,
                version=1,
                sequence=place % SEQUENCE_MAX + 1,
                count=request.count,
                imported=0,
                wrong=0,
                code=None,
                digest=digest,
                requested_by=current_call().caller,
                requested_at=self._clock.now(),
                sent_at=None,
                imported_at=None,
            )
            if not await pool.insert_batch(connection, batch):
                raise Overtaken
            return batch

        return await self._acts.again(write)

    async def import_cards(self, request: ImportCards, /) -> IssueBatch:
        """Carry a batch as far as it will go."""
        self._vault.head  # noqa: B018  # raises without a key, before anything is asked for
        batch = await self._batch(bare(request.batch_id))
        try:
            await self._carry(batch)
        except NotSent as error:
            raise Unavailable("issuer_unavailable", "The issuer cannot be reached; nothing was done.") from error
        except Unanswered as error:
            raise Unknown("issuer_answer_unknown", "The issuer's answer was lost; ask again.") from error
        return await self._shown_batch(batch.batch_id)

    async def give_up_batch(self, request: GiveUpBatch, /) -> IssueBatch:
        """Wait no more for a batch."""
        batch = await self._batch(bare(request.batch_id))
        while batch.state in _WAITED_FOR:
            after = replace(batch, state=BatchState.REFUSED, code=GIVEN_UP)
            batch = await self._write(batch, after, f"given up: {request.reason}")
            log.warning("issue_batch_given_up", batch_id=batch.batch_id, state=batch.state.value)
        if (batch.state, batch.code) != (BatchState.REFUSED, GIVEN_UP):
            raise Refused("issue_batch_finished", "The batch is finished already.", state=batch.state.value)
        return await self._shown_batch(batch.batch_id)

    async def get_batch(self, request: GetIssueBatch, /) -> IssueBatch:
        """A batch, with its first wrong lines."""
        return await self._shown_batch(bare(request.batch_id))

    async def list_batches(self, request: ListIssueBatches, /) -> IssueBatchPage:
        """Batches, newest first."""
        before = position_of(request.cursor, tuple[datetime, str], NEWEST)
        found = await self._database.transaction(
            ROLE, lambda connection: pool.batches_page(connection, before, request.state, request.limit + 1)
        )
        page = found[: request.limit]
        last = cursor_of(page[-1].requested_at, page[-1].batch_id) if len(found) > request.limit else None
        return IssueBatchPage(batches=[pool.shown(each, []) for each in page], next_cursor=last)

    async def get_pool(self, request: GetPool, /) -> PoolStanding:
        """How full the pool is."""
        del request
        until, low_water = self._until(), self._terms.pool.low_water
        since = self._clock.now() - timedelta(days=self._terms.pool.order_days_max)
        told = await self._database.transaction(ROLE, lambda connection: pool.figures(connection, until, since))
        return PoolStanding(
            free=told.free,
            assigned=told.assigned,
            stale=told.stale,
            on_order=told.on_order,
            overdue=told.overdue,
            low_water=low_water,
            low=told.free < low_water,
        )

    # -- for jobs -------------------------------------------------------------------------------------------------

    @property
    def has_issuer(self) -> bool:
        """Whether there is an issuer to ask for cards."""
        return self._issuer.configured

    async def replenish(self, day: date) -> IssueBatch | None:
        """Ask for as many cards as a pool that runs low lacks, once a day; None when it does not."""
        batch_id = derived_hex("nfc.issue", day.isoformat())
        standing = await self.get_pool(GetPool())
        known = await self._database.transaction(ROLE, lambda connection: pool.batch_named(connection, batch_id))
        if known is None:
            coming = standing.free + standing.on_order
            if coming >= self._terms.pool.low_water:
                return None
            log.warning("card_pool_low", free=standing.free, on_order=standing.on_order, low_water=standing.low_water)
            count = min(CARDS_MAX, self._terms.pool.order_up_to - coming)
            if count < 1:
                return None
            known = await self._replenishment(batch_id, count)
        await self._carried(known)
        return await self._shown_batch(batch_id)

    async def _replenishment(self, batch_id: str, count: int) -> Batch:
        """The day's batch: this process's, or that of another which counted otherwise a moment before."""
        try:
            return await self._request(batch_id, RequestCards(count=count))
        except KeyReused:
            return await self._batch(batch_id)

    async def import_open(self) -> int:
        """Carry every batch that is not finished as far as it will go; gives how many cards came into the pool."""
        after, imported = pool.FIRST, 0
        while page := await self._open_batches(after):
            for batch_id in page:
                batch = await self._carried(await self._batch(batch_id))
                imported += batch.imported
            after = page[-1]
        if overdue := (await self.get_pool(GetPool())).overdue:
            log.error("issue_batches_overdue", cards=overdue, days=self._terms.pool.order_days_max)
        await self._clear_away()
        return imported

    async def _clear_away(self) -> None:
        """Issued files that a process left lying which died after it had taken their cards in."""
        try:
            for batch_id in await self._issuer.lying():
                known = await self._database.transaction(
                    ROLE, lambda connection, name=batch_id: pool.batch_named(connection, name)
                )
                if known is not None and known.state is BatchState.IMPORTED:
                    await self._cleared_away(known)
                elif known is None or known.state is BatchState.REFUSED:
                    log.warning("issued_file_unasked", batch_id=batch_id)
        except (Unavailable, Unanswered) as error:
            log.warning("issued_files_stay", code=error.code)

    async def _open_batches(self, after: str) -> list[str]:
        return await self._database.transaction(ROLE, lambda connection: pool.batches_open(connection, after, PAGE))

    # -- a batch's way --------------------------------------------------------------------------------------------

    async def _carried(self, batch: Batch) -> Batch:
        """Carry it, and leave it where it is when the issuer is away, or the vault has no key."""
        try:
            return await self._carry(batch)
        except (Unavailable, Unanswered) as error:
            log.warning("issue_batch_waits", batch_id=batch.batch_id, code=error.code)
            return await self._batch(batch.batch_id)

    async def _carry(self, batch: Batch) -> Batch:
        now = self._clock.now()
        if batch.state is BatchState.REQUESTED:
            batch = await self._sent(batch, now)
        if batch.state is BatchState.ISSUED:
            content = await self._issuer.issued(batch.batch_id, now)
            if content is not None:
                batch = await self._import(batch, content)
        return batch

    async def _sent(self, batch: Batch, now: datetime) -> Batch:
        """Have the issuer take the request; whether it did is inquired when its answer was lost."""
        day = business_date(batch.requested_at)
        content = request_file(batch.batch_id, batch.count, day, batch.sequence)
        try:
            told: Issuance | None = await self._issuer.send(batch.batch_id, content, now)
        except Unanswered:
            told = await self._issuer.find(batch.batch_id, now)
            if told is None:
                raise
        after = replace(batch, sent_at=batch.sent_at or now)
        if told.state == "refused":
            after = replace(after, state=BatchState.REFUSED, code=told.code or "refused")
            log.error("issue_batch_refused", batch_id=batch.batch_id, code=told.code)
        elif told.state == "issued":
            after = replace(after, state=BatchState.ISSUED)
        return batch if after == batch else await self._write(batch, after, told.state)

    async def _write(self, batch: Batch, after: Batch, detail: str) -> Batch:
        """A batch as it is now; as another process left it when that one was first."""

        async def write(connection: Connection) -> None:
            await pool.write_batch(connection, after, detail, current_call().caller, self._clock.now())

        await self._database.transaction(ROLE, write)
        return await self._batch(batch.batch_id)

    async def _import(self, batch: Batch, content: bytes) -> Batch:
        today = business_date(self._clock.now())
        try:
            issued, sealed = await asyncio.to_thread(self._read, content, batch, today)
        except FileWrong as wrong:
            log.error("issued_file_wrong", batch_id=batch.batch_id, code=wrong.code)
            if batch.code == wrong.code:
                return batch
            return await self._write(batch, replace(batch, code=wrong.code), "file_wrong")
        await self._acts.again(lambda connection: self._take(connection, batch, issued, sealed))
        batch = await self._batch(batch.batch_id)
        if batch.state is BatchState.IMPORTED:
            await self._cleared_away(batch)
        return batch

    async def _cleared_away(self, batch: Batch) -> None:
        """Its cards are in the vault; where the file cannot be removed now, the next import job does it. A file with
        lines that could not be read is all that there is of those: it stays until somebody has looked at it."""
        if batch.wrong:
            log.warning("issued_file_kept", batch_id=batch.batch_id, wrong_lines=batch.wrong)
            return
        try:
            await self._issuer.remove(batch.batch_id)
        except (Unavailable, Unanswered) as error:
            log.warning("issued_files_stay", batch_id=batch.batch_id, code=error.code)

    def _read(self, content: bytes, batch: Batch, today: date) -> tuple[IssuedCards, list[SealedPan]]:
        issued = read_issued(content, batch.batch_id, batch.count, today)
        return issued, [pans.sealed_pan(self._vault, each.pan, each.expiry, "card") for each in issued.cards]

    async def _take(
        self, connection: Connection, batch: Batch, issued: IssuedCards, sealed: Sequence[SealedPan]
    ) -> None:
        """All good cards into the vault and the pool, all errors to the batch: in one transaction, once."""
        now = self._clock.now()
        known = await self._known(connection, issued.cards)
        good = [(card, pan) for card, pan in zip(issued.cards, sealed, strict=True) if card.line not in known]
        errors = [*issued.errors, *(IssueLineError(line=line, code="card_known") for line in sorted(known))]
        after = replace(
            batch, state=BatchState.IMPORTED, imported=len(good), wrong=len(errors), code=None, imported_at=now
        )
        detail = f"imported {len(good)}, wrong {len(errors)}"
        if not await pool.write_batch(connection, after, detail, current_call().caller, now):
            return  # another process has taken the file in
        new = [_pool_card(card, pan) for card, pan in good]
        if not await pans.insert_pans(connection, [pan for _, pan in good], now):
            raise Overtaken
        if not await pool.insert_pool_cards(connection, batch.batch_id, new, now):
            raise Overtaken
        await pool.insert_line_errors(connection, batch.batch_id, errors)

    async def _known(self, connection: Connection, issued: Sequence[IssuedCard]) -> set[int]:
        """Lines whose number or reference is there already."""
        marks = {mark: each.line for each in issued for mark in pans.marks_of(self._vault, each.pan)}
        lines = {marks[mark] for mark in await pans.tokens_of(connection, list(marks))}
        references = {each.reference: each.line for each in issued}
        there = await pool.references_known(connection, list(references))
        return lines | {references[reference] for reference in there}

    async def _batch(self, batch_id: str) -> Batch:
        found = await self._database.transaction(ROLE, lambda connection: pool.batch_named(connection, batch_id))
        if found is None:
            raise NotFound("issue_batch_not_found", "There is no such batch.", batch_id=f"isb_{batch_id}")
        return found

    async def _shown_batch(self, batch_id: str) -> IssueBatch:
        errors = await self._database.transaction(
            ROLE, lambda connection: pool.line_errors(connection, batch_id, LINE_ERRORS_SHOWN_MAX)
        )
        return pool.shown(await self._batch(batch_id), errors)

    # -- giving cards away ----------------------------------------------------------------------------------------

    async def require_free(self, connection: Connection) -> None:
        """Unavailable `card_pool_empty` when there is no card to give."""
        if not await pool.free(connection, self._until(), 1):
            raise pool_empty()

    async def assigned(self, connection: Connection, card_id: str, now: datetime) -> PoolCard | None:
        """A card of the pool, given to a customer's card; None when there is none."""
        for spread in SPREAD:
            skip = secrets.randbelow(spread)
            if given := await pool.assign(connection, card_id, now, self._until(), skip):
                return given
            if skip == 0 and not await pool.free(connection, self._until(), 1):
                return None
        raise Overtaken

    async def note_level(self) -> None:
        """Count what is left, up to the low-water mark, and say so when it is less."""
        low_water = self._terms.pool.low_water
        self.pool_free = await self._database.transaction(
            ROLE, lambda connection: pool.free(connection, self._until(), low_water)
        )
        if self.pool_free < low_water:
            log.warning("card_pool_low", free=self.pool_free, low_water=low_water)

    def _until(self) -> date:
        """The day until which a card must at least be valid to be given to anybody."""
        return business_date(self._clock.now()) + timedelta(days=self._terms.pool.valid_days_min)


def _pool_card(card: IssuedCard, pan: SealedPan) -> NewPoolCard:
    return NewPoolCard(
        reference=card.reference,
        token=pan.token,
        last_four=pan.last_four,
        expires_on=card.expires_on,
        line=card.line,
    )


def pool_empty() -> Unavailable:
    """No card can be given just now."""
    return Unavailable("card_pool_empty", "There is no card to give just now; try again later.")
