"""What the feed writes into the statutory books: lines and trades, in the transaction that books their events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import msgspec

from kessai.foundation.clock import business_date
from kessai.foundation.db import Connection, load_queries
from kessai.services.books.domain.statutory.lines import Statement, StatementLine
from kessai.services.books.domain.statutory.trades import Order, Trade

_sql = load_queries("kessai.services.books", file="sql/statutory.sql")
LINE_COLUMNS = len(StatementLine._fields)
TRADE_COLUMNS = len(Trade._fields)
_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(Order).decode


async def write_statements(connection: Connection, statements: Sequence[Statement], *, seen_at: datetime) -> None:
    """Write a batch of events' lines and trades, each once; `seen_at` is the instant of the batch's latest event.

    To be called for every batch, also for one that has no lines: how far the feed has come is kept here, too. What
    belongs to a day that was cut goes to the first open one.
    """
    lines = [line for statement in statements for line in statement.lines]
    first = min((line.event_on for line in lines), default=business_date(seen_at))
    await connection.execute(_sql["write_statement_lines"], seen_at, first, *_columns(lines, LINE_COLUMNS))
    trades = [trade for statement in statements for trade in statement.trades]
    if trades:
        await connection.execute(_sql["write_crypto_trades"], *_columns(trades, TRADE_COLUMNS))


async def insert_orders(connection: Connection, orders: Mapping[str, Order]) -> None:
    """Remember how exchanges were ordered."""
    texts = [order_text(each) for each in orders.values()]
    await connection.execute(_sql["insert_orders"], list(orders), texts)


def order_text(order: Order) -> str:
    """An order as it is stored."""
    return _encode(order).decode()


async def load_orders(connection: Connection, exchange_ids: Collection[str]) -> dict[str, Order]:
    """How those of the exchanges were ordered of which it is known."""
    rows = await connection.fetch(_sql["load_orders"], list(exchange_ids))
    return {row["exchange_id"]: _order(row["ordered"]) for row in rows}


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
