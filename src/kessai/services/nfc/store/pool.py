"""Batches of cards, and the pool that they fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.services.nfc.api import BatchState, IssueBatch, IssueLineError
from kessai.services.nfc.domain.cards import PoolCard

_SQL = load_queries("kessai.services.nfc", file="sql/pool.sql")
FIRST = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch as its row has it."""

    batch_id: str
    state: BatchState
    version: int
    sequence: int
    """Of the request file."""
    count: int
    imported: int
    wrong: int
    code: str | None
    digest: bytes
    requested_by: str
    requested_at: datetime
    sent_at: datetime | None
    imported_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPoolCard:
    """A card on its way into the pool."""

    reference: str
    token: str
    last_four: str
    expires_on: date
    line: int


@dataclass(frozen=True, slots=True)
class Figures:
    """How full the pool is."""

    free: int
    assigned: int
    stale: int
    on_order: int
    overdue: int


# -- batches ------------------------------------------------------------------------------------------------------


async def batch_named(connection: Connection, batch_id: str) -> Batch | None:
    """A batch, if there is one."""
    rows = await connection.fetch(_SQL["batches_named"], [batch_id])
    return _batch(rows[0]) if rows else None


async def batches_page(
    connection: Connection, before: tuple[datetime, str], state: BatchState | None, limit: int
) -> list[Batch]:
    """Batches before an instant (and id), newest first."""
    return [_batch(row) for row in await connection.fetch(_SQL["batches_page"], *before, state, limit)]


async def batches_open(connection: Connection, after: str, limit: int) -> list[str]:
    """Batches that are not finished, by id."""
    return [row["batch_id"].hex for row in await connection.fetch(_SQL["batches_open"], after, limit)]


async def insert_batch(connection: Connection, batch: Batch) -> bool:
    """A new batch; False when its id is taken."""
    row = (batch.batch_id, batch.sequence, batch.count, batch.digest, batch.requested_by, batch.requested_at)
    if not await connection.fetch(_SQL["insert_batches"], *[[each] for each in row]):
        return False
    await _insert_step(connection, batch, 1, "requested", batch.requested_by, batch.requested_at)
    return True


async def write_batch(connection: Connection, batch: Batch, detail: str, caller: str, at: datetime) -> bool:
    """A batch as it is now, one version further; False when somebody else was first (then roll back)."""
    row = (
        batch.batch_id,
        batch.version,
        batch.state.value,
        batch.imported,
        batch.wrong,
        batch.code,
        batch.sent_at,
        batch.imported_at,
    )
    if not await connection.fetch(_SQL["update_batches"], *[[each] for each in row]):
        return False
    await _insert_step(connection, batch, batch.version + 1, detail, caller, at)
    return True


async def _insert_step(
    connection: Connection, batch: Batch, version: int, detail: str, caller: str, at: datetime
) -> None:
    row = (batch.batch_id, version, batch.state.value, detail, caller, at)
    await connection.execute(_SQL["insert_batch_steps"], *[[each] for each in row])


async def insert_line_errors(connection: Connection, batch_id: str, errors: Sequence[IssueLineError]) -> None:
    """Which lines gave no card."""
    if not errors:
        return
    rows = [(batch_id, number, each.line, each.code, each.reason) for number, each in enumerate(errors, 1)]
    await connection.execute(_SQL["insert_line_errors"], *[list(column) for column in zip(*rows, strict=True)])


async def line_errors(connection: Connection, batch_id: str, limit: int) -> list[IssueLineError]:
    """The first lines that gave no card."""
    return [IssueLineError(**dict(row)) for row in await connection.fetch(_SQL["line_errors"], batch_id, limit)]


def shown(batch: Batch, errors: list[IssueLineError]) -> IssueBatch:
    """A batch as the door shows it."""
    return IssueBatch(
        batch_id=f"isb_{batch.batch_id}",
        state=batch.state,
        count=batch.count,
        imported=batch.imported,
        wrong=batch.wrong,
        code=batch.code,
        errors=errors,
        sent_at=batch.sent_at,
        requested_at=batch.requested_at,
        imported_at=batch.imported_at,
        requested_by=batch.requested_by,
    )


def _batch(row: asyncpg.Record) -> Batch:
    return Batch(
        batch_id=row["batch_id"].hex,
        state=BatchState(row["state"]),
        version=row["version"],
        sequence=row["sequence"],
        count=row["count"],
        imported=row["imported"],
        wrong=row["wrong"],
        code=row["code"],
        digest=row["digest"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        sent_at=row["sent_at"],
        imported_at=row["imported_at"],
    )


# -- the pool -----------------------------------------------------------------------------------------------------


async def references_known(connection: Connection, references: Sequence[str]) -> set[str]:
    """Those of the issuer's references that the pool ever had."""
    return {row["reference"] for row in await connection.fetch(_SQL["references_known"], references)}


async def insert_pool_cards(connection: Connection, batch_id: str, cards: Sequence[NewPoolCard], at: datetime) -> bool:
    """Free cards; False when one is there already (then roll back)."""
    if not cards:
        return True
    rows = [(each.reference, each.token, each.last_four, each.expires_on, batch_id, each.line, at) for each in cards]
    made = await connection.fetch(_SQL["insert_pool_cards"], *[list(column) for column in zip(*rows, strict=True)])
    return len(made) == len(cards)


async def assign(connection: Connection, card_id: str, at: datetime, until: date, skip: int) -> PoolCard | None:
    """Give the free card behind `skip` others, which is valid at least `until`, to a customer's card; one statement.

    None: there are fewer, or another process took that one at the same moment.
    """
    rows = await connection.fetch(_SQL["assign_card"], card_id, at, until, skip)
    return PoolCard(**dict(rows[0])) if rows else None


async def free(connection: Connection, until: date, up_to: int) -> int:
    """How many cards can be given away; counts no further than `up_to`."""
    return (await connection.fetch(_SQL["free_cards"], until, up_to))[0]["free"]


async def figures(connection: Connection, until: date, since: datetime) -> Figures:
    """How full the pool is; what was asked for before `since` and has not come is overdue."""
    (standing,) = await connection.fetch(_SQL["pool_standing"], until)
    (ordered,) = await connection.fetch(_SQL["ordered"], since)
    given = ordered["imported"] - standing["free"] - standing["stale"]
    return Figures(standing["free"], given, standing["stale"], ordered["on_order"], ordered["overdue"])
