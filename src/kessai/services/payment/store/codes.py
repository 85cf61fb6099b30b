"""One-time codes and the attempts at them, in the payment schema."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from kessai.foundation.db import Connection, Database, load_queries, role_of
from kessai.foundation.ids import bare
from kessai.sdk.workflow import Write
from kessai.services.payment.api import FundingSource, PointsUse
from kessai.services.payment.domain.codes import Code

ROLE = role_of("payment")
FORGOTTEN_AT_ONCE = 1_000

_SQL = load_queries("kessai.services.payment", file="sql/codes.sql")
_encode = msgspec.json.Encoder().encode
_decode_sources = msgspec.json.Decoder(list[FundingSource]).decode


# -- codes ----------------------------------------------------------------------------------------------------------


async def issue(database: Database, codes: Sequence[Code], *, live_max: int) -> None:
    """Keep new codes; of each of their customers the newest `live_max` stay good. All are issued at one instant."""
    rows = [_row(code) for code in codes]

    async def work(connection: Connection) -> None:
        await connection.execute(_SQL["issue_codes"], *(list(column) for column in zip(*rows, strict=True)))
        customers = sorted({code.customer_id for code in codes})
        await connection.execute(_SQL["revoke_older_codes"], customers, codes[0].issued_at, live_max)

    await database.transaction(ROLE, work)


def _row(code: Code) -> tuple[object, ...]:
    return (
        bare(code.code_id),
        code.customer_id,
        _encode(code.sources).decode(),
        code.points.value,
        code.return_url,
        code.caller,
        code.issued_at,
        code.expires_at,
    )


async def find(database: Database, code_ids: Sequence[str]) -> list[Code]:
    """The codes that exist."""
    rows = await database.fetch(ROLE, _SQL["find_codes"], [bare(each) for each in code_ids])
    return [_code(row) for row in rows]


def use(code: Code, payment_id: str, used_at: datetime) -> Write:
    """Use a code up for a payment, in the flush that begins the payment; conflicts when it may not be used any more."""
    return Write(_SQL["use_code"], (bare(code.code_id), bare(payment_id), used_at), guarded=True)


async def revoke(database: Database, code_ids: Sequence[str], at: datetime) -> None:
    """Make those worthless that could still be used."""
    await database.fetch(ROLE, _SQL["revoke_codes"], [bare(each) for each in code_ids], at)


async def forget(database: Database, expired_before: datetime) -> int:
    """Remove unused codes that expired before an instant, a batch at a time; gives how many."""
    forgotten = 0
    while rows := await database.fetch(ROLE, _SQL["forget_codes"], expired_before, FORGOTTEN_AT_ONCE):
        forgotten += len(rows)
    return forgotten


# -- attempts -------------------------------------------------------------------------------------------------------


async def failures_of(database: Database, callers: Sequence[str], window_at: datetime) -> dict[str, int]:
    """How many unknown codes callers asked for in a window; those without any are left out."""
    rows = await database.fetch(ROLE, _SQL["failures_of_callers"], list(callers), window_at)
    return {row["caller"]: row["failures"] for row in rows}


async def count_failures(database: Database, failures: Sequence[tuple[str, datetime]]) -> None:
    """Count one unknown code each, of a caller in a window; each pair once."""
    callers, windows = [caller for caller, _ in failures], [window_at for _, window_at in failures]
    await database.fetch(ROLE, _SQL["count_failures"], callers, windows)


async def forget_attempts(database: Database, before: datetime) -> None:
    """Remove windows that began before an instant."""
    await database.fetch(ROLE, _SQL["forget_attempts"], before)


def _code(row: asyncpg.Record) -> Code:
    payment_id: UUID | None = row["payment_id"]
    return Code(
        code_id=f"otc_{row['code_id'].hex}",
        customer_id=row["customer_id"],
        sources=_decode_sources(row["sources"]),
        points=PointsUse(row["points"]),
        return_url=row["return_url"],
        caller=row["caller"],
        issued_at=row["issued_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        payment_id=None if payment_id is None else payment_id.hex,
        revoked_at=row["revoked_at"],
    )
