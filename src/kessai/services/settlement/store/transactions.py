"""Transaction data: recorded by the feed, reconciled by a day's run, read by anybody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries, plan_by_index
from kessai.services.settlement.api.transactions import Transaction
from kessai.services.settlement.api.words import TransactionKind, TransactionState
from kessai.services.settlement.domain.intake import NewTransaction
from kessai.services.settlement.store import ROLE

_sql = load_queries("kessai.services.settlement")
FIRST = UUID(int=0)


class OpenTransaction(NamedTuple):
    """A transaction that is still to be reconciled."""

    owner_id: str
    transaction_id: UUID
    kind: str
    signed_minor: int
    """Positive when the owner gets it."""
    method: str
    payment_id: str
    processing_id: str
    business_date: date
    told_at: datetime
    state: str
    reason: str | None


class Place(NamedTuple):
    """Where a page of open transactions ended."""

    day: date
    owner_id: str
    transaction_id: UUID


START = Place(date(1970, 1, 1), "", FIRST)


class Proved(NamedTuple):
    """A transaction that settles, and for whom."""

    owner_id: str
    transaction_id: UUID
    business_date: date
    merchant_id: str
    payee_id: str


class FeeOrigin(NamedTuple):
    """What a fee's transaction takes over from what it is for."""

    origin_id: UUID
    method: str
    business_date: date


async def record(connection: Connection, transactions: Sequence[NewTransaction]) -> None:
    """Record transactions; what is there already stays as it is."""
    if transactions:
        in_order = sorted(transactions, key=_place_in_index)
        await connection.execute(_sql["record_transactions"], *_columns(in_order))


def _place_in_index(each: NewTransaction) -> tuple[str, int]:
    """Rows written in the order of their key touch neighbouring pages one after the other."""
    return each.owner_id, each.transaction_id.int


async def fee_origins(connection: Connection, payment_ids: Sequence[str]) -> dict[str, FeeOrigin]:
    """What the payments of fees are for, by payment; of a payment that nobody here asked for there is nothing."""
    rows = await connection.fetch(_sql["fee_origins"], list(payment_ids))
    return {row["payment_id"]: FeeOrigin(row["origin_id"], row["method"], row["business_date"]) for row in rows}


async def open_page(database: Database, until: date, after: Place, limit: int) -> list[OpenTransaction]:
    """Open transactions of days up to one, oldest day first, beyond a place."""
    rows = await _look_up(database, "open_transactions", until, *after, limit)
    return [OpenTransaction(*row) for row in rows]


async def held_by_fees(database: Database, owner_ids: Sequence[str]) -> dict[UUID, str]:
    """Transactions of these owners that wait for their fee, with the reason."""
    rows = await _look_up(database, "held_by_fees", list(owner_ids))
    return {row["transaction_id"]: row["reason"] for row in rows}


async def unheard_by_fees(database: Database, found: Sequence[tuple[str, UUID]]) -> set[UUID]:
    """Which of these sales and refunds (owner, id) the fee flow has not heard of yet."""
    owners, ids = [owner for owner, _ in found], [one for _, one in found]
    return {row["transaction_id"] for row in await _look_up(database, "unheard_by_fees", owners, ids)}


async def signed_settled(database: Database, payment_ids: Sequence[str]) -> list[tuple[str, str, int]]:
    """What is settled already of these payments: payment, owner and signed amount of each transaction."""
    rows = await _look_up(database, "settled_of_payments", list(payment_ids))
    return [(row["payment_id"], row["owner_id"], row["signed_minor"]) for row in rows]


async def settle(connection: Connection, day: date, proved: Sequence[Proved]) -> tuple[int, int]:
    """Reconcile transactions on a day and add them to its summaries, in one statement.

    Gives how many were still open, and their net. What was settled before is not settled again.
    """
    if not proved:
        return 0, 0
    row = await connection.fetchrow(_sql["settle"], *_columns(proved), day)
    assert row is not None
    return row["transactions"], row["net_minor"]


async def hold(connection: Connection, held: Sequence[tuple[str, UUID, str]]) -> None:
    """Say why transactions (owner, id, reason) do not settle yet."""
    if held:
        await connection.execute(_sql["hold"], *_columns(held))


async def of_owner(
    database: Database,
    owner_id: str,
    since: date | None,
    until: date | None,
    state: TransactionState | None,
    after: UUID,
    limit: int,
) -> list[Transaction]:
    """An owner's transactions by id, of these days and in this state."""
    rows = await database.fetch(
        ROLE,
        _sql["transactions_of_owner"],
        owner_id,
        since,
        until,
        None if state is None else state.value,
        after,
        limit,
    )
    return [transaction_of(row) for row in rows]


async def open_ones(database: Database, until: date, after: Place, limit: int) -> list[Transaction]:
    """Open transactions in full."""
    rows = await _look_up(database, "open_transactions_in_full", until, *after, limit)
    return [transaction_of(row) for row in rows]


async def of_payment(database: Database, payment_id: str) -> list[Transaction]:
    """The transactions of a payment, oldest first."""
    return [transaction_of(row) for row in await database.fetch(ROLE, _sql["transactions_of_payment"], payment_id)]


def transaction_of(row: asyncpg.Record) -> Transaction:
    """A row with all columns."""
    origin: UUID | None = row["origin_id"]
    return Transaction(
        owner_id=row["owner_id"],
        transaction_id=str(row["transaction_id"]),
        kind=TransactionKind(row["kind"]),
        from_id=row["from_id"],
        to_id=row["to_id"],
        amount_minor=row["amount_minor"],
        method=row["method"],
        payment_id=row["payment_id"],
        origin_id=None if origin is None else str(origin),
        processing_id=row["processing_id"],
        occurred_at=row["occurred_at"],
        business_date=row["business_date"],
        recorded_at=row["recorded_at"],
        state=TransactionState(row["state"]),
        reason=row["reason"],
        merchant_id=row["merchant_id"],
        payee_id=row["payee_id"],
        settles_on=row["settles_on"],
    )


async def _look_up(database: Database, name: str, *arguments: object) -> list[asyncpg.Record]:
    """Rows by index, page after page: a morning's table has no statistics yet, and by those it would be read whole
    and sorted for every page."""

    async def look(connection: Connection) -> list[asyncpg.Record]:
        await plan_by_index(connection)
        return await connection.fetch(_sql[name], *arguments)

    return await database.transaction(ROLE, look)


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
