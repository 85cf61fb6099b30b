"""The journal of authorizations: what a flush reads, and the one transaction that it writes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import asyncpg

from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.ids import bare
from kessai.services.nfc.api.authorizations import (
    AuthorizationKind,
    AuthorizationState,
    Category,
)
from kessai.services.nfc.domain.authorization import Authorization, Plan, Usage, Work
from kessai.services.nfc.domain.page import Page, StoredReversal
from kessai.services.nfc.store import ROLE

_SQL = load_queries("kessai.services.nfc", file="sql/authorizations.sql")
NEWEST = (datetime(9999, 1, 1, tzinfo=UTC), "f" * 32)
OLDEST = (datetime(1970, 1, 1, tzinfo=UTC), "0" * 32)


# -- reading ------------------------------------------------------------------------------------------------------


async def load(database: Database, authorization_ids: Sequence[str]) -> dict[str, Authorization]:
    """Those of them that exist, by their 32 digits."""
    if not authorization_ids:
        return {}
    rows = await database.fetch(ROLE, _SQL["authorizations_by_id"], list(authorization_ids))
    return {row["authorization_id"].hex: _authorization(row) for row in rows}


async def reversals(database: Database, authorization_ids: Sequence[str]) -> list[StoredReversal]:
    """Their reversals, in the order in which they came."""
    if not authorization_ids:
        return []
    rows = await database.fetch(ROLE, _SQL["reversals_of"], list(authorization_ids))
    return [_reversal(row) for row in rows]


async def usages(database: Database, card_ids: Sequence[str]) -> dict[str, Usage]:
    """What these cards have paid; one that never did is left out."""
    if not card_ids:
        return {}
    rows = await database.fetch(ROLE, _SQL["usages_of"], [bare(each) for each in card_ids])
    found = (_usage(row) for row in rows)
    return {each.card_id: each for each in found}


async def open_work(
    database: Database, before: datetime, after: tuple[datetime, str], limit: int
) -> list[tuple[datetime, str]]:
    """Authorizations on which something has been open since before an instant (real time), oldest first."""
    rows = await database.fetch(ROLE, _SQL["open_work"], before, *after, limit)
    return [(row["work_since"], row["authorization_id"].hex) for row in rows]


async def of_customer(database: Database, customer_id: str, before: tuple[datetime, str], limit: int) -> list[str]:
    """A customer's, newest first, before a position."""
    rows = await database.fetch(ROLE, _SQL["authorizations_of_customer"], customer_id, *before, limit)
    return [row["authorization_id"].hex for row in rows]


async def standing_before(
    database: Database, before: datetime, after: tuple[datetime, str], limit: int
) -> list[tuple[datetime, str]]:
    """Approved ones that nothing has claimed, received before an instant, oldest first."""
    rows = await database.fetch(ROLE, _SQL["standing_before"], before, *after, limit)
    return [(row["received_at"], row["authorization_id"].hex) for row in rows]


async def of_payments(database: Database, payment_ids: Sequence[str]) -> list[str]:
    """Those that these payments bear."""
    rows = await database.fetch(ROLE, _SQL["authorizations_of_payments"], list(payment_ids))
    return [row["authorization_id"].hex for row in rows]


async def of_processings(connection: Connection, processing_ids: Sequence[str]) -> list[Authorization]:
    """All of these processings."""
    ids = await connection.fetch(_SQL["authorizations_of_processings"], list(processing_ids))
    rows = await connection.fetch(_SQL["authorizations_by_id"], [row["authorization_id"] for row in ids])
    return [_authorization(row) for row in rows]


async def refunds_of(connection: Connection, authorization_ids: Sequence[str]) -> list[asyncpg.Record]:
    """What was given back for these."""
    return await connection.fetch(_SQL["refunds_of"], list(authorization_ids))


async def refused_payments_of(connection: Connection, authorization_ids: Sequence[str]) -> list[asyncpg.Record]:
    """Payments of these that were refused before another plan was made."""
    return await connection.fetch(_SQL["refused_payments_of"], list(authorization_ids))


async def read_page(database: Database, page: Page, ids: Sequence[str], reversed_ids: Sequence[str]) -> None:
    """What a flush must know of authorizations, and of the reversals of some."""
    rows, back = await asyncio.gather(load(database, ids), reversals(database, reversed_ids))
    page.rows.update({each: rows.get(each) for each in ids})
    page.reversals.update({each.reversal_id: each for each in back})


# -- rows ---------------------------------------------------------------------------------------------------------


def _authorization(row: asyncpg.Record) -> Authorization:
    values: dict[str, Any] = dict(row)
    values["authorization_id"] = row["authorization_id"].hex
    for name, word in _WORDS:
        if values[name] is not None:
            values[name] = word(values[name])
    for name, prefix in (("card_id", "vpc"), ("device_id", "dev")):
        if values[name] is not None:
            values[name] = f"{prefix}_{values[name].hex}"
    return Authorization(**values)


_WORDS: tuple[tuple[str, type[StrEnum]], ...] = (
    ("kind", AuthorizationKind),
    ("state", AuthorizationState),
    ("work", Work),
    ("category", Category),
    ("plan", Plan),
)


def _reversal(row: asyncpg.Record) -> StoredReversal:
    return StoredReversal(
        authorization_id=row["authorization_id"].hex,
        reversal_id=row["reversal_id"].hex,
        mti=row["mti"],
        stands_minor=row["stands_minor"],
        response=row["response"],
        answer=row["answer"],
        recorded_at=row["recorded_at"],
    )


def _usage(row: asyncpg.Record) -> Usage:
    return Usage(
        card_id=f"vpc_{row['card_id'].hex}",
        day=row["day"],
        day_minor=row["day_minor"],
        day_count=row["day_count"],
        month_minor=row["month_minor"],
        recent=struct.unpack(f">{len(row['recent']) // 8}q", row["recent"]),
        version=row["version"],
    )
