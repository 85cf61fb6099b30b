"""What settlement asks the payment service to move, written down before it is asked.

The pattern, for fees, clearings, payouts and whatever else moves money:

1. Choose the payment's id (`domain.naming.payment_id_of`: derived from what it is for, so that asking twice asks for
   the same).
2. In the flush that decides it, write it down: `wf.record(each)` for each of `asked(…)`, or pass them as `writes` to
   `engine.start`. Its processing begins with it, and the tracer is told so in the same commit.
3. Ask the payment service in an activity, under that processing. `workflows.moving.move` does so for everything of a
   processing that is still ASKED, by the page, and writes down what became of each.
4. What is told later, such as what a bank did with a payout, is written by `ended(…)`.

A crash between any two of these leaves a row ASKED, and asking again under the same id finds what there is. The rows of
a processing are what the tracer compares with the payment service's own record (`effects.py`): nothing may be asked for
that has no row, and a row's state is the payment's own word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.sdk.workflow import Write
from kessai.services.settlement.domain.naming import SERVICE
from kessai.services.settlement.store import ROLE

ASKED = "ASKED"

_sql = load_queries("kessai.services.settlement")


class Movement(NamedTuple):
    """Something to be moved: from the payer, `owner_id`, to `counterpart_id`."""

    payment_id: str
    kind: str
    owner_id: str
    counterpart_id: str
    amount_minor: int
    about: str
    """What it is for: `fee:<id>`, `payout:<id>` …; the payment's reference."""
    refund_of: str | None = None
    """Of a refund: the payment that it gives a part back of; `payment_id` is then our own name for it.

    It is so for a repayment of a claim, too. `refund_id` tells the payment service's id of either.
    """


class Moved(NamedTuple):
    """A movement as it stands."""

    movement: Movement
    state: str
    code: str | None
    refund_id: str | None


class Ending(NamedTuple):
    """What became of one: the payment's state, why it was refused, and what was given back of it in all (payouts)."""

    payment_id: str
    state: str
    code: str | None = None
    returned_minor: int | None = None
    refund_id: str | None = None


def asked(
    movements: Iterable[Movement], *, processing_id: str, at: datetime, begins: bool = True, caller: str = SERVICE
) -> list[Write]:
    """Rows of what is going to be asked for, in one processing. `begins`: it has no effects of anybody yet.

    Guarded: one that was written before is Conflicted.
    """
    return [
        Write(
            _sql["ask"],
            (*each, processing_id, caller, at),
            guarded=True,
            processing_id=processing_id,
            begins=begins,
        )
        for each in movements
    ]


def ended(endings: Iterable[Ending], *, processing_id: str, at: datetime) -> list[Write]:
    """What became of movements of a processing, told to the tracer too; what is written already stays as it is."""
    return [Write(_sql["end_movement"], (*each, at), processing_id=processing_id) for each in endings]


async def end(connection: Connection, endings: Sequence[Ending], at: datetime) -> set[str]:
    """The same within a transaction of the caller's, who tells the tracer; gives the ids of those that it changed."""
    if not endings:
        return set()
    columns = [list(column) for column in zip(*((*each, at) for each in endings), strict=True)]
    return {row["payment_id"] for row in await connection.fetch(_sql["end_movement"], *columns)}


async def ask_within(
    connection: Connection, wanted: Sequence[Movement], processings: Mapping[str, str], at: datetime
) -> set[str]:
    """Write down what is going to be asked for, each in a processing that has begun already, by the movement's id.

    The caller tells the tracer. Gives the ids of those that are new; what is written already stays as it is.
    """
    rows = [(*each, processings[each.payment_id], SERVICE, at) for each in wanted]
    if not rows:
        return set()
    columns = [list(column) for column in zip(*rows, strict=True)]
    return {row["payment_id"] for row in await connection.fetch(_sql["ask"], *columns)}


async def note_repayments(connection: Connection, endings: Sequence[Ending], at: datetime) -> list[str]:
    """Write how payments of repayments stand, by our names for them, unless they came to their end before.

    Gives the processings of those that changed, for the caller to tell the tracer of.
    """
    columns = [[each[place] for each in endings] for place in (0, 1, 2, 4)]
    rows = await connection.fetch(_sql["note_repayments"], *columns, at) if endings else []
    return sorted({row["processing_id"] for row in rows})


async def add_returned(connection: Connection, refunds: Sequence[str]) -> None:
    """Count refunds to the payments that they gave a part back of: those alone whose success `end` has just written."""
    await connection.execute(_sql["add_returned"], list(refunds))


async def in_state(database: Database, processing_id: str, state: str, after: str, limit: int) -> list[Moved]:
    """Movements of a processing in a state, in order of id beyond `after`; without refunds, asked for otherwise."""
    rows = await database.fetch(ROLE, _sql["movements_in_state"], processing_id, state, after, limit)
    return [moved_of(row) for row in rows]


async def load(database: Database, payment_ids: Sequence[str]) -> dict[str, Moved]:
    """Movements by their payment's id; unknown ones are left out."""
    rows = await database.fetch(ROLE, _sql["load_movements"], list(payment_ids))
    return {row["payment_id"]: moved_of(row) for row in rows}


def moved_of(row: asyncpg.Record) -> Moved:
    """A row of either query."""
    fields: Any = [row[name] for name in Movement._fields]
    return Moved(Movement(*fields), row["state"], row["code"], row["refund_id"])
