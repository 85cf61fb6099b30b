"""Seals (封印): a chain of digests over what somebody wrote and no event can prove, sealed as it is written.

The digest is over the rows as the database gives them back, so that whoever proves it reads them with the same query.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import msgspec

from kessai.foundation.db import Connection, load_queries

_sql = load_queries("kessai.services.books", file="sql/seals.sql")
_encode = msgspec.json.Encoder().encode
Rows: TypeAlias = "list[list[object]]"
"""Those of one record."""


class Chain(StrEnum):
    """What a chain is over."""

    JOURNAL = "journal"
    """Journals by hand, accruals and corrections, with their entries."""
    SAFEGUARD = "safeguard"
    WALLET_COUNT = "wallet_count"
    ASSET_PRICE = "asset_price"


_ROWS = {
    Chain.JOURNAL: ("sealed_journals", "sealed_entries"),
    Chain.SAFEGUARD: ("sealed_safeguards",),
    Chain.WALLET_COUNT: ("sealed_wallet_counts",),
    Chain.ASSET_PRICE: ("sealed_asset_prices",),
}


async def seal(connection: Connection, chain: Chain, records: Sequence[str]) -> None:
    """Seal records (by their keys, parts joined by `/`) in the transaction that has just written them."""
    if not records:
        return
    head = await connection.fetchrow(_sql["lock_seal_head"], chain.value)
    assert head is not None, "the migration made it"
    number = head["number"] + 1
    digest = digest_of(records, await read_sealed(connection, chain, records))
    following = next_seal(head["seal"], number, digest)
    await connection.execute(_sql["insert_seal"], chain.value, number, list(records), digest, following)
    await connection.execute(_sql["move_seal_head"], chain.value, number, following)


async def read_sealed(connection: Connection, chain: Chain, records: Sequence[str]) -> dict[str, Rows]:
    """The rows of each of the records that are there."""
    found: dict[str, Rows] = {}
    for query in _ROWS[chain]:
        for row in await connection.fetch(_sql[query], list(records)):
            found.setdefault(row["record"], []).append(list(row))
    return found


def digest_of(records: Sequence[str], rows: Mapping[str, Rows]) -> bytes:
    """SHA-256 over all rows of some records, in the records' order."""
    return hashlib.sha256(_encode([[each, rows.get(each, [])] for each in records])).digest()


def next_seal(previous: bytes, number: int, digest: bytes) -> bytes:
    """The seal that follows the one before it in its chain (empty before the first)."""
    return hashlib.sha256(previous + number.to_bytes(8, "big", signed=True) + digest).digest()
