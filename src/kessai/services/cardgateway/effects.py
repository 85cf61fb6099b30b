"""What the card gateway's service tells of itself: its authorizations, and where they contradict their operations.

An authorization is an effect while it holds something, or has taken something that did not go back. A hold that the
gateway would not let go of when it was told to has ended, too: nothing of it is ever taken, and it lapses there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
from msgspec.structs import replace

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.processing.api import Difference, EffectRecord, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.sdk.processing.within import contradiction
from kessai.services.cardgateway import store
from kessai.services.cardgateway.api import AuthorizationState, CardAuthorization, CardOperation
from kessai.services.cardgateway.api import OperationKind as K
from kessai.services.cardgateway.api import OperationState as O
from kessai.services.cardgateway.domain import ABORTED, ASSETS, HELD, PENDING_ACTION, GatewayRecord
from kessai.services.cardgateway.gateways import Gateway

SERVICE = "cardgateway"
NETWORK = "card-network"
"""The party outside for which this service answers."""
S = AuthorizationState
_SQL = load_queries("kessai.services.cardgateway", file="sql/effects.sql")


@dataclass(slots=True)
class TracedAuthorization:
    """An authorization with everything that was written down of it."""

    authorization: CardAuthorization
    """With its operations, in the order in which they were instructed."""
    busy: bool
    caller: str
    holder_id: str | None
    """Whose card it is; None: there is no such card."""
    aborted_at: datetime | None
    card_token: str | None = field(default=None, repr=False)
    operations: list[CardOperation] = field(default_factory=list[CardOperation])

    def done(self, kind: K) -> list[CardOperation]:
        """Its operations of a kind that were done."""
        return [each for each in self.operations if each.kind is kind and each.state is O.DONE]

    @property
    def unseen(self) -> bool:
        """Only its void ever came."""
        return not self.authorization.card_id and not self.operations

    @property
    def let_go(self) -> bool:
        """Whether the gateway refused to release it."""
        return any(each.kind is K.VOID and each.state is O.REFUSED for each in self.operations)

    @property
    def held(self) -> bool:
        """Whether something of it may still be taken."""
        return self.authorization.state in HELD and not self.let_go

    @property
    def in_flight(self) -> bool:
        """Whether an operation on it, or its customer, is at it."""
        state = self.authorization.state
        waits = state is S.REQUIRES_ACTION and self.held
        return self.busy or waits or state in (S.PENDING, S.VOIDING)


def record_of(traced: TracedAuthorization) -> EffectRecord | None:
    """What its caller should know; None when it came to nothing. `captured_minor` is less what went back."""
    known = traced.authorization
    taken = known.captured_minor - known.refunded_minor
    if not traced.held and not taken:
        return None
    return EffectRecord(
        effect_id=known.authorization_id,
        kind="card_authorization",
        party=known.customer_id,
        account=known.card_id,
        asset=known.asset,
        amount_minor=-known.amount_minor,
        captured_minor=taken,
        state="AUTHORIZED" if traced.held else "CAPTURED",
        at=known.updated_at,
    )


# -- the outside ----------------------------------------------------------------------------------------------------


def claim_on(traced: TracedAuthorization) -> EffectRecord | None:
    """What the gateway should have on record; None when nothing. A card is known by its token's fingerprint."""
    record = record_of(traced)
    return record and replace(record, party=_fingerprint(traced.card_token or ""), account=None, at=None)


def told_by(traced: TracedAuthorization, theirs: GatewayRecord) -> EffectRecord | None:
    """What the gateway has on record, in the same words; None where it is nothing to either side."""
    taken = theirs.captured_minor - theirs.refunded_minor
    held = theirs.state == "authorized" and not traced.let_go
    if not held and not taken and record_of(traced) is None:
        return None
    return EffectRecord(
        effect_id=theirs.authorization_id,
        kind="card_authorization",
        party=_fingerprint(theirs.card_token),
        asset=theirs.asset,
        amount_minor=-theirs.amount_minor,
        captured_minor=taken,
        state="AUTHORIZED" if held else "CAPTURED" if taken else theirs.state.upper(),
    )


def _fingerprint(card_token: str) -> str:
    return f"card:{hashlib.sha256(card_token.encode()).hexdigest()[:24]}"


# -- where rows contradict each other -------------------------------------------------------------------------------


def contradictions(traced: TracedAuthorization) -> Iterator[str]:
    """What one changed, missing or doubled row leaves behind. What is being worked on is not looked at."""
    known = traced.authorization
    if traced.unseen or traced.busy:
        return
    if traced.holder_id != known.customer_id:
        yield f"its customer is {known.customer_id}, its card's is {traced.holder_id}"
    if known.asset not in ASSETS:
        yield f"no card is charged in {known.asset}"
    captured, refunded = (sum(o.amount_minor for o in traced.done(kind)) for kind in (K.CAPTURE, K.REFUND))
    if (known.captured_minor, known.refunded_minor) != (captured, refunded):
        yield f"its operations captured {captured} and gave {refunded} back, it tells otherwise"
    if known.state is not (made := state_of(traced)):
        yield f"it is {known.state}, its operations make it {made}"
    if known.version != 2 * len(traced.operations) - 1 + (traced.aborted_at is not None):
        yield f"its version {known.version} does not go with {len(traced.operations)} operations"
    yield from _operation_faults(traced)


def state_of(traced: TracedAuthorization) -> AuthorizationState:
    """Where its operations make it stand."""
    known, operations = traced.authorization, traced.operations
    refused = [o for o in operations if o.state is O.REFUSED and o.kind in (K.AUTHORIZE, K.COMPLETE)]
    if any(o.refusal_code == ABORTED for o in refused):
        return S.VOIDED
    if any(o.refusal_code != PENDING_ACTION for o in refused):
        return S.REFUSED
    captures = traced.done(K.CAPTURE)
    captured = sum(o.amount_minor for o in captures)
    if traced.done(K.VOID):
        return S.CAPTURED if captured else S.VOIDED
    if any(o.final for o in captures) or captured == known.amount_minor:
        return S.CAPTURED
    if traced.aborted_at is not None:
        return S.VOIDING
    waits = known.action_url is not None and not traced.done(K.COMPLETE)
    return S.REQUIRES_ACTION if waits else S.AUTHORIZED


def _operation_faults(traced: TracedAuthorization) -> Iterator[str]:
    known, captured = traced.authorization, 0
    first = [each for each in traced.operations if each.kind is K.AUTHORIZE]
    if [each.operation_id for each in first] != [known.authorization_id] or traced.caller != first[0].caller:
        yield "it was not authorized once, on behalf of whom it tells"
    for each in traced.operations:
        left = known.amount_minor - captured
        wanted = {K.AUTHORIZE: known.amount_minor, K.COMPLETE: known.amount_minor, K.VOID: left}.get(each.kind)
        if wanted is not None and each.amount_minor != wanted:
            yield f"{each.operation_id} ({each.kind.value}) is over {each.amount_minor}, not {wanted}"
        if each.kind is K.CAPTURE and each.state is O.DONE:
            captured += each.amount_minor
        if each.state is O.PENDING or (each.state is O.REFUSED) is not (each.refusal_code is not None):
            yield f"{each.operation_id} is {each.state}, with the refusal {each.refusal_code}"


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Found:
    """Everything of one processing."""

    authorizations: list[TracedAuthorization] = field(default_factory=list[TracedAuthorization])
    within: list[Difference] = field(default_factory=list[Difference])

    def effects(self, caller: str | None = None) -> list[EffectRecord]:
        mine = (record_of(each) for each in self.authorizations if caller in (None, each.caller))
        return [record for record in mine if record is not None]

    @property
    def callers(self) -> list[str]:
        return sorted({each.caller for each in self.authorizations if not each.unseen})


class CardEffects:
    """Reads the service's own rows of whole processings, as they are at one instant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """Effects, and where rows contradict each other."""
        own: dict[str, Own] = {}
        for processing_id, found in (await self.read(processing_ids)).items():
            for each in found.authorizations:
                for text in contradictions(each):
                    found.within.append(contradiction(SERVICE, each.authorization.authorization_id, text))
            settled = [each for each in found.authorizations if not each.in_flight]
            claims = [claim for each in settled if (claim := claim_on(each)) is not None]
            own[processing_id] = Own(
                effects=found.effects(),
                claims={NETWORK: claims} if claims else {},
                in_flight=not found.within and any(each.in_flight for each in found.authorizations),
                callers=found.callers,
                within=found.within,
            )
        return own

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """The authorizations of some processings, of one caller or of all."""
        found = await self.read(request.processing_ids)
        return EffectsPage(
            processings=[
                ProcessingEffects(
                    processing_id=processing_id,
                    effects=each.effects(request.caller),
                    in_flight=any(one.in_flight for one in each.authorizations),
                    callers=each.callers,
                )
                for processing_id, each in found.items()
                if request.caller is None or request.caller in each.callers
            ]
        )

    async def read(self, processing_ids: Sequence[str]) -> dict[str, Found]:
        """Everything of these processings, as it is at one instant."""

        async def read(connection: Connection) -> tuple[list[asyncpg.Record], ...]:
            made = await connection.fetch(_SQL["authorizations_of_processings"], list(processing_ids))
            ids = [row["authorization_id"] for row in made]
            operations = await connection.fetch(_SQL["operations_of_authorizations"], ids) if ids else []
            return made, operations, await connection.fetch(_SQL["orphaned_operations"], list(processing_ids))

        made, operations, orphans = await self._database.transaction(store.ROLE, read, isolation="repeatable_read")
        found: dict[str, Found] = {}
        known: dict[Any, TracedAuthorization] = {}
        for row in made:
            known[row["authorization_id"]] = traced = _traced(row)
            found.setdefault(row["processing_id"], Found()).authorizations.append(traced)
        for row in operations:
            known[row["authorization_id"]].operations.append(store.operation_of(row))
        for row in orphans:
            text = f"it is missing, though there is an operation on it ({row['operation_id'].hex})"
            into = found.setdefault(row["processing_id"], Found())
            into.within.append(contradiction(SERVICE, f"cau_{row['authorization_id'].hex}", text))
        return found


class CardNetwork:
    """The outside's own records of our authorizations, as a dependency of this service."""

    def __init__(self, effects: CardEffects, gateway: Gateway) -> None:
        self._effects = effects
        self._gateway = gateway

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """What the gateway has on record of these processings; what is under way is not asked about."""
        asked = {
            each.authorization.authorization_id: (processing_id, each)
            for processing_id, found in (await self._effects.read(request.processing_ids)).items()
            for each in found.authorizations
            if not each.unseen and not each.in_flight
        }
        told: dict[str, list[EffectRecord]] = {}
        for theirs in await self._gateway.records(list(asked)) if asked else ():
            processing_id, traced = asked[theirs.authorization_id]
            if (record := told_by(traced, theirs)) is not None:
                told.setdefault(processing_id, []).append(record)
        return EffectsPage(
            processings=[ProcessingEffects(processing_id=one, effects=each) for one, each in told.items()]
        )


def _traced(row: asyncpg.Record) -> TracedAuthorization:
    authorization = store.authorization_of(row)
    busy = row["busy_with"] is not None
    return TracedAuthorization(
        authorization, busy, row["caller"], row["holder_id"], row["aborted_at"], row["card_token"]
    )
