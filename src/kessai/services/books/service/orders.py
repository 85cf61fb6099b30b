"""Orders of crypto-assets: what was said when an exchange of two assets was ordered, for what comes after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kessai.foundation.db import Connection
from kessai.services.books.domain.faults import OF_AN_EVENT
from kessai.services.books.domain.posting import Batch, Happening
from kessai.services.books.domain.statutory.trades import Order, order_asked, order_of
from kessai.services.books.store.statutory_lines import load_orders
from kessai.services.ledger.api import ExchangeRecorded


async def recall_orders(connection: Connection, batch: Batch, told: Sequence[Happening]) -> Mapping[str, Order]:
    """Bring to mind the orders of what events capture or undo; gives those that these events tell of themselves."""
    new: dict[str, Order] = {}
    asked: set[str] = set()
    for happening in told:
        each = happening.told
        if isinstance(each, ExchangeRecorded):
            try:
                order, name = order_of(each, happening.at), order_asked(each)
            except OF_AN_EVENT:
                continue  # it is put aside where it is booked
            if order is not None:
                new[each.exchange_id] = order
            if name is not None:
                asked.add(first_of(batch, name))
    if missing := asked - new.keys():
        batch.orders.update(await load_orders(connection, missing))
    batch.orders.update(new)
    return new


def order_for(batch: Batch, event: ExchangeRecorded) -> Order | None:
    """How the exchange was ordered that an event captures or undoes, as far as it is known."""
    name = order_asked(event) if batch.orders else None
    return None if name is None else batch.orders.get(first_of(batch, name))


def first_of(batch: Batch, name: str) -> str:
    """The exchange at the beginning of the chain that one is in."""
    original = batch.originals.get(name)
    return name if original is None else original.root
