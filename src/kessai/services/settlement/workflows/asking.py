"""Writing down what is to be asked of the payment service, and having it asked, for cycles and payouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from kessai.foundation import events
from kessai.foundation.db import Connection
from kessai.foundation.ids import new_id
from kessai.sdk.processing.announce import touched_row
from kessai.sdk.workflow import Activity
from kessai.services.settlement import store
from kessai.services.settlement.store import movements, payouts
from kessai.services.settlement.store.movements import ASKED, Movement
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows import Deps
from kessai.services.settlement.workflows.moving import Page, move


async def write_down(
    connection: Connection, wanted: Sequence[Movement], now: datetime, *, within: str | None = None
) -> None:
    """Write down what is going to be asked, in one processing that begins with it; what is written already stays.

    `within`: a processing that it is a part of instead.
    """
    if not wanted:
        return
    processing_id = within or new_id("prc")
    rows = movements.asked(wanted, processing_id=processing_id, at=now)
    columns = [list(column) for column in zip(*(each.row for each in rows), strict=True)]
    if await connection.fetch(rows[0].statement, *columns):
        await announce(connection, [processing_id], now, entry=within is None)


async def write_down_apart(connection: Connection, wanted: Sequence[Movement], now: datetime) -> None:
    """The same, each in a processing of its own."""
    if not wanted:
        return
    ids = [new_id("prc") for _ in wanted]
    rows = [
        movements.asked([each], processing_id=processing_id, at=now)[0]
        for each, processing_id in zip(wanted, ids, strict=True)
    ]
    columns = [list(column) for column in zip(*(each.row for each in rows), strict=True)]
    new = {row["payment_id"] for row in await connection.fetch(rows[0].statement, *columns)}
    if begun := [ids[place] for place, each in enumerate(wanted) if each.payment_id in new]:
        await announce(connection, begun, now, entry=True)


async def announce(connection: Connection, processing_ids: Sequence[str], now: datetime, *, entry: bool) -> None:
    """Tell the tracer of new effects in these processings, in the transaction that has them."""
    row = touched_row(processing_ids, now, entry=entry)
    await connection.execute(events.outbox_insert(store.SCHEMA.service), *([value] for value in row))


async def ask(activity: Activity[Deps], payment_ids: Iterable[str]) -> dict[str, Known]:
    """Have everything moved of these payments that is still only ASKED; gives how each stands afterwards.

    Raises Unavailable while something of it is under way.
    """
    ids, database = list(payment_ids), activity.deps.database
    known = await payouts.movements_known(database, ids)
    waiting = {each.processing_id for each in known.values() if each.state == ASKED}
    for processing_id in sorted(waiting):
        await move(activity, Page(processing_id=processing_id))
    return await payouts.movements_known(database, ids) if waiting else known
