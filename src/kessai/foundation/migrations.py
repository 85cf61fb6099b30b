"""Forward-only, numbered migrations; each service owns one schema and works under one role.

A schema is made of its service's own files and of shared components (events, workflows), whose tables are made in
that schema too. In a migration's text `{schema}` and `{role}` stand for the service's own; grants are written there.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import asyncpg

from kessai.foundation.db import AUDITOR_ROLE, MAINTENANCE_ROLE, Connection, Database, retrying, role_of
from kessai.foundation.errors import OperatorError

_FILE = re.compile(r"^(\d{4})_\w+\.sql$")


@dataclass(frozen=True, slots=True)
class SchemaSpec:
    """A service's schema: its own migrations (package `…/sql/migrations`) and the shared components it uses."""

    service: str
    package: str
    components: tuple[str, ...] = ()
    """Packages whose `migrations/` are made in this schema before the service's own."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file of one component of one schema."""

    schema: str
    component: str
    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations_of(spec: SchemaSpec) -> list[Migration]:
    """All migrations of a schema in the order they are applied: components first, then the service's own."""
    found: list[Migration] = []
    for package in (*spec.components, spec.package):
        folder = resources.files(package).joinpath("sql/migrations" if package == spec.package else "migrations")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if (match := _FILE.match(entry.name)) is None:
                continue
            text = entry.read_text(encoding="utf-8")
            text = text.replace("{schema}", spec.service).replace("{role}", role_of(spec.service))
            found.append(Migration(spec.service, package.rsplit(".", 1)[-1], int(match[1]), entry.name, text))
    return found


async def migrate(database: Database, specs: list[SchemaSpec]) -> list[Migration]:
    """Bring every schema up to date; gives the migrations applied.

    Raises OperatorError when the database is newer than this program, or a migration was edited after it was applied.
    """
    connection = await database.connect(None)
    try:
        await retrying(lambda: _prepare_cluster(connection, specs))
        return await retrying(lambda: _apply_missing(connection, specs))
    finally:
        await connection.close()


async def _prepare_cluster(connection: Connection, specs: list[SchemaSpec]) -> None:
    for role in (AUDITOR_ROLE, MAINTENANCE_ROLE, *(role_of(spec.service) for spec in specs)):
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f'CREATE ROLE "{role}" NOLOGIN')
        except (asyncpg.DuplicateObjectError, asyncpg.UniqueViolationError):
            pass  # another process made it between the look and the making
        except asyncpg.InsufficientPrivilegeError as error:
            raise OperatorError(f"The database login may not create role {role}; create it first.") from error
    # Two processes that start at once may both try: the one that comes second finds them made.
    with contextlib.suppress(asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.DuplicateTableError):
        await connection.execute(
            "CREATE SCHEMA IF NOT EXISTS kessai;"
            "CREATE TABLE IF NOT EXISTS kessai.schema_migration (schema text NOT NULL, component text NOT NULL,"
            " number int NOT NULL, name text NOT NULL, digest text NOT NULL,"
            " PRIMARY KEY (schema, component, number));"
            "CREATE TABLE IF NOT EXISTS kessai.migration_turn (id int PRIMARY KEY);"
            "INSERT INTO kessai.migration_turn (id) VALUES (1) ON CONFLICT DO NOTHING"
        )


async def _apply_missing(connection: Connection, specs: list[SchemaSpec]) -> list[Migration]:
    known = {(m.schema, m.component, m.number): m for spec in specs for m in migrations_of(spec)}
    applied: list[Migration] = []
    async with connection.transaction():
        # One migrating process at a time: its turn is a row lock, held until commit.
        await connection.execute("SELECT id FROM kessai.migration_turn WHERE id = 1 FOR UPDATE")
        rows = await connection.fetch("SELECT schema, component, number, name, digest FROM kessai.schema_migration")
        _refuse_newer(rows, known, {spec.service for spec in specs})
        done = {(row["schema"], row["component"], row["number"]) for row in rows}
        for key, migration in known.items():
            if key in done:
                continue
            await _apply(connection, migration)
            applied.append(migration)
    return applied


def _refuse_newer(rows: list[asyncpg.Record], known: dict[tuple[str, str, int], Migration], schemas: set[str]) -> None:
    for row in rows:
        migration = known.get((row["schema"], row["component"], row["number"]))
        if migration is None and row["schema"] in schemas:
            raise OperatorError(
                f"The database is newer than this program: it has migration {row['schema']}/{row['name']}."
            )
        if migration is not None and migration.digest != row["digest"]:
            raise OperatorError(f"Migration {row['schema']}/{row['name']} was changed after it was applied.")


async def _apply(connection: Connection, migration: Migration) -> None:
    schema, role = migration.schema, role_of(migration.schema)
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    await connection.execute(f'SET LOCAL search_path TO "{schema}"')
    await connection.execute(migration.text)
    await connection.execute(
        f'GRANT USAGE ON SCHEMA "{schema}" TO "{role}", "{AUDITOR_ROLE}", "{MAINTENANCE_ROLE}";'
        f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO "{AUDITOR_ROLE}";'
        f'GRANT ALL ON ALL TABLES IN SCHEMA "{schema}" TO "{MAINTENANCE_ROLE}"'
    )
    await connection.execute("SET LOCAL search_path TO DEFAULT")
    await connection.execute(
        "INSERT INTO kessai.schema_migration (schema, component, number, name, digest) VALUES ($1, $2, $3, $4, $5)",
        schema,
        migration.component,
        migration.number,
        migration.name,
        migration.digest,
    )
