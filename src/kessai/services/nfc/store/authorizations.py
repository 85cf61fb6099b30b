"""The journal of authorizations: what a flush reads, and the one transaction that it writes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import asyncpg

from kessai.foundation import events
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.groupcommit import Conflicted
from kessai.foundation.ids import bare
from kessai.sdk.processing.announce import touched_row
from kessai.services.nfc.api.authorizations import (
    TOPIC_AUTHORIZATION,
    AuthorizationChanged,
    AuthorizationKind,
    AuthorizationState,
    Category,
)
from kessai.services.nfc.domain.authorization import Authorization, Plan, Usage, Work
from kessai.services.nfc.domain.page import Page, StoredReversal
from kessai.services.nfc.store import ROLE, SCHEMA

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


# -- writing ------------------------------------------------------------------------------------------------------


async def write(database: Database, page: Page, now: datetime) -> None:
    """Everything that a page changed, or nothing: Conflicted when a row is not as the page took it to be."""
    if not (page.changed or page.made or page.used):
        return
    after = [row for each in page.changed if (row := page.rows[each]) is not None]
    changed = [_changed(each) for each in after]
    touched = [each.processing_id for each in after if each.plan is not None]

    async def work(connection: Connection) -> None:
        await _write_usages(connection, page)
        await _write_rows(connection, page, after)
        if page.made:
            await _expect(connection, "insert_reversals", [_reversal_row(each) for each in page.made])
        if page.refunds:
            backs = [(each, back.refund_id, back.amount_minor, back.state, at) for each, back, at in page.refunds]
            await connection.execute(_SQL["insert_refunds"], *_columns(backs))
        if page.refused:
            await connection.execute(_SQL["insert_refused_payments"], *_columns(page.refused))
        rows = [events.outbox_row(TOPIC_AUTHORIZATION, changed, now)] if changed else []
        begun = set(page.began)
        if begun:
            rows.append(touched_row(page.began, now, entry=True))
        if others := [each for each in touched if each not in begun]:
            rows.append(touched_row(others, now))
        if rows:
            await connection.execute(events.outbox_insert(SCHEMA.service), *_columns(rows))

    await database.transaction(ROLE, work)
    events.wake(database, SCHEMA.service)


async def _write_rows(connection: Connection, page: Page, after: Sequence[Authorization]) -> None:
    new = [_row(each) for each in after if not page.changed[each.authorization_id]]
    if new:
        await _expect(connection, "insert_authorizations", new)
    old = [_update(each, known) for each in after if (known := page.changed[each.authorization_id])]
    if old:
        await _expect(connection, "update_authorizations", old)


async def _write_usages(connection: Connection, page: Page) -> None:
    after = sorted((page.usages[each] for each in page.used), key=lambda each: each.card_id)
    new = [_usage_row(each) for each in after if not page.used[each.card_id]]
    if new:
        await _expect(connection, "insert_usages", new)
    old = [
        (row[0], known, *row[1:]) for each in after if (known := page.used[each.card_id]) for row in [_usage_row(each)]
    ]
    if old:
        await _expect(connection, "update_usages", old)


async def _expect(connection: Connection, name: str, rows: Sequence[Sequence[object]]) -> None:
    if len(await connection.fetch(_SQL[name], *_columns(rows))) != len(rows):
        raise Conflicted


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


# -- rows ---------------------------------------------------------------------------------------------------------


def _row(each: Authorization) -> tuple[object, ...]:
    return (
        each.authorization_id, each.message_key, each.kind.value, each.state.value, each.work, each.work_since,
        each.caller, each.digest, each.token, each.last_four, each.card_id and bare(each.card_id), each.customer_id,
        each.device_id and bare(each.device_id), each.amount_minor, each.stands_minor, each.currency, each.mcc,
        each.entry_mode, each.category.value, each.merchant, each.terminal, each.place, each.acquirer, each.rrn,
        each.stan, each.transmitted, each.processing_code, each.approval_code, each.response, each.answer,
        each.refusal_code, each.stood_in, each.plan, each.payment_id, each.payment_state, each.captured_minor,
        each.refunded_minor, each.processing_id, each.received_at, each.updated_at, each.version,
    )  # fmt: skip


def _update(each: Authorization, known: int) -> tuple[object, ...]:
    return (
        each.authorization_id, known, each.state.value, each.work, each.work_since, each.stands_minor,
        each.approval_code, each.response, each.answer, each.refusal_code, each.stood_in, each.plan, each.payment_id,
        each.payment_state, each.captured_minor, each.refunded_minor, each.updated_at, each.version,
    )  # fmt: skip


def _reversal_row(each: StoredReversal) -> tuple[object, ...]:
    return (
        each.authorization_id,
        each.reversal_id,
        each.mti,
        each.stands_minor,
        each.response,
        each.answer,
        each.recorded_at,
    )


def _usage_row(each: Usage) -> tuple[object, ...]:
    recent = struct.pack(f">{len(each.recent)}q", *each.recent)
    return bare(each.card_id), each.day, each.day_minor, each.day_count, each.month_minor, recent, each.version


def _changed(each: Authorization) -> AuthorizationChanged:
    return AuthorizationChanged(
        authorization_id=f"ath_{each.authorization_id}",
        kind=each.kind,
        state=each.state,
        customer_id=each.customer_id,
        card_id=each.card_id,
        amount_minor=each.amount_minor,
        stands_minor=each.stands_minor,
        asset="JPY",
        category=each.category,
        mcc=each.mcc,
        merchant=each.merchant,
        response=each.response,
        refusal_code=each.refusal_code,
        payment_id=each.payment_id,
        processing_id=each.processing_id,
        version=each.version,
        occurred_at=each.updated_at,
    )


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
