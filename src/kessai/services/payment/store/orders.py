"""Net orders and their steps, in the payment schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.events import outbox_insert, outbox_row, wake
from kessai.foundation.ids import bare
from kessai.sdk.workflow import Publish, Write
from kessai.services.payment.api.orders import ORDER_TOPIC, CreateOrder
from kessai.services.payment.domain.orders import Order, OrderChange, Own, event_of

SERVICE = "payment"
ROLE = role_of(SERVICE)

_SQL = load_queries("kessai.services.payment", file="sql/orders.sql")
_OUTBOX_INSERT = outbox_insert(SERVICE)
_encode = msgspec.json.Encoder().encode
_decode_asked = msgspec.json.Decoder(CreateOrder).decode


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step of an order by itself, as it is kept."""

    sequence: int
    action: str
    state: str
    payment_id: str | None
    """32 digits."""
    request_key: str | None
    caller: str
    recorded_at: datetime


def context_of(order_id: str) -> str:
    """What an order's sealed key is bound to."""
    return f"payment.net_order/{order_id}/sealed_key"


# -- writing --------------------------------------------------------------------------------------------------------


async def insert(database: Database, changes: Sequence[OrderChange]) -> list[str]:
    """Keep new orders, with their first steps and events; gives the ids of those that were not there before."""

    async def work(connection: Connection) -> list[str]:
        rows = [_new_row(change.order) for change in changes]
        made = {row["order_id"].hex for row in await connection.fetch(_SQL["insert_orders"], *_columns(rows))}
        await _note(connection, [change for change in changes if bare(change.order.order_id) in made])
        return sorted(f"ord_{each}" for each in made)

    made = await database.transaction(ROLE, work)
    wake(database, SERVICE)
    return made


async def change(database: Database, changes: Sequence[OrderChange]) -> list[str]:
    """Write orders that are one step further, with steps and events; gives the ids of those whose turn it was."""

    async def work(connection: Connection) -> list[str]:
        rows = [_changed_row(each.order) for each in changes]
        written = {row["order_id"].hex for row in await connection.fetch(_SQL["change_orders"], *_columns(rows))}
        await _note(connection, [each for each in changes if bare(each.order.order_id) in written])
        return sorted(f"ord_{each}" for each in written)

    written = await database.transaction(ROLE, work)
    wake(database, SERVICE)
    return written


async def bind(database: Database, orders: Sequence[Order]) -> None:
    """Let payments tell the rest of orders whose own time is over; no step of theirs."""
    await database.fetch(ROLE, _SQL["change_orders"], *_columns([_changed_row(order) for order in orders]))


def with_payment(each: OrderChange) -> tuple[list[Write], list[Publish]]:
    """A step that goes with the flush that begins a payment; conflicts when another step came first."""
    writes = [
        Write(_SQL["change_orders"], _changed_row(each.order), guarded=True),
        Write(_SQL["insert_order_steps"], _step_row(each)),
    ]
    return writes, [Publish(ORDER_TOPIC, event_of(each))]


async def _note(connection: Connection, changes: Sequence[OrderChange]) -> None:
    if not changes:
        return
    await connection.execute(_SQL["insert_order_steps"], *_columns([_step_row(each) for each in changes]))
    events = [event_of(each) for each in changes]
    row = outbox_row(ORDER_TOPIC, events, max(event.occurred_at for event in events))
    await connection.execute(_OUTBOX_INSERT, *_columns([row]))


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _new_row(order: Order) -> tuple[object, ...]:
    return (
        bare(order.order_id),
        order.asked.merchant_id,
        order.customer_id,
        order.asked.reference,
        _encode(order.asked).decode(),
        order.sealed_key,
        order.content_sha256,
        order.caller,
        order.created_at,
        order.expires_at,
    )


def _changed_row(order: Order) -> tuple[object, ...]:
    payment_id = order.payment_id and bare(order.payment_id)
    return (bare(order.order_id), order.version, order.own.value, order.customer_id, payment_id, order.updated_at)


def _step_row(each: OrderChange) -> tuple[object, ...]:
    order = each.order
    return (
        bare(order.order_id),
        order.version,
        each.action.value,
        order.own.value,
        order.payment_id and bare(order.payment_id),
        each.request_key,
        each.caller,
        order.updated_at,
    )


# -- reading --------------------------------------------------------------------------------------------------------


async def load(database: Database, order_ids: Sequence[str], prefix: str) -> list[Order]:
    """The orders that exist, in no particular order. `prefix`: of the ids of their payments."""
    rows = await database.fetch(ROLE, _SQL["load_orders"], [bare(each) for each in order_ids])
    return [_order(row, prefix) for row in rows]


async def of_merchant(
    database: Database, merchant_id: str, reference: str | None, before: tuple[datetime, str], limit: int, prefix: str
) -> list[Order]:
    """A merchant's orders made before an instant (and id), newest first."""
    rows = await database.fetch(ROLE, _SQL["orders_of_merchant"], merchant_id, reference, *before, limit)
    return [_order(row, prefix) for row in rows]


async def overdue(
    database: Database, now: datetime, after: tuple[datetime, str], limit: int, prefix: str
) -> list[Order]:
    """Open orders past their time, by time and id, beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["overdue_orders"], now, *after, limit)
    return [_order(row, prefix) for row in rows]


async def steps(database: Database, order_ids: Sequence[str]) -> list[StoredStep]:
    """Steps of orders, oldest first."""
    rows = await database.fetch(ROLE, _SQL["steps_of_orders"], [bare(each) for each in order_ids])
    return [
        StoredStep(
            row["sequence"],
            row["action"],
            row["state"],
            _hex(row["payment_id"]),
            _hex(row["request_key"]),
            row["caller"],
            row["recorded_at"],
        )
        for row in rows
    ]


def _order(row: asyncpg.Record, prefix: str) -> Order:
    payment_id = _hex(row["payment_id"])
    return Order(
        order_id=f"ord_{row['order_id'].hex}",
        own=Own(row["state"]),
        version=row["version"],
        asked=_decode_asked(row["asked"]),
        customer_id=row["customer_id"],
        payment_id=None if payment_id is None else f"{prefix}_{payment_id}",
        expires_at=row["expires_at"],
        sealed_key=row["sealed_key"],
        content_sha256=row["content_sha256"],
        caller=row["caller"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex
