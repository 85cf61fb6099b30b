"""Orders of crypto-assets: each is what its exchange's own event says, and none is of no event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kessai.apps.verify.checks import BROKEN_MAX
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries
from kessai.services.books.domain.faults import OF_AN_EVENT
from kessai.services.books.domain.posting import Happening
from kessai.services.books.domain.statutory.trades import Order, order_of
from kessai.services.books.store.statutory_lines import order_text
from kessai.services.ledger.api import ExchangeRecorded

ORDERED = "an order is remembered as its event says it"
_TABLE = "books.crypto_order"
ROWS_AT_ONCE = 1_000


class Orders:
    """The rows of `crypto_order`, worked out again page by page of the ledger's events."""

    def __init__(self, connection: Connection, sql: Queries, report: Report) -> None:
        self._connection = connection
        self._sql = sql
        self._report = report
        self._told: set[str] = set()

    async def check(self, events: Sequence[Happening], was_heard: Callable[[Happening], bool]) -> None:
        """Compare the orders of some events with what is remembered; one whose event was heard must be there."""
        told = {order[0]: (event, order[1]) for event in events if (order := _order(event)) is not None}
        new = {name: each for name, each in told.items() if name not in self._told}
        if not new:
            return
        self._told |= new.keys()
        rows = await self._connection.fetch(self._sql["orders"], list(new))
        there = {row["exchange_id"]: row["ordered"] for row in rows}
        lost = {event.event_id: name for name, (event, _) in new.items() if name not in there and was_heard(event)}
        if lost:
            excused = await self._connection.fetch(self._sql["excused"], list(lost), "books.ledger")
            for event_id in sorted(lost.keys() - {row["event_id"] for row in excused}):
                self._report.add(ORDERED, _TABLE, lost[event_id], f"it is missing, though {event_id} was heard")
        for name, (_, order) in new.items():
            if name in there and there[name] != order_text(order):
                self._report.add(ORDERED, _TABLE, name, "it is not what its event says")

    async def check_strays(self) -> None:
        """Report rows of no event."""
        found = 0
        async for row in self._connection.cursor(self._sql["order_names"], prefetch=ROWS_AT_ONCE):
            if row["exchange_id"] not in self._told:
                self._report.add(ORDERED, _TABLE, row["exchange_id"], "no event tells of it")
                found += 1
                if found >= BROKEN_MAX:
                    return


def _order(event: Happening) -> tuple[str, Order] | None:
    told = event.told
    if not isinstance(told, ExchangeRecorded):
        return None
    try:
        order = order_of(told, event.at)
    except OF_AN_EVENT:
        return None  # it is put aside where it is booked
    return None if order is None else (told.exchange_id, order)
