"""The bank: our instructions against their steps, and against the books of the simulated one, to the yen.

An instruction is journalled before the bank hears of it. So whatever stands in the bank's books from before our own
were looked at, ours must know; and what ours say the bank did, it did, for its books are read after that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import asyncpg

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, load_queries
from kessai.simulators.bank import Books, Order

INVARIANT = "the bank's books agree with ours"
ROWS = (
    Check("broken_instructions", "an instruction is what its steps make it"),
    Check("broken_instruction_steps", "an instruction only goes forward"),
    Check("abandoned_instructions", "every instruction under way is worked on"),
    Check("abandoned_mandates", "every instruction under way is worked on"),
    Check("strange_instructions", "an instruction is its account's owner's"),
    Check("unpublished_instruction_steps", "every step of an instruction is published"),
)
MAY_BE = {
    "ACCEPTED": ("processing", "done", "failed", "returned"),
    "UNKNOWN": ("processing", "done", "failed", "returned"),
    "SENT": ("processing", "done", "failed", "returned"),
    "DONE": ("done", "returned"),
    "FAILED": ("failed",),
    "RETURNED": ("returned",),
}
"""What an order may be at the bank by now, by what we knew of it."""
_PREFIXES = {"transfer": "btr_", "debit": "bdb_"}
_TABLE = "bank.instruction"


async def check_bank(connection: Connection, report: Report) -> None:
    """Our own rows, among themselves."""
    sql = load_queries("kessai.apps.verify", file="sql/bank.sql")
    for check in ROWS:
        await run_check(connection, sql, check, report, schema="bank", types={})


async def verify_bank(connection: Connection, path: Path, report: Report) -> None:
    """Report on what we and the simulated bank disagree.

    Without a file of the bank's at `path` it is not compared: a real bank sends its statement.
    """
    sql = load_queries("kessai.apps.verify", file="sql/bank.sql")
    earlier = Books.read(path)
    rows = await connection.fetch(sql["instructions"])
    if (books := Books.read(path)) is not None:
        compare_bank(rows, books, () if earlier is None else tuple(earlier.orders), report)


def compare_bank(rows: Sequence[asyncpg.Record], books: Books, earlier: Collection[str], report: Report) -> None:
    """Ours with theirs, which may have gone on since; the orders in `earlier` were there before we looked at ours."""
    ours = {_PREFIXES[row["kind"]] + row["instruction_id"].hex: row for row in rows}
    for instruction_id, row in ours.items():
        how = _difference(row, books.orders.get(instruction_id))
        if how is not None:
            report.add(INVARIANT, _TABLE, instruction_id, how)
    for instruction_id in earlier:
        if instruction_id not in ours:
            order = books.orders[instruction_id]
            report.add(INVARIANT, _TABLE, instruction_id, f"unknown here, {order.kind} of {order.amount} there")
    _compare_statement(books, report)


def _compare_statement(books: Books, report: Report) -> None:
    """What each order did to the platform's account, by its state and by the bank's statement."""
    moved: Counter[str] = Counter()
    for line in books.statement():
        moved[line.id] += line.amount
    for order in books.orders.values():
        if moved[order.id] != (told := _told(order)):
            how = f"it is {order.state} there, which moves {told}; the statement says {moved[order.id]}"
            report.add(INVARIANT, _TABLE, order.id, how)


def _difference(row: asyncpg.Record, order: Order | None) -> str | None:
    if order is None:
        return f"{row['state']} here, unknown there" if row["state"] in ("SENT", "DONE", "RETURNED") else None
    if (order.kind, order.amount) != (row["kind"], row["amount_minor"]):
        return f"{row['kind']} of {row['amount_minor']} here, {order.kind} of {order.amount} there"
    return None if order.state in MAY_BE[row["state"]] else f"{row['state']} here, {order.state} there"


def _told(order: Order) -> int:
    """What an order in its state has done to the platform's account."""
    if order.kind == "debit":
        return order.amount if order.state == "done" else 0
    return -order.amount if order.state in ("processing", "done") else 0
