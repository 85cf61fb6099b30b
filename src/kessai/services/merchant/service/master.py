"""The verbs about the merchant master: ids mapped, ended, resolved, looked up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, NotFound, PaymentError, Unavailable
from kessai.foundation.ids import new_hex
from kessai.services.merchant.api import (
    ConflictPage,
    DismissConflict,
    Dismissed,
    EndId,
    GetIdHistory,
    IdAnswer,
    IdAnswers,
    IdHistory,
    ListConflicts,
    ListMappedIds,
    MapId,
    MappedIdPage,
    MappedIds,
    ResolveIds,
)
from kessai.services.merchant.domain.importing import refuse_ids
from kessai.services.merchant.domain.master import Key, Mapping, Wanted, ended, place
from kessai.services.merchant.domain.rules import ApprovalRules
from kessai.services.merchant.domain.timeline import before
from kessai.services.merchant.service.changing import ATTEMPTS_MAX, Overtaken, digest_of, in_the_past
from kessai.services.merchant.service.consent import Act, Consent, Consents
from kessai.services.merchant.service.paging import cursor_of, position_of
from kessai.services.merchant.store import ROLE, changes, master
from kessai.services.merchant.store.master import Author, ConflictPlace

MASTER = "merchant-master"
"""What approvals of the merchant master are about."""
ACTION = "merchant.master"

R = TypeVar("R")


class MasterDesk:
    """Implements what of the door's part `MerchantMaster` is about single ids."""

    _database: Database
    _clock: Clock
    _consents: Consents
    _rules: ApprovalRules

    async def map_id(self, request: MapId, /) -> MappedIds:
        """Map an id of a payment method to a merchant."""
        key = (request.payment_method, request.methods_id)
        wanted = Wanted(key, request.merchant_id, request.valid_from, request.valid_until)

        async def judge(connection: Connection, now: datetime) -> Mapping | None:
            states = await changes.states(connection, [wanted.merchant_id, wanted.key[1]])
            if (refusal := refuse_ids(wanted, states)) is not None:
                raise refusal
            standing = (await master.mappings_of(connection, [key])).get(key, [])
            found = place(wanted, standing, now)
            if isinstance(found, PaymentError):
                raise found
            if found is None:
                return None
            heads = await master.heads_of(connection, [key])
            sequence = heads[key] + 1
            return Mapping(key, sequence, wanted.merchant_id, found.since, found.until, None, recorded_at=now)

        async def write(connection: Connection, author: Author, now: datetime) -> None:
            new = await judge(connection, now)
            if new is None:
                return
            if not await master.raise_heads(connection, {key: new.sequence - 1}, {key: 1}):
                raise Overtaken
            await master.map_ids(connection, [new], author)

        return await self._change_id(request, request.reason, request.approval_id, key, judge, write)

    async def end_id(self, request: EndId, /) -> MappedIds:
        """End what an id of a payment method means."""
        key = (request.payment_method, request.methods_id)

        async def judge(connection: Connection, now: datetime) -> list[Mapping]:
            until = request.valid_until or now
            if until < now:
                raise in_the_past()
            found = ended((await master.mappings_of(connection, [key])).get(key, []), until)
            if not found:
                raise NotFound("id_not_mapped", "This id means nobody then.", methods_id=request.methods_id)
            return found

        async def write(connection: Connection, author: Author, now: datetime) -> None:
            found = await judge(connection, now)
            heads = await master.heads_of(connection, [key])
            if not await master.raise_heads(connection, heads, {key: len(found)}):
                raise Overtaken
            numbered = [(each, heads[key] + number) for number, each in enumerate(found, 1)]
            await master.end_mappings(connection, numbered, author, now)

        return await self._change_id(request, request.reason, request.approval_id, key, judge, write)

    async def _change_id(
        self,
        request: Message,
        reason: str,
        approval_id: str | None,
        key: Key,
        judge: Callable[[Connection, datetime], Awaitable[object]],
        write: Callable[[Connection, Author, datetime], Awaitable[None]],
    ) -> MappedIds:
        """Looked at, approved, written; a repetition gives what the id means now, and so does what changes nothing."""
        act_id, digest = current_call().request_key or new_hex(), digest_of(request)

        async def look(connection: Connection) -> MappedIds | None:
            if await _repeats(connection, key, act_id, digest):
                return await self._meaning(connection, key)
            return None if await judge(connection, self._clock.now()) else await self._meaning(connection, key)

        if (answer := await self._database.transaction(ROLE, look)) is not None:
            return answer
        consent = await self.master_consent(act_id, digest, approval_id)
        author = author_of(act_id, reason, consent, digest)

        async def change(connection: Connection) -> MappedIds:
            if not await _repeats(connection, key, act_id, digest):
                await write(connection, author, self._clock.now())
            return await self._meaning(connection, key)

        return await self.master_again(change)

    async def master_consent(self, act_id: str, digest: str, approval_id: str | None) -> Consent:
        """A second person's consent to a change of the master, where it is needed."""
        if not self._rules.master:
            return Consent()
        return await self._consents.use(Act(act_id, MASTER, ACTION, digest, approval_id))

    async def master_again(self, write: Callable[[Connection], Awaitable[R]]) -> R:
        """Write in a transaction, and look again for as long as others are first."""
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._database.transaction(ROLE, write)
            except Overtaken:
                continue
        raise Unavailable("contention", "Too many concurrent changes to the same ids; try again.")

    async def _meaning(self, connection: Connection, key: Key) -> MappedIds:
        now = self._clock.now()
        found = (await master.mappings_of(connection, [key])).get(key, [])
        return MappedIds(ids=[master.shown(each) for each in found if before(now, each.valid_until)])

    # -- looked up ------------------------------------------------------------------------------------------------

    async def resolve_ids(self, request: ResolveIds, /) -> IdAnswers:
        """Which merchant each id of a payment method means at an instant."""
        questions = request.questions
        if not questions:
            return IdAnswers(answers=[])
        asked = [(each.payment_method, each.methods_id, each.at) for each in questions]
        found = await self._database.transaction(ROLE, lambda connection: master.meanings(connection, asked))
        return IdAnswers(
            answers=[
                IdAnswer(payment_method=each.payment_method, methods_id=each.methods_id, merchant_id=found.get(number))
                for number, each in enumerate(questions)
            ]
        )

    async def get_id_history(self, request: GetIdHistory, /) -> IdHistory:
        """Everything that was done to an id of a payment method."""
        key = (request.payment_method, request.methods_id)
        found = await self._database.transaction(ROLE, lambda connection: master.id_steps(connection, key))
        return IdHistory(steps=[step for step, _, _ in found])

    async def list_ids(self, request: ListMappedIds, /) -> MappedIdPage:
        """Mappings, by id, payment method and the order in which they were made."""
        after = position_of(request.cursor, tuple[str, str, int], ("", "", 0))
        wanted = (after, request.merchant_id, request.payment_method, request.limit + 1)
        found = await self._database.transaction(ROLE, lambda connection: master.mappings_page(connection, *wanted))
        page = found[: request.limit]
        more = len(found) > request.limit
        return MappedIdPage(
            ids=[master.shown(each) for each in page],
            next_cursor=cursor_of(page[-1].key[1], page[-1].key[0], page[-1].sequence) if more else None,
        )

    async def list_conflicts(self, request: ListConflicts, /) -> ConflictPage:
        """Conflicts that imports found and that still stand."""
        after = position_of(request.cursor, ConflictPlace, master.FIRST)
        wanted = (after, request.payment_method, request.limit + 1)
        found = await self._database.transaction(ROLE, lambda connection: master.conflicts_page(connection, *wanted))
        page = found[: request.limit]
        more = len(found) > request.limit
        return ConflictPage(conflicts=[each for _, each in page], next_cursor=cursor_of(*page[-1][0]) if more else None)

    async def dismiss_conflict(self, request: DismissConflict, /) -> Dismissed:
        """Say that what an import wanted is not so."""
        key, now, by = (request.payment_method, request.methods_id), self._clock.now(), current_call().caller

        async def write(connection: Connection) -> int:
            return await master.dismiss_conflicts(connection, key, request.wanted_merchant_id, now, by, request.reason)

        if not (dismissed := await self._database.transaction(ROLE, write)):
            raise NotFound("conflict_not_found", "No such conflict stands.", methods_id=request.methods_id)
        return Dismissed(dismissed=dismissed)


def author_of(act_id: str, reason: str, consent: Consent, digest: str, import_id: str | None = None) -> Author:
    """Who does something to mappings now."""
    return Author(
        change_id=act_id,
        reason=reason,
        changed_by=current_call().caller,
        approval_id=consent.approval_id,
        approved_by=consent.approved_by,
        digest=bytes.fromhex(digest),
        import_id=import_id,
    )


async def _repeats(connection: Connection, key: Key, act_id: str, digest: str) -> bool:
    """Whether the same call was made before; KeyReused when it asked for something else."""
    for _, change_id, before_digest in await master.id_steps(connection, key):
        if change_id == act_id:
            if before_digest != digest:
                raise KeyReused
            current_call().replayed = True
            return True
    return False
