"""The card gateway's schema and nothing else: rows to write with a workflow's flush, and reads that take lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from kessai.foundation.call import current_call
from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.ids import bare
from kessai.foundation.migrations import SchemaSpec
from kessai.sdk.workflow import Write
from kessai.services.cardgateway.api import (
    AuthorizationState,
    Card,
    CardAuthorization,
    CardOperation,
    CardState,
    OperationKind,
    OperationState,
)
from kessai.services.cardgateway.domain import Instruction, Outcome, Plastic

SCHEMA = SchemaSpec(
    service="cardgateway",
    package="kessai.services.cardgateway",
    components=("kessai.foundation.events", "kessai.sdk.workflow"),
)
ROLE = role_of("cardgateway")
CARDS_LISTED_MAX = 100
NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), "f" * 32)
FIRST = "0" * 32
_SQL = load_queries("kessai.services.cardgateway")


@dataclass(frozen=True, slots=True)
class StoredCard:
    """A card with what only the gateway and we know of it; `card` is None while its registration is not done."""

    card: Card | None
    card_token: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An authorization as the database has it; `busy_with` is the workflow that works on it."""

    authorization: CardAuthorization
    busy_with: str | None


# -- writes: they go with a workflow's flush ----------------------------------------------------------------------


def card_insertion(card_id: str, customer_id: str, now: datetime) -> Write:
    """A card whose registration is under way."""
    return Write(_SQL["insert_card"], (bare(card_id), customer_id, now))


def card_settlement(card_id: str, plastic: Plastic) -> Write:
    """The registered card, or its refusal."""
    state = "ACTIVE" if plastic.refusal_code is None else "REFUSED"
    row = (
        bare(card_id),
        state,
        plastic.card_token,
        plastic.brand,
        plastic.last_four,
        plastic.expiry_month,
        plastic.expiry_year,
    )
    return Write(_SQL["settle_card"], row, guarded=True)


def card_removal(card_id: str, now: datetime) -> Write:
    """The card is no longer used; conflicts when it is not ACTIVE."""
    return Write(_SQL["remove_card"], (bare(card_id), now), guarded=True)


def insertion(authorization: CardAuthorization, workflow_id: str) -> Write:
    """A new authorization, claimed by its workflow; conflicts when its id is known."""
    row = _authorization_row(authorization, workflow_id, None)
    return Write(_SQL["insert_authorization"], row, guarded=True, processing_id=authorization.processing_id)


def claim(authorization: CardAuthorization, workflow_id: str, state: AuthorizationState) -> Write:
    """Take it for a workflow, in a state; conflicts when it changed or another has it. Raises the version by one."""
    row = (bare(authorization.authorization_id), authorization.version, workflow_id, state.value)
    return Write(_SQL["claim_authorization"], row, guarded=True)


def instructed(
    instruction: Instruction, *, caller: str, processing_id: str, instructed_at: datetime, sent_at: datetime
) -> Write:
    """An operation whose outcome is not known yet."""
    row = (
        bare(instruction.authorization_id),
        bare(instruction.operation_id),
        instruction.kind.value,
        instruction.amount_minor,
        instruction.final,
        processing_id,
        caller,
        instructed_at,
        sent_at,
    )
    return Write(_SQL["insert_operation"], row)


def settlement(
    after: CardAuthorization,
    instruction: Instruction,
    outcome: Outcome,
    workflow_id: str,
    unheard_since: datetime | None,
) -> tuple[Write, Write]:
    """The authorization's new state and the operation's; the claim ends."""
    authorization_id = bare(after.authorization_id)
    changed = (
        authorization_id,
        workflow_id,
        after.state.value,
        after.captured_minor,
        after.refunded_minor,
        after.refusal_code,
        after.action_url,
        unheard_since,
        after.updated_at,
    )
    state = OperationState.DONE if outcome.refusal_code is None else OperationState.REFUSED
    made = (
        authorization_id,
        bare(instruction.operation_id),
        state.value,
        outcome.refusal_code,
        after.updated_at,
        outcome.doubt_ms,
    )
    return (
        Write(_SQL["settle_authorization"], changed, guarded=True, processing_id=after.processing_id),
        Write(_SQL["settle_operation"], made, guarded=True),
    )


def _authorization_row(
    authorization: CardAuthorization, workflow_id: str | None, aborted_at: datetime | None
) -> tuple[object, ...]:
    return (
        bare(authorization.authorization_id),
        authorization.customer_id,
        bare(authorization.card_id) or None,
        authorization.state.value,
        workflow_id,
        authorization.amount_minor,
        authorization.asset,
        authorization.reference,
        authorization.processing_id,
        aborted_at,
        authorization.created_at,
        current_call().caller,
    )


# -- aborts and who has heard -------------------------------------------------------------------------------------


async def insert_voided(database: Database, authorizations: Sequence[CardAuthorization]) -> set[str]:
    """Remember ids that were voided before they were seen; gives those that were new."""
    rows = [_authorization_row(each, None, each.created_at) for each in authorizations]
    columns = [list(column) for column in zip(*rows, strict=True)]
    return _ids(await database.fetch(ROLE, _SQL["insert_authorization"], *columns))


async def mark_unheard(database: Database, authorization_id: str, now: datetime) -> None:
    """Nobody has had its outcome, from now on."""
    await database.fetch(ROLE, _SQL["mark_unheard"], bare(authorization_id), now)


async def mark_heard(database: Database, authorization_id: str) -> bool:
    """Somebody has come for its outcome; False when it is being undone already."""
    return bool(await database.fetch(ROLE, _SQL["mark_heard"], bare(authorization_id)))


async def abort(database: Database, authorization_id: str, now: datetime) -> bool:
    """Journal that whatever comes of it be undone; False when it is not PENDING."""
    return bool(await database.fetch(ROLE, _SQL["abort"], bare(authorization_id), now))


async def abandon(database: Database, before: datetime, now: datetime, limit: int) -> set[str]:
    """Journal an abort of what nobody has come for since `before`; gives their ids."""
    rows = await database.fetch(ROLE, _SQL["unheard"], before, limit)
    ids = [row["authorization_id"] for row in rows]
    return _ids(await database.fetch(ROLE, _SQL["abandon"], before, now, ids)) if ids else set()


async def aborted(database: Database, authorization_ids: Sequence[str]) -> set[str]:
    """Those of them whose abort is journalled."""
    return _ids(await database.fetch(ROLE, _SQL["is_aborted"], [bare(each) for each in authorization_ids]))


async def unfinished_aborts(database: Database, after: str, limit: int) -> list[str]:
    """Authorizations, by id, that are still to be voided and that nothing works on."""
    rows = await database.fetch(ROLE, _SQL["unfinished_aborts"], after, limit)
    return [f"cau_{row['authorization_id'].hex}" for row in rows]


async def in_doubt(database: Database, before: datetime) -> tuple[int, datetime | None]:
    """How many operations sent before then have no outcome, and since when the oldest."""
    (row,) = await database.fetch(ROLE, _SQL["in_doubt"], before)
    return row["operations"], row["since"]


async def doubt_longest(database: Database, since: datetime) -> int | None:
    """The longest that an outcome was not known, in milliseconds, of operations sent since then."""
    (row,) = await database.fetch(ROLE, _SQL["doubt_longest"], since)
    return row["doubt_ms"]


def _ids(rows: Sequence[asyncpg.Record]) -> set[str]:
    return {f"cau_{row['authorization_id'].hex}" for row in rows}


# -- reads --------------------------------------------------------------------------------------------------------


async def cards(database: Database, card_ids: Sequence[str]) -> list[StoredCard]:
    """The cards that exist, of those."""
    rows = await database.fetch(ROLE, _SQL["cards_by_id"], [bare(each) for each in card_ids])
    return [StoredCard(_card(row), row["card_token"]) for row in rows]


async def cards_of(database: Database, customer_id: str, *, include_removed: bool) -> list[Card]:
    """A customer's cards, oldest first."""
    rows = await database.fetch(ROLE, _SQL["cards_of_customer"], customer_id, include_removed, CARDS_LISTED_MAX)
    return [card for row in rows if (card := _card(row)) is not None]


async def load(database: Database, authorization_ids: Sequence[str]) -> list[Stored]:
    """The authorizations that exist, of those."""
    rows = await database.fetch(ROLE, _SQL["authorizations_by_id"], [bare(each) for each in authorization_ids])
    return [Stored(authorization_of(row), row["busy_with"] and row["busy_with"].hex) for row in rows]


async def of_customer(
    database: Database, customer_id: str, before: tuple[datetime, str], limit: int
) -> list[CardAuthorization]:
    """A customer's authorizations, newest first, beyond `before`."""
    rows = await database.fetch(ROLE, _SQL["authorizations_of_customer"], customer_id, *before, limit)
    return [authorization_of(row) for row in rows]


async def operations(database: Database, authorization_ids: Sequence[str]) -> list[CardOperation]:
    """Their operations, in the order in which they were instructed."""
    rows = await database.fetch(ROLE, _SQL["operations_of"], [bare(each) for each in authorization_ids])
    return [operation_of(row) for row in rows]


async def whole(database: Database, authorization_id: str) -> tuple[CardAuthorization, list[CardOperation]] | None:
    """An authorization and its operations as they are at one instant."""

    async def read(connection: Connection) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
        found = await connection.fetch(_SQL["authorizations_by_id"], [bare(authorization_id)])
        return found, await connection.fetch(_SQL["operations_of"], [bare(authorization_id)])

    found, made = await database.transaction(ROLE, read, isolation="repeatable_read")
    return (authorization_of(found[0]), [operation_of(row) for row in made]) if found else None


def _card(row: asyncpg.Record) -> Card | None:
    if row["state"] not in (CardState.ACTIVE, CardState.REMOVED):
        return None
    return Card(
        card_id=f"crd_{row['card_id'].hex}",
        customer_id=row["customer_id"],
        state=CardState(row["state"]),
        brand=row["brand"],
        last_four=row["last_four"],
        expiry_month=row["expiry_month"],
        expiry_year=row["expiry_year"],
        created_at=row["created_at"],
        removed_at=row["removed_at"],
    )


def authorization_of(row: asyncpg.Record) -> CardAuthorization:
    """An authorization as its row has it."""
    return CardAuthorization(
        authorization_id=f"cau_{row['authorization_id'].hex}",
        customer_id=row["customer_id"],
        card_id=f"crd_{row['card_id'].hex}" if row["card_id"] else "",
        state=AuthorizationState(row["state"]),
        amount_minor=row["amount_minor"],
        asset=row["asset"],
        captured_minor=row["captured_minor"],
        refunded_minor=row["refunded_minor"],
        refusal_code=row["refusal_code"],
        action_url=row["action_url"],
        reference=row["reference"],
        processing_id=row["processing_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def operation_of(row: asyncpg.Record) -> CardOperation:
    """An operation as its row has it."""
    kind = OperationKind(row["kind"])
    prefix = "cau" if kind is OperationKind.AUTHORIZE else "cop"
    return CardOperation(
        operation_id=f"{prefix}_{row['operation_id'].hex}",
        kind=kind,
        state=OperationState(row["state"]),
        amount_minor=row["amount_minor"],
        final=row["final"],
        refusal_code=row["refusal_code"],
        processing_id=row["processing_id"],
        caller=row["caller"],
        instructed_at=row["instructed_at"],
        settled_at=row["settled_at"],
    )
