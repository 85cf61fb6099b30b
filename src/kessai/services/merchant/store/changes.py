"""Companies, merchants and everything that was changed of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import asyncpg
import msgspec

from kessai.foundation.db import Connection, load_queries
from kessai.foundation.events import outbox_insert, outbox_row
from kessai.foundation.ids import derived_hex
from kessai.services.merchant.api import (
    TOPIC_CHANGED,
    Aspect,
    Change,
    Company,
    CompanyProfile,
    MerchantChanged,
    MerchantKind,
    MerchantProfile,
    MerchantState,
    MerchantSummary,
)
from kessai.services.merchant.domain.standing import Entry, Standing, standing_of

_SQL = load_queries("kessai.services.merchant")
_OUTBOX_INSERT = outbox_insert("merchant")


# -- merchants ----------------------------------------------------------------------------------------------------


async def versions(connection: Connection, merchant_ids: Sequence[str]) -> dict[str, int]:
    """The present version of each of the merchants that exist."""
    return dict(await connection.fetch(_SQL["versions"], merchant_ids))


async def states(connection: Connection, merchant_ids: Sequence[str]) -> dict[str, MerchantState]:
    """The present state of each of the merchants that exist."""
    rows = await connection.fetch(_SQL["states"], merchant_ids)
    return {row["merchant_id"]: MerchantState(row["state"]) for row in rows}


async def entries_of(connection: Connection, subject_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """Everything that was changed of merchants or companies, by version."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for row in await connection.fetch(_SQL["entries_of"], subject_ids):
        found[row["subject_id"]].append(_entry(row))
    return found


async def standings(connection: Connection, merchant_ids: Sequence[str]) -> dict[str, Standing]:
    """Those of the merchants that exist."""
    entries = await entries_of(connection, merchant_ids)
    return {merchant_id: standing_of(merchant_id, each) for merchant_id, each in entries.items()}


async def children_ever(connection: Connection, merchant_id: str) -> list[Standing]:
    """Whoever was, is or will be collected for by a merchant."""
    rows = await connection.fetch(_SQL["children_ever"], merchant_id)
    return list((await standings(connection, [row["subject_id"] for row in rows])).values())


async def insert_merchants(
    connection: Connection, merchants: Sequence[tuple[str, MerchantProfile]], entries: Sequence[Entry], at: datetime
) -> bool:
    """New merchants, their version that of their last entry; False when an id is taken (then roll back)."""
    last = {each.subject_id: each.version for each in entries}
    rows = [
        (merchant_id, profile.company_id, profile.name, profile.kind.value, "applied", last[merchant_id], at)
        for merchant_id, profile in merchants
    ]
    made = await connection.fetch(_SQL["insert_merchants"], *_columns(rows))
    if len(made) != len(rows):
        return False
    await _insert_entries(connection, entries)
    return True


async def change_merchants(
    connection: Connection, changed: Sequence[tuple[str, MerchantProfile, MerchantState]], entries: Sequence[Entry]
) -> bool:
    """One entry a merchant, one version further; False when another change came first (then roll back).

    `changed`: each merchant as it is now, once the change is made.
    """
    by_id = {each.subject_id: each for each in entries}
    rows = [
        (
            merchant_id,
            profile.company_id,
            profile.name,
            profile.kind.value,
            state.value,
            by_id[merchant_id].version,
            by_id[merchant_id].recorded_at,
        )
        for merchant_id, profile, state in sorted(changed, key=lambda each: each[0])
    ]
    if len(await connection.fetch(_SQL["update_merchants"], *_columns(rows))) != len(rows):
        return False
    await _insert_entries(connection, entries)
    return True


async def _insert_entries(connection: Connection, entries: Sequence[Entry]) -> None:
    rows = [
        (
            each.subject_id,
            each.version,
            each.change_id,
            each.aspect.value,
            each.valid_from,
            each.valid_until,
            each.content,
            _parent(each),
            each.reason,
            each.changed_by,
            each.approval_id,
            each.approved_by,
            each.digest,
            each.recorded_at,
        )
        for each in entries
    ]
    await connection.execute(_SQL["insert_changes"], *_columns(rows))
    row = outbox_row(TOPIC_CHANGED, [_event(each) for each in entries], max(each.recorded_at for each in entries))
    await connection.execute(_OUTBOX_INSERT, *_columns([row]))


def _parent(entry: Entry) -> str | None:
    return msgspec.json.decode(entry.content, type=str | None) if entry.aspect is Aspect.PARENT else None


def _event(entry: Entry) -> MerchantChanged:
    return MerchantChanged(
        event_id=derived_hex("merchant.changed", entry.subject_id, str(entry.version)),
        merchant_id=entry.subject_id,
        version=entry.version,
        aspect=entry.aspect,
        valid_from=entry.valid_from,
        occurred_at=entry.recorded_at,
    )


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _entry(row: asyncpg.Record) -> Entry:
    return Entry(
        subject_id=row["subject_id"],
        version=row["version"],
        change_id=row["change_id"].hex,
        aspect=Aspect(row["aspect"]),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        content=row["content"],
        reason=row["reason"],
        changed_by=row["changed_by"],
        approval_id=row["approval_id"],
        approved_by=row["approved_by"],
        digest=row["digest"],
        recorded_at=row["recorded_at"],
    )


# -- pages --------------------------------------------------------------------------------------------------------


async def history_page(
    connection: Connection, subject_id: str, below: int, aspect: Aspect | None, limit: int
) -> list[Change]:
    """Changes of a merchant or company with a version below one, newest first."""
    rows = await connection.fetch(_SQL["history_page"], subject_id, below, aspect and aspect.value, limit)
    return [
        Change(
            version=row["version"],
            aspect=Aspect(row["aspect"]),
            valid_from=row["valid_from"],
            content=row["content"],
            reason=row["reason"],
            changed_by=row["changed_by"],
            approval_id=row["approval_id"],
            approved_by=row["approved_by"],
            recorded_at=row["recorded_at"],
        )
        for row in rows
    ]


async def merchants_page(
    connection: Connection, after: str, company_id: str | None, state: MerchantState | None, limit: int
) -> list[MerchantSummary]:
    """Merchants with an id beyond one, by id."""
    rows = await connection.fetch(_SQL["merchants_page"], after, company_id, state and state.value, limit)
    return [_summary(row) for row in rows]


async def children_page(
    connection: Connection, parent_id: str, at: datetime, after: str, limit: int
) -> list[MerchantSummary]:
    """For whom a merchant collects at an instant, by id."""
    return [_summary(row) for row in await connection.fetch(_SQL["children_page"], parent_id, at, after, limit)]


def _summary(row: asyncpg.Record) -> MerchantSummary:
    return MerchantSummary(
        merchant_id=row["merchant_id"],
        name=row["name"],
        kind=MerchantKind(row["kind"]),
        company_id=row["company_id"],
        state=MerchantState(row["state"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


# -- companies ----------------------------------------------------------------------------------------------------


async def insert_companies(connection: Connection, entries: Sequence[Entry]) -> bool:
    """New companies; False when an id is taken (then roll back)."""
    rows = [(each.subject_id, each.content, each.version, each.recorded_at) for each in entries]
    if len(await connection.fetch(_SQL["insert_companies"], *_columns(rows))) != len(rows):
        return False
    await _insert_entries(connection, entries)
    return True


async def change_companies(connection: Connection, entries: Sequence[Entry]) -> bool:
    """Companies one version further; False when another change came first (then roll back)."""
    rows = [(each.subject_id, each.content, each.version, each.recorded_at) for each in entries]
    if len(await connection.fetch(_SQL["update_companies"], *_columns(rows))) != len(rows):
        return False
    await _insert_entries(connection, entries)
    return True


async def companies_named(connection: Connection, company_ids: Sequence[str]) -> dict[str, Company]:
    """Those of the companies that exist."""
    rows = await connection.fetch(_SQL["companies_named"], company_ids)
    return {row["company_id"]: _company(row) for row in rows}


async def companies_page(connection: Connection, after: str, limit: int) -> list[Company]:
    """Companies with an id beyond one, by id."""
    return [_company(row) for row in await connection.fetch(_SQL["companies_page"], after, limit)]


async def registration_numbers(
    connection: Connection, company_ids: Sequence[str], at: datetime
) -> dict[str, str | None]:
    """Each company's registration number as of an instant."""
    rows = await connection.fetch(_SQL["company_profiles_at"], company_ids, at)
    return {
        row["subject_id"]: msgspec.json.decode(row["content"], type=CompanyProfile).registration_number for row in rows
    }


def _company(row: asyncpg.Record) -> Company:
    return Company(
        company_id=row["company_id"],
        profile=msgspec.json.decode(row["profile"], type=CompanyProfile),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
