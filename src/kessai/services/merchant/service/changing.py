"""How a merchant is changed: looked at, asked about outside, approved, written under the version looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.contract import Message
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import KeyReused, NotFound, Refused, Unavailable
from kessai.foundation.ids import new_hex
from kessai.services.identity.api import content_digest
from kessai.services.merchant.api import Aspect, MerchantProfile, MerchantRecord, MerchantState
from kessai.services.merchant.domain.rules import ApprovalRules
from kessai.services.merchant.domain.standing import Entry, Standing, record_of, standing_of
from kessai.services.merchant.service.consent import Act, Consent, Consents
from kessai.services.merchant.store import ROLE, changes

ATTEMPTS_MAX = 8


class Overtaken(Exception):
    """Another change was written first: look again."""


@dataclass(frozen=True, slots=True)
class Side:
    """What is written beside a change, in another merchant's history."""

    standing: Standing
    aspect: Aspect
    content: str


Judge = Callable[[Connection, Standing, datetime, datetime], Awaitable[Sequence[Side]]]
"""From a merchant, now, and when the change becomes valid: raises a refusal, or gives what is written beside it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A change that is asked for."""

    request: Message
    merchant_id: str
    aspect: Aspect
    content: object
    """What it is from then on."""
    reason: str
    judge: Judge
    approval_id: str | None = None
    valid_from: datetime | None = None
    """None: from now on."""
    valid_until: datetime | None = None
    profile: MerchantProfile | None = None
    """The new one, of a change of it."""
    state: MerchantState | None = None
    """The new one, of a change of it."""
    of_closed: bool = False
    """Whether a closed merchant is still changed so."""
    outside: Callable[[], Awaitable[None]] | None = None
    """What is asked of another service before it is written."""


@dataclass(frozen=True, slots=True)
class _Judged:
    standing: Standing
    now: datetime
    """When it was judged, and thus made."""
    valid_from: datetime
    sides: Sequence[Side]


def digest_of(request: Message) -> str:
    """What an approval of a request is for, and what tells a repetition: the request less its approval."""
    return content_digest(replace(request, approval_id=None) if hasattr(request, "approval_id") else request)


class Changes:
    """Who writes changes of merchants."""

    def __init__(self, database: Database, clock: Clock, consents: Consents, rules: ApprovalRules) -> None:
        self._database = database
        self._clock = clock
        self._consents = consents
        self._rules = rules

    async def make(self, wish: Wish) -> MerchantRecord:
        """Make a change; gives the merchant as of when it becomes valid. The same call again changes nothing."""
        act_id, digest = current_call().request_key or new_hex(), digest_of(wish.request)
        found = await self._database.transaction(ROLE, lambda connection: self._judge(connection, wish, act_id, digest))
        if isinstance(found, MerchantRecord):
            return found
        if wish.outside is not None:
            await wish.outside()
        consent = await self._consent(wish, act_id, digest)

        async def write(connection: Connection) -> MerchantRecord:
            judged = await self._judge(connection, wish, act_id, digest)
            if isinstance(judged, MerchantRecord):
                return judged
            return await self._write(connection, wish, judged, consent, act_id, digest)

        return await self.again(write)

    async def again(self, write: Callable[[Connection], Awaitable[MerchantRecord]]) -> MerchantRecord:
        """Write in a transaction, and look again for as long as others are first."""
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._database.transaction(ROLE, write)
            except Overtaken:
                continue
        raise Unavailable("contention", "Too many concurrent changes to the same merchant; try again.")

    async def _consent(self, wish: Wish, act_id: str, digest: str) -> Consent:
        if not self._rules.needed_for(wish.aspect, wish.state):
            return Consent()
        action = f"merchant.{wish.aspect.value}"
        return await self._consents.use(Act(act_id, wish.merchant_id, action, digest, wish.approval_id))

    async def _judge(self, connection: Connection, wish: Wish, act_id: str, digest: str) -> _Judged | MerchantRecord:
        """What is to be written, or the answer to a repetition; raises the refusals."""
        entries = (await changes.entries_of(connection, [wish.merchant_id])).get(wish.merchant_id)
        if not entries:
            raise merchant_not_found(wish.merchant_id)
        standing = standing_of(wish.merchant_id, entries)
        for entry in entries:
            if entry.change_id == act_id:
                return repeated(standing, entry, digest)
        now = self._clock.now()
        if standing.state is MerchantState.CLOSED and not wish.of_closed:
            raise merchant_closed(wish.merchant_id)
        valid_from = wish.valid_from or now
        if valid_from < now:
            raise in_the_past()
        return _Judged(standing, now, valid_from, await wish.judge(connection, standing, now, valid_from))

    async def _write(
        self, connection: Connection, wish: Wish, judged: _Judged, consent: Consent, act_id: str, digest: str
    ) -> MerchantRecord:
        def entry(standing: Standing, aspect: Aspect, content: str) -> Entry:
            own = aspect is wish.aspect
            return Entry(
                subject_id=standing.merchant_id,
                version=standing.version + 1,
                change_id=act_id,
                aspect=aspect,
                valid_from=judged.valid_from,
                valid_until=wish.valid_until if own else None,
                content=content,
                reason=wish.reason,
                changed_by=current_call().caller,
                approval_id=consent.approval_id,
                approved_by=consent.approved_by,
                digest=bytes.fromhex(digest),
                recorded_at=judged.now,
            )

        entries = [entry(judged.standing, wish.aspect, json_of(wish.content))]
        entries += [entry(side.standing, side.aspect, side.content) for side in judged.sides]
        changed = [(judged.standing.merchant_id, *_head(judged.standing, wish))]
        changed += [(side.standing.merchant_id, *_head(side.standing, None)) for side in judged.sides]
        if not await changes.change_merchants(connection, changed, entries):
            raise Overtaken
        after = (await changes.standings(connection, [wish.merchant_id]))[wish.merchant_id]
        return shown(after, judged.valid_from)


def _head(standing: Standing, wish: Wish | None) -> tuple[MerchantProfile, MerchantState]:
    """What the merchant's row says after a change."""
    profile = standing.latest_profile
    if wish is None:
        return profile, standing.state
    return wish.profile or profile, wish.state or standing.state


def json_of(content: object) -> str:
    """A change's content as it is stored."""
    return msgspec.json.encode(content).decode()


def repeated(standing: Standing, entry: Entry, digest: str) -> MerchantRecord:
    """The answer to a call that was answered before; KeyReused when it asks for something else."""
    if entry.digest.hex() != digest:
        raise KeyReused
    current_call().replayed = True
    return shown(standing, entry.valid_from)


def shown(standing: Standing, at: datetime) -> MerchantRecord:
    """A merchant as of an instant; NotFound before it was registered."""
    record = record_of(standing, at)
    if record is None:
        raise merchant_not_found(standing.merchant_id)
    return record


def merchant_not_found(merchant_id: str) -> NotFound:
    """Nobody of that id."""
    return NotFound("merchant_not_found", f"There is no merchant {merchant_id}.", merchant_id=merchant_id)


def merchant_closed(merchant_id: str) -> Refused:
    """Of whom nothing changes any more."""
    return Refused("merchant_closed", "This merchant is closed.", merchant_id=merchant_id)


def in_the_past() -> Refused:
    """What is over stays as it was."""
    return Refused("in_the_past", "A change is valid from now on at the earliest.", field="$.valid_from")
