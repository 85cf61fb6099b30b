"""Migrations go forward only, once, in any number of processes, and refuse a database that is newer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kessai.apps.wiring import SCHEMAS
from kessai.foundation import migrations
from kessai.foundation.db import Database
from kessai.foundation.errors import OperatorError
from kessai.foundation.migrations import Migration, migrate, migrations_of

_LAYOUT = (
    "SELECT table_schema, table_name, column_name, data_type, is_nullable FROM information_schema.columns"
    " WHERE table_schema IN ('kessai', 'ledger', 'payment', 'identity', 'sandbox') ORDER BY 1, 2, ordinal_position"
)


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Database]:
    """A database with nothing in it."""
    database = Database(empty_database_url)
    yield database
    await database.close()


async def test_migrating_twice_applies_everything_once(empty: Database) -> None:
    first = await migrate(empty, list(SCHEMAS))
    assert [(m.schema, m.component, m.number) for m in first] == [
        (m.schema, m.component, m.number) for spec in SCHEMAS for m in migrations_of(spec)
    ]
    assert await migrate(empty, list(SCHEMAS)) == []


async def test_processes_that_migrate_at_once_apply_everything_once(empty: Database) -> None:
    others = [Database(empty.dsn) for _ in range(3)]
    applied = await asyncio.gather(*(migrate(each, list(SCHEMAS)) for each in others))
    assert sum(len(each) for each in applied) == sum(len(migrations_of(spec)) for spec in SCHEMAS)
    for each in others:
        await each.close()


async def test_each_schema_can_be_migrated_by_itself(empty: Database, database: Database) -> None:
    for spec in reversed(SCHEMAS):
        await migrate(empty, [spec])
    assert await empty.fetch(None, _LAYOUT) == await database.fetch(None, _LAYOUT)


async def test_newer_database_is_refused_naming_its_migration(empty: Database) -> None:
    await migrate(empty, list(SCHEMAS))
    await empty.fetch(
        None,
        "INSERT INTO kessai.schema_migration (schema, component, number, name, digest)"
        " VALUES ('ledger', 'ledger', 9999, '9999_later.sql', 'x')",
    )
    with pytest.raises(OperatorError, match=r"newer than this program: it has migration ledger/9999_later\.sql"):
        await migrate(empty, list(SCHEMAS))


async def test_migration_edited_after_it_was_applied_is_refused(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await migrate(empty, list(SCHEMAS))

    def edited(spec: migrations.SchemaSpec) -> list[Migration]:
        return [replace(m, text=m.text + "\n") for m in migrations_of(spec)]

    monkeypatch.setattr(migrations, "migrations_of", edited)
    with pytest.raises(OperatorError, match="was changed after it was applied"):
        await migrate(empty, list(SCHEMAS))


async def test_failed_migration_leaves_nothing_behind(empty: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(spec: migrations.SchemaSpec) -> list[Migration]:
        return [*migrations_of(spec), Migration(spec.service, spec.service, 9999, "9999_broken.sql", "SELECT nothing")]

    monkeypatch.setattr(migrations, "migrations_of", broken)
    with pytest.raises(Exception, match="nothing"):
        await migrate(empty, list(SCHEMAS))
    assert await empty.fetch(None, "SELECT 1 FROM kessai.schema_migration") == []
    monkeypatch.undo()
    assert len(await migrate(empty, list(SCHEMAS))) > 0


def test_numbers_are_unique_and_without_gaps() -> None:
    for spec in SCHEMAS:
        by_component: dict[str, list[int]] = {}
        for migration in migrations_of(spec):
            by_component.setdefault(migration.component, []).append(migration.number)
        for numbers in by_component.values():
            assert numbers == list(range(1, len(numbers) + 1))
