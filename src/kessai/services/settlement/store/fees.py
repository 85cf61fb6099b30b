"""Fees: the sales they are for, the parts that a day's or cycle's total is made of, and the fees themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.workflow import Write
from kessai.services.settlement.api.fees import FeeRecord, WaitingSale
from kessai.services.settlement.api.words import FeeState, TransactionKind
from kessai.services.settlement.domain.feeing import Decided, Group, Room, Sale, WantedFee
from kessai.services.settlement.domain.intake import NewTransaction
from kessai.services.settlement.store import ROLE

_sql = load_queries("kessai.services.settlement", file="sql/fees.sql")
FIRST = UUID(int=0)


class DueFee(NamedTuple):
    """A fee whose payment is to be asked for."""

    owner_id: str
    fee_id: UUID
    amount_minor: int
    payment_id: str


class DueReturn(NamedTuple):
    """A return: what of a fee's payment is to be refunded."""

    owner_id: str
    fee_id: UUID
    amount_minor: int
    attempts: int
    payment_id: str
    processing_id: str
    counterpart_id: str


async def note_sales(connection: Connection, found: Sequence[NewTransaction]) -> None:
    """Note sales and refunds for the fee flow; what is there already stays as it is."""
    if found:
        rows = [
            (
                *(each.owner_id, each.transaction_id, each.kind, each.method, each.amount_minor, each.payment_id),
                *(each.occurred_at, each.business_date, each.recorded_at),
            )
            for each in found
        ]
        await connection.execute(_sql["note_sales"], *_columns(rows))


async def undecided(database: Database, limit: int) -> list[Sale]:
    """Sales and refunds at which nobody has looked, in the order in which they came, sales first."""
    return [Sale(*row) for row in await database.fetch(ROLE, _sql["undecided"], limit)]


async def waiting(database: Database, after: tuple[str, UUID], limit: int) -> list[Sale]:
    """All whose fee cannot be worked out yet, by owner and id."""
    return [Sale(*row) for row in await database.fetch(ROLE, _sql["waiting"], *after, limit)]


async def sales_of_payments(database: Database, payment_ids: Sequence[str]) -> list[Sale]:
    """The sales of these payments, oldest first."""
    return [Sale(*row) for row in await database.fetch(ROLE, _sql["sales_of_payments"], list(payment_ids))]


async def decide(connection: Connection, decided: Decided, at: datetime) -> bool:
    """Write down what was worked out; False (and nothing may be kept of it) when somebody else was faster."""
    if decided.sales:
        rows = await connection.fetch(_sql["decide"], *_columns(decided.sales))
        if len(rows) < len(decided.sales):
            return False
    if decided.refunded:
        rows = await connection.fetch(_sql["count_refunded"], *_columns(decided.refunded))
        if len(rows) < len({(each.owner_id, each.transaction_id) for each in decided.refunded}):
            return False
    if decided.parts:
        await connection.execute(_sql["insert_parts"], *_columns(decided.parts))
    await insert(connection, decided.fees, at)
    return True


async def insert(connection: Connection, wanted: Sequence[WantedFee], at: datetime) -> None:
    """New fees and returns; a return is counted to the fee that it gives a part of back."""
    if not wanted:
        return
    await connection.execute(_sql["insert_fees"], *_columns(wanted), at)
    returns = [(each.owner_id, each.returns_id, each.amount_minor) for each in wanted if each.returns_id is not None]
    if returns:
        await connection.execute(_sql["count_given_back"], *_columns(returns))


async def take_parts(
    connection: Connection, unit: str, until: date, owner_ids: Sequence[str], fee_id: UUID
) -> list[Group]:
    """Take up the open parts of a unit, of these owners and of days up to one; gives the total of each kind of them."""
    rows = await connection.fetch(_sql["take_parts"], unit, until, list(owner_ids), fee_id)
    return [Group(*row) for row in rows]


async def owners_with_parts(
    database: Database, unit: str, until: date, after: str, limit: int
) -> list[tuple[str, str]]:
    """Owners that have open parts of a unit, with a method of one of them, in their order, beyond one."""
    rows = await database.fetch(ROLE, _sql["owners_with_parts"], unit, until, after, limit)
    return [(row["owner_id"], row["method"]) for row in rows]


async def room(connection: Connection, owner_ids: Sequence[str]) -> list[Room]:
    """What of the fees on totals of these owners has not been given back yet, newest first."""
    return [Room(*row) for row in await connection.fetch(_sql["room"], list(owner_ids))]


async def assign_parts(connection: Connection, groups: Sequence[tuple[Group, UUID]], gathering: UUID) -> None:
    """Say into which fee the parts that were taken up went."""
    if groups:
        rows = [(group.owner_id, group.method, group.schedule, fee_id) for group, fee_id in groups]
        await connection.execute(_sql["assign_parts"], *_columns(rows), gathering)


async def due_fees(database: Database, limit: int) -> list[DueFee]:
    """Fees whose payment is to be asked for, oldest first."""
    rows = await database.fetch(ROLE, _sql["due_fees"], limit)
    return [DueFee(row["owner_id"], row["fee_id"], row["amount_minor"], row["payment_id"]) for row in rows]


async def due_returns(database: Database, limit: int) -> list[DueReturn]:
    """Returns of fees that are issued, oldest first."""
    rows = await database.fetch(ROLE, _sql["due_returns"], limit)
    return [DueReturn(*(row[name] for name in DueReturn._fields)) for row in rows]


def ask_for(each: DueFee | DueReturn) -> Write:
    """The fee as it is being asked for; guarded."""
    return Write(_sql["ask_for_fees"], (each.owner_id, each.fee_id, each.payment_id), guarded=True)


def issued(processing_id: str) -> Write:
    """The fees of a processing as their payments ended."""
    return Write(_sql["fees_issued"], (processing_id,))


async def end_return(connection: Connection, owner_id: str, fee_id: UUID, state: FeeState, code: str | None) -> None:
    """What became of a return."""
    await connection.execute(_sql["end_return"], [owner_id], [fee_id], [state.value], [code])


async def refused(database: Database, after: tuple[str, UUID], limit: int) -> list[asyncpg.Record]:
    """Refused fees and returns, by owner and id."""
    return await database.fetch(ROLE, _sql["refused_fees"], *after, limit)


async def renew(connection: Connection, rows: Sequence[tuple[str, UUID, str]]) -> None:
    """Make refused fees (owner, id, the new payment's id) due again."""
    if rows:
        await connection.execute(_sql["renew"], *_columns(rows))


async def untold(database: Database, day: date) -> int:
    """How many fees on totals of a day are not issued yet, or not heard of as transactions."""
    (row,) = await database.fetch(ROLE, _sql["untold_fees"], day)
    return row["fees"]


async def of_owner(
    database: Database, owner_id: str, state: FeeState | None, after: UUID, limit: int
) -> list[FeeRecord]:
    """An owner's fees, by id, in a state or in any."""
    name = None if state is None else state.value
    return [_record(row) for row in await database.fetch(ROLE, _sql["fees_of_owner"], owner_id, name, after, limit)]


async def waiting_sales(database: Database, after: tuple[str, UUID], limit: int) -> list[WaitingSale]:
    """Sales and refunds whose fee waits, by owner and id."""
    rows = await database.fetch(ROLE, _sql["waiting_sales"], *after, limit)
    return [
        WaitingSale(
            owner_id=row["owner_id"],
            transaction_id=str(row["transaction_id"]),
            kind=TransactionKind(row["kind"]),
            method=row["method"],
            amount_minor=row["amount_minor"],
            payment_id=row["payment_id"],
            occurred_at=row["occurred_at"],
            reason=row["reason"] or "",
        )
        for row in rows
    ]


def _record(row: asyncpg.Record) -> FeeRecord:
    returns: UUID | None = row["returns_id"]
    return FeeRecord(
        owner_id=row["owner_id"],
        fee_id=str(row["fee_id"]),
        kind=TransactionKind(row["kind"]),
        unit=row["unit"],
        origin_id=str(row["origin_id"]),
        returns_id=None if returns is None else str(returns),
        method=row["method"],
        base_minor=row["base_minor"],
        amount_minor=row["amount_minor"],
        tax_minor=row["tax_minor"],
        tax_rate_bps=row["tax_rate_bps"],
        schedule=row["schedule"],
        payment_id=row["payment_id"],
        state=FeeState(row["state"]),
        code=row["code"],
        given_back_minor=row["given_back_minor"],
        business_date=row["business_date"],
        recorded_at=row["recorded_at"],
    )


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
