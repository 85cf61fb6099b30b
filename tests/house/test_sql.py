"""Every named query and every migration keeps to the dialect, and every query PREPAREs against a migrated database."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import asyncpg
import pytest

from kessai.apps.wiring import SCHEMAS
from kessai.foundation.db import Database, role_of
from tests.house.dialect import EVERYWHERE, Rule
from tests.house.sources import Sql, migrations, queries, shard_of_tables, shards

SOURCE = Path(__file__).parents[2] / "src"

VIOLATIONS: dict[str, tuple[str, ...]] = {
    "no_code_in_the_database": (
        "CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION f()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DO 'BEGIN END'",
    ),
    "no_advisory_locks": ("SELECT pg_advisory_xact_lock(1)", "SELECT pg_try_advisory_lock($1)"),
    "no_sequences": (
        "CREATE SEQUENCE s",
        "CREATE TABLE a (id bigserial PRIMARY KEY)",
        "CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY)",
    ),
    "no_passing_objects": (
        "CREATE TEMP TABLE a (id int)",
        "CREATE UNLOGGED TABLE a (id int)",
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
    ),
    "no_savepoints": ("SAVEPOINT s", "BEGIN", "ROLLBACK TO SAVEPOINT s"),
    "no_table_locks": ("LOCK TABLE a",),
    "no_special_constraints": (
        "CREATE TABLE a (id int REFERENCES b (id) DEFERRABLE)",
        "CREATE TABLE a (id int, UNIQUE (id) DEFERRABLE)",
        "CREATE TABLE a (id int, EXCLUDE USING gist (id WITH =))",
        "CREATE DOMAIN d AS int",
    ),
    "no_range_types": ("CREATE TABLE a (during tstzrange)", "SELECT $1::int8range"),
    "no_notifications": ("NOTIFY a", "LISTEN a", "SELECT pg_notify('a', 'b')"),
    "no_volatile_functions": (
        "UPDATE a SET at = now()",
        "INSERT INTO a (at) VALUES (CURRENT_TIMESTAMP)",
        "CREATE TABLE a (id uuid DEFAULT gen_random_uuid())",
    ),
    "clock_only_for_leases": (
        "UPDATE lease SET until = clock_timestamp()",
        "SELECT id FROM payment WHERE expires_at < clock_timestamp()",
    ),
    "no_division": ("SELECT amount / 2 FROM a",),
    "columns_are_explicit": ("SELECT * FROM a", "SELECT a.* FROM a", "INSERT INTO a VALUES (1)"),
    "no_correctness_from_partial_indexes": (
        "CREATE UNIQUE INDEX i ON a (id) WHERE open",
        "INSERT INTO a (id) VALUES (1) ON CONFLICT (id) WHERE open DO NOTHING",
    ),
    "keys_contain_the_shard_key": (
        "CREATE TABLE unknown (id int PRIMARY KEY)",
        "CREATE TABLE a (id int PRIMARY KEY, shard int)",
        "CREATE TABLE a (id int, shard int, PRIMARY KEY (shard, id), UNIQUE (id))",
        "CREATE UNIQUE INDEX i ON a (id)",
        "CREATE TABLE a (id int, shard int PRIMARY KEY, FOREIGN KEY (id) REFERENCES b (id))",
    ),
    "row_locks_name_the_shard_key": (
        "SELECT id FROM a WHERE id = $1 FOR UPDATE",
        "SELECT id FROM a WHERE shard > $1 ORDER BY id FOR UPDATE SKIP LOCKED",
    ),
}
"""What each rule must catch, in a world where the table `a` is sharded by `shard`."""

ALLOWED = (
    "SELECT id FROM a WHERE shard = $1 FOR UPDATE",
    "SELECT a.id FROM a JOIN unnest($1::int[]) AS w (id) ON a.shard = w.id FOR UPDATE OF a",
    "SELECT id FROM a WHERE shard = ANY ($1::int[]) FOR UPDATE",
    "CREATE TABLE a (shard int, id int, PRIMARY KEY (shard, id))",
    "INSERT INTO a (shard, id) SELECT shard, id FROM unnest($1::int[], $2::int[]) AS t (shard, id)"
    " ON CONFLICT DO NOTHING",
    "UPDATE a SET version = version + 1 WHERE shard = $1 AND version = $2 RETURNING version",
    "SELECT clock_timestamp() AS moment",
    "SELECT count(*) FROM a",
)  # fmt: skip
"""What no rule may catch."""

RULES = pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
_EXAMPLE_SHARDS = {"a": "shard"}


@RULES
def test_rule_catches_what_it_is_for(rule: Rule) -> None:
    for violation in VIOLATIONS[rule.__name__]:
        assert rule(violation, _EXAMPLE_SHARDS), violation


@RULES
def test_rule_lets_good_sql_pass(rule: Rule) -> None:
    for statement in ALLOWED:
        assert not rule(statement, _EXAMPLE_SHARDS), statement


@RULES
def test_every_query_keeps_to_the_dialect(rule: Rule) -> None:
    assert _found(rule, queries()) == []


@RULES
def test_every_migration_keeps_to_the_dialect(rule: Rule) -> None:
    assert _found(rule, migrations()) == []


def _found(rule: Rule, texts: list[Sql]) -> list[str]:
    known = {name.partition(".")[::2]: shard for name, shard in shards().items()}
    found: list[str] = []
    for sql in texts:
        mine = {table: shard for (schema, table), shard in known.items() if schema == sql.schema}
        found += [f"{sql}: {wrong}" for wrong in rule(sql.text, mine)]
    return found


def test_shard_comment_belongs_to_the_table_below_it() -> None:
    text = (
        "-- shard: one\nCREATE TABLE a (one int);\nCREATE TABLE b (two int);\n-- why\n-- shard: x\nCREATE TABLE c ();"
    )
    assert shard_of_tables(text) == {"a": "one", "b": None, "c": "x"}


async def test_every_query_prepares_against_a_migrated_database(database: Database) -> None:
    failures: list[str] = []
    for schema in {sql.schema for sql in queries()}:
        connection = await database.connect(role_of(schema))
        for sql in (each for each in queries() if each.schema == schema):
            try:
                await connection.prepare(sql.text)
            except asyncpg.PostgresError as error:
                failures.append(f"{sql}: {error}")
        await connection.close()
    assert failures == []


def test_query_names_are_unique_in_their_file() -> None:
    for file in SOURCE.rglob("queries.sql"):
        names = Counter(re.findall(r"^-- name: (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
        assert [name for name, times in names.items() if times > 1] == [], file


def test_every_query_is_used() -> None:
    code = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    for file in SOURCE.rglob("queries.sql"):
        names = re.findall(r"^-- name: (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert [name for name in names if f'"{name}"' not in code] == [], file


def test_every_sql_file_belongs_to_a_wired_schema() -> None:
    packages = {package for spec in SCHEMAS for package in (spec.package, *spec.components)}
    for file in SOURCE.rglob("queries.sql"):
        package = ".".join(file.parent.parent.relative_to(SOURCE).parts)
        assert package in packages, f"{file} is used by no schema of kessai.apps.wiring.SCHEMAS"
