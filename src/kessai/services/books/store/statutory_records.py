"""What people record for the statutory books: safeguards, counts of wallets, prices. Each is written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.store import ROLE

_sql = load_queries("kessai.services.books", file="sql/statutory_books.sql")
_days = load_queries("kessai.services.books", file="sql/statutory.sql")


class Safeguard(NamedTuple):
    """What secures a book; a release is negative."""

    book: str
    reference: str
    means: str
    subject: str
    amount: int
    effective_on: date
    place: str


class Counted(NamedTuple):
    """What stood in a wallet."""

    wallet: str
    asset: str
    cold: bool
    quantity: int


class Price(NamedTuple):
    """The price that values an asset on a day."""

    unit_price: str
    source: str
    price_on: date


async def take_safeguard_turn(connection: Connection) -> None:
    """Wait until nobody else records a safeguard."""
    await connection.fetchval(_days["take_statutory_turn"], "safeguard")


async def insert_safeguard(connection: Connection, safeguard: Safeguard, *, now: datetime, by: str) -> bool:
    """Record it; False when its reference is there already."""
    return await connection.fetchval(_sql["insert_safeguard"], *safeguard, now, by) is not None


async def safeguard_named(connection: Connection, book: str, reference: str) -> Safeguard:
    """One that is there."""
    row = await connection.fetchrow(_sql["safeguard_named"], book, reference)
    assert row is not None
    return Safeguard(*row)


async def safeguards_until(connection: Connection, book: str, day: date) -> list[Safeguard]:
    """All that takes effect up to a day, in that order."""
    rows = await connection.fetch(_sql["safeguards_until"], book, day)
    return [Safeguard(*tuple(row)[: len(Safeguard._fields)]) for row in rows]


async def safeguards(database: Database, book: str, day: date) -> list[Safeguard]:
    """The same outside a transaction."""
    rows = await database.fetch(ROLE, _sql["safeguards_until"], book, day)
    return [Safeguard(*tuple(row)[: len(Safeguard._fields)]) for row in rows]


async def insert_wallets(
    connection: Connection, day: date, counts: Sequence[Counted], *, now: datetime, by: str
) -> tuple[int, set[Counted]]:
    """Record counts; gives how many were new, and all of that day."""
    columns = [list(column) for column in zip(*counts, strict=True)]
    new = await connection.fetch(_sql["insert_wallet_counts"], day, now, by, *columns)
    kept = await connection.fetch(_sql["wallet_counts_of"], day)
    return len(new), {Counted(*row) for row in kept}


async def wallets_on(database: Database, day: date) -> list[Counted]:
    """Each wallet as it was last counted up to a day."""
    rows = await database.fetch(ROLE, _sql["wallets_on"], day)
    return [Counted(row["wallet"], row["asset"], row["cold"], row["quantity"]) for row in rows]


async def insert_prices(
    connection: Connection, day: date, source: str, prices: Mapping[str, str], *, now: datetime, by: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Record prices; gives how many were new, and all of that day with their source."""
    new = await connection.fetch(
        _sql["insert_prices"], day, source, now, by, list(prices), list(prices.values())
    )  # fmt: skip
    kept = await connection.fetch(_sql["prices_of"], day)
    return len(new), {row["asset"]: (row["unit_price"], row["source"]) for row in kept}


async def prices_on(database: Database, day: date, assets: Sequence[str]) -> dict[str, Price]:
    """The latest price of each asset up to a day, recorded or of the last trade; those that have none are left out."""
    rows = await database.fetch(ROLE, _sql["prices_on"], day, list(assets))
    return {
        row["asset"]: Price(row["unit_price"], row["source"], row["price_on"])
        for row in rows
        if row["unit_price"] is not None
    }
