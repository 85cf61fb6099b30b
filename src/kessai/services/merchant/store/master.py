"""The merchant master: mappings, their history, imports and the conflicts they found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kessai.foundation.db import Connection, load_queries
from kessai.foundation.events import outbox_insert, outbox_row
from kessai.foundation.ids import bare, derived_hex
from kessai.services.merchant.api import (
    TOPIC_MASTER,
    IdStep,
    IdStepKind,
    ImportMode,
    ImportOutcome,
    LineError,
    MappedId,
    MasterConflict,
    MasterIdChanged,
)
from kessai.services.merchant.domain.importing import Clash
from kessai.services.merchant.domain.master import Key, Mapping

_SQL = load_queries("kessai.services.merchant", file="sql/master.sql")
_OUTBOX_INSERT = outbox_insert("merchant")
NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Author:
    """Who does something to mappings, why, and who approved."""

    change_id: str
    reason: str
    changed_by: str
    approval_id: str | None
    approved_by: str | None
    digest: bytes
    import_id: str | None = None


# -- what an id means ---------------------------------------------------------------------------------------------


async def meanings(connection: Connection, asked: Sequence[tuple[str, str, datetime]]) -> dict[int, str]:
    """By the place of a question (payment method, id, instant): the merchant that is meant, where one is."""
    methods, ids, instants = [list(column) for column in zip(*asked, strict=True)]
    rows = await connection.fetch(_SQL["meanings"], list(range(len(asked))), ids, methods, instants)
    return {row["place"]: row["merchant_id"] for row in rows}


async def ever_mapped(connection: Connection, methods_id: str) -> bool:
    """Whether any payment method's id of this text ever meant a merchant."""
    return bool(await connection.fetch(_SQL["ever_mapped"], methods_id))


async def heads_of(connection: Connection, keys: Collection[Key]) -> dict[Key, int]:
    """The version of each id's mappings; 0 of an id that nothing was ever done to."""
    rows = await connection.fetch(_SQL["heads_of"], *_names(keys))
    return dict.fromkeys(keys, 0) | {_key(row): row["version"] for row in rows}


async def mappings_of(connection: Connection, keys: Collection[Key]) -> dict[Key, list[Mapping]]:
    """Everything that each id meant, means or will mean, earliest first."""
    found: dict[Key, list[Mapping]] = defaultdict(list)
    for row in await connection.fetch(_SQL["mappings_of"], *_names(keys)):
        found[_key(row)].append(_mapping(row))
    return found


async def raise_heads(connection: Connection, heads: dict[Key, int], steps: dict[Key, int]) -> bool:
    """Go on by so many steps from the versions known; False when somebody else did first (then roll back)."""
    keys = sorted(steps)
    await connection.execute(_SQL["make_heads"], *_names(keys))
    expected, after = [heads[key] for key in keys], [heads[key] + steps[key] for key in keys]
    return len(await connection.fetch(_SQL["raise_heads"], *_names(keys), expected, after)) == len(keys)


async def map_ids(connection: Connection, mappings: Sequence[Mapping], author: Author) -> None:
    """Write new mappings, with their steps and events."""
    rows = [
        (
            each.key[1],
            each.key[0],
            each.sequence,
            each.merchant_id,
            each.valid_from,
            each.valid_until,
            each.import_id,
            each.recorded_at,
        )
        for each in mappings
    ]
    await connection.execute(_SQL["insert_mappings"], *_columns(rows))
    numbered = [(each, each.sequence) for each in mappings]
    await _write_steps(connection, numbered, IdStepKind.MAPPED, author, mappings[0].recorded_at)


async def end_mappings(
    connection: Connection, numbered: Sequence[tuple[Mapping, int]], author: Author, at: datetime
) -> None:
    """End mappings, as they are then, each with the number of its step."""
    rows = [(each.key[1], each.key[0], each.sequence, each.valid_until) for each, _ in numbered]
    await connection.execute(_SQL["end_mappings"], *_columns(rows))
    await _write_steps(connection, numbered, IdStepKind.ENDED, author, at)


async def _write_steps(
    connection: Connection, numbered: Sequence[tuple[Mapping, int]], kind: IdStepKind, author: Author, at: datetime
) -> None:
    rows = [
        (
            each.key[1],
            each.key[0],
            number,
            author.change_id,
            kind.value,
            each.merchant_id,
            each.valid_from,
            each.valid_until,
            author.reason,
            author.changed_by,
            author.approval_id,
            author.approved_by,
            author.import_id,
            author.digest,
            at,
        )
        for each, number in numbered
    ]
    await connection.execute(_SQL["insert_id_steps"], *_columns(rows))
    row = outbox_row(TOPIC_MASTER, [_event(each, number, at) for each, number in numbered], at)
    await connection.execute(_OUTBOX_INSERT, *_columns([row]))


def _event(mapping: Mapping, number: int, at: datetime) -> MasterIdChanged:
    return MasterIdChanged(
        event_id=derived_hex("merchant.master", *mapping.key, str(number)),
        payment_method=mapping.key[0],
        methods_id=mapping.key[1],
        merchant_id=mapping.merchant_id,
        valid_from=mapping.valid_from,
        valid_until=mapping.valid_until,
        occurred_at=at,
    )


async def id_steps(connection: Connection, key: Key) -> list[tuple[IdStep, str, str]]:
    """Everything that was done to an id, oldest first, with the act's id and digest."""
    rows = await connection.fetch(_SQL["id_steps"], key[1], key[0])
    return [(_step(row), row["change_id"].hex, row["digest"].hex()) for row in rows]


async def mappings_page(
    connection: Connection, after: tuple[str, str, int], merchant_id: str | None, method: str | None, limit: int
) -> list[Mapping]:
    """Mappings beyond one, by id, payment method and sequence."""
    rows = await connection.fetch(_SQL["mappings_page"], *after, merchant_id, method, limit)
    return [_mapping(row) for row in rows]


def shown(mapping: Mapping) -> MappedId:
    """A mapping as the door shows it."""
    return MappedId(
        payment_method=mapping.key[0],
        methods_id=mapping.key[1],
        merchant_id=mapping.merchant_id,
        valid_from=mapping.valid_from,
        valid_until=mapping.valid_until,
        import_id=None if mapping.import_id is None else f"imp_{mapping.import_id}",
        recorded_at=mapping.recorded_at,
    )


def _names(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    ordered = list(keys)
    return [methods_id for _, methods_id in ordered], [method for method, _ in ordered]


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _key(row: asyncpg.Record) -> Key:
    return row["payment_method"], row["methods_id"]


def _mapping(row: asyncpg.Record) -> Mapping:
    return Mapping(
        key=_key(row),
        sequence=row["sequence"],
        merchant_id=row["merchant_id"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        import_id=_hex(row["import_id"]),
        recorded_at=row["recorded_at"],
    )


def _hex(value: UUID | None) -> str | None:
    return None if value is None else value.hex


def _step(row: asyncpg.Record) -> IdStep:
    return IdStep(
        sequence=row["sequence"],
        kind=IdStepKind(row["kind"]),
        merchant_id=row["merchant_id"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        reason=row["reason"],
        changed_by=row["changed_by"],
        approval_id=row["approval_id"],
        approved_by=row["approved_by"],
        import_id=None if row["import_id"] is None else f"imp_{row['import_id'].hex}",
        recorded_at=row["recorded_at"],
    )


# -- imports and the conflicts they found -------------------------------------------------------------------------


async def insert_import(
    connection: Connection, outcome: ImportOutcome, errors: Sequence[LineError], author: Author
) -> bool:
    """Write what became of an import; False when it is there already (then roll back)."""
    row = (
        author.change_id,
        outcome.mode.value,
        outcome.lines,
        outcome.taken,
        outcome.unchanged,
        outcome.wrong,
        outcome.reason,
        outcome.imported_by,
        author.approval_id,
        author.approved_by,
        author.digest,
        outcome.recorded_at,
    )
    if not await connection.fetch(_SQL["insert_imports"], *_columns([row])):
        return False
    if errors:
        rows = [(author.change_id, each.line, each.field, each.code, each.detail) for each in errors]
        await connection.execute(_SQL["insert_import_errors"], *_columns(rows))
    return True


async def insert_conflicts(connection: Connection, import_id: str, clashes: Sequence[Clash], at: datetime) -> None:
    """Write what an import wanted of ids that mean somebody else."""
    rows = [
        (
            each.wanted.key[1],
            each.wanted.key[0],
            import_id,
            each.line,
            each.wanted.merchant_id,
            each.wanted.valid_from or at,
            each.wanted.valid_until,
            at,
        )
        for each in clashes
    ]
    await connection.execute(_SQL["insert_conflicts"], *_columns(rows))


async def import_named(connection: Connection, import_id: str, errors_max: int) -> tuple[ImportOutcome, str] | None:
    """An import with its first errors, and the digest of what was asked."""
    rows = await connection.fetch(_SQL["imports_named"], [bare(import_id)])
    if not rows:
        return None
    errors = await connection.fetch(_SQL["import_errors"], bare(import_id), errors_max)
    return _outcome(rows[0], [LineError(**dict(each)) for each in errors]), rows[0]["digest"].hex()


async def imports_page(connection: Connection, before: tuple[datetime, str], limit: int) -> list[ImportOutcome]:
    """Imports before an instant (and id), newest first, without their errors."""
    return [_outcome(row, []) for row in await connection.fetch(_SQL["imports_page"], *before, limit)]


def _outcome(row: asyncpg.Record, errors: list[LineError]) -> ImportOutcome:
    return ImportOutcome(
        import_id=f"imp_{row['import_id'].hex}",
        mode=ImportMode(row["mode"]),
        lines=row["lines"],
        taken=row["taken"],
        unchanged=row["unchanged"],
        wrong=row["wrong"],
        errors=errors,
        recorded_at=row["recorded_at"],
        reason=row["reason"],
        imported_by=row["imported_by"],
    )


ConflictPlace = tuple[str, str, str, int, int]
"""Id, payment method, import, line, and the mapping that stands against it."""
FIRST: ConflictPlace = ("", "", NOBODY, 0, 0)


async def conflicts_page(
    connection: Connection, after: ConflictPlace, method: str | None, limit: int
) -> list[tuple[ConflictPlace, MasterConflict]]:
    """Conflicts that still stand, beyond one."""
    rows = await connection.fetch(_SQL["conflicts_page"], *after, method, limit)
    return [(_place(row), _conflict(row)) for row in rows]


def _place(row: asyncpg.Record) -> ConflictPlace:
    return row["methods_id"], row["payment_method"], row["import_id"].hex, row["line"], row["sequence"]


def _conflict(row: asyncpg.Record) -> MasterConflict:
    return MasterConflict(
        payment_method=row["payment_method"],
        methods_id=row["methods_id"],
        merchant_id=row["merchant_id"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        wanted_merchant_id=row["wanted_merchant_id"],
        wanted_from=row["wanted_from"],
        wanted_until=row["wanted_until"],
        import_id=f"imp_{row['import_id'].hex}",
        line=row["line"],
        found_at=row["found_at"],
    )


async def dismiss_conflicts(
    connection: Connection, key: Key, wanted_merchant_id: str, at: datetime, by: str, why: str
) -> int:
    """Say that what imports wanted of an id is not so; gives how many conflicts that was."""
    rows = await connection.fetch(_SQL["dismiss_conflicts"], key[1], key[0], wanted_merchant_id, at, by, why)
    return len(rows)
