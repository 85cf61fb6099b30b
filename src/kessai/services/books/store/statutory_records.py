"""What people record for the statutory books: safeguards, counts of wallets, prices. Each is written once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import asyncpg

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.db import Connection, Database, load_queries
from kessai.services.books.store import ROLE
from kessai.services.books.store.seals import Chain, seal

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


class SafeguardKept(NamedTuple):
    """A safeguard and the day whose books it stands in."""

    safeguard: Safeguard
    book_on: date


async def hold_open_day(connection: Connection) -> date:
    """The first day that is not cut; none is until the caller's transaction ends."""
    cut_on = await connection.fetchval(_days["hold_open_day"])
    return date.min if cut_on is None else cut_on + ONE_DAY


async def take_safeguard_turn(connection: Connection) -> None:
    """Wait until nobody else records a safeguard."""
    await connection.fetchval(_days["take_statutory_turn"], "safeguard")


async def insert_safeguard(
    connection: Connection, safeguard: Safeguard, *, book_on: date, now: datetime, by: str
) -> bool:  # fmt: skip
    """Record it; False when its reference is there already."""
    if await connection.fetchval(_sql["insert_safeguard"], *safeguard, book_on, now, by) is None:
        return False
    await seal(connection, Chain.SAFEGUARD, [f"{safeguard.book}/{safeguard.reference}"])
    return True


async def safeguard_named(connection: Connection, book: str, reference: str) -> Safeguard:
    """One that is there."""
    row = await connection.fetchrow(_sql["safeguard_named"], book, reference)
    assert row is not None
    return Safeguard(*row)


async def every_safeguard(connection: Connection, book: str) -> list[Safeguard]:
    """All that there is of a book."""
    return [_kept(row).safeguard for row in await connection.fetch(_sql["safeguards_until"], book, date.max)]


async def safeguards(database: Database, book: str, day: date) -> list[SafeguardKept]:
    """All that stands in the books up to a day, in the order of their days."""
    return [_kept(row) for row in await database.fetch(ROLE, _sql["safeguards_until"], book, day)]


def _kept(row: asyncpg.Record) -> SafeguardKept:
    *safeguard, book_on = tuple(row)
    return SafeguardKept(Safeguard(*safeguard), book_on)


async def insert_wallets(
    connection: Connection, day: date, counts: Sequence[Counted], *, book_on: date, now: datetime, by: str
) -> tuple[int, set[Counted]]:
    """Record counts; gives how many were new, and all of that day."""
    columns = [list(column) for column in zip(*counts, strict=True)]
    new = await connection.fetch(_sql["insert_wallet_counts"], day, book_on, now, by, *columns)
    await seal(connection, Chain.WALLET_COUNT, [f"{row['wallet']}/{row['asset']}/{day}" for row in new])
    kept = await connection.fetch(_sql["wallet_counts_of"], day)
    return len(new), {Counted(*row) for row in kept}


async def wallets_on(database: Database, day: date) -> list[Counted]:
    """Each wallet as it was last counted, by what stands in the books up to a day."""
    rows = await database.fetch(ROLE, _sql["wallets_on"], day)
    return [Counted(row["wallet"], row["asset"], row["cold"], row["quantity"]) for row in rows]


async def insert_prices(
    connection: Connection, day: date, source: str, prices: Mapping[str, str], *, book_on: date, now: datetime, by: str
) -> tuple[int, dict[str, tuple[str, str]]]:
    """Record prices; gives how many were new, and all of that day with their source."""
    new = await connection.fetch(
        _sql["insert_prices"], day, source, book_on, now, by, list(prices), list(prices.values())
    )  # fmt: skip
    await seal(connection, Chain.ASSET_PRICE, [f"{row['asset']}/{day}" for row in new])
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
