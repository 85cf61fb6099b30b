"""Roles keep to their schema, conflicts are tried again, lost connections are told as unavailable."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from kessai.foundation.db import Connection, Database, Queries, require_dsn, retrying, role_of
from kessai.foundation.errors import OperatorError, Unavailable


async def test_role_may_touch_its_own_schema_and_nothing_else(database: Database) -> None:
    assert await database.fetch(role_of("payment"), "SELECT count(*) FROM payment.payment")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.fetch(role_of("payment"), "SELECT count(*) FROM ledger.account")


async def test_auditor_reads_everything_and_changes_nothing(database: Database) -> None:
    assert await database.fetch("kessai_auditor", "SELECT count(*) FROM ledger.account")
    assert await database.fetch("kessai_auditor", "SELECT count(*) FROM payment.payment")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.fetch("kessai_auditor", "DELETE FROM ledger.account")


async def test_serialization_conflict_is_tried_again(database: Database) -> None:
    for statement in (
        "CREATE TABLE public.tally (id int PRIMARY KEY, n int)",
        "INSERT INTO public.tally VALUES (1, 0)",
    ):
        await database.fetch(None, statement)
    serializable = Database(database.dsn, isolation="serializable")

    async def count_up(connection: Connection) -> None:
        n = await connection.fetchval("SELECT n FROM public.tally WHERE id = 1")
        await connection.execute("UPDATE public.tally SET n = $1 WHERE id = 1", n + 1)

    await asyncio.gather(*(serializable.transaction(None, count_up) for _ in range(6)))
    assert await serializable.fetch(None, "SELECT n FROM public.tally") == [(6,)]
    await serializable.close()


async def test_endless_conflict_ends_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kessai.foundation.db.RETRY_DELAY_S_MAX", 0)

    async def conflict() -> None:
        raise asyncpg.SerializationError

    with pytest.raises(Unavailable, match="contention"):
        await retrying(conflict)


async def test_cut_connection_is_unavailable_and_the_next_one_works(database: Database) -> None:
    async def cut(connection: Connection) -> None:
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable, match="database_unavailable"):
        await database.transaction(None, cut)
    assert await database.fetch(None, "SELECT 1") == [(1,)]


async def test_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="database_unavailable"):
        await Database("postgresql://nobody@127.0.0.1:1/none").connect(None)


def test_named_queries_are_read_by_name() -> None:
    queries = Queries("-- name: one\nSELECT 1;\n\n-- name: two\n-- why\nSELECT 2\nFROM x;\n")
    assert queries["one"] == "SELECT 1"
    assert queries["two"] == "-- why\nSELECT 2\nFROM x"


def test_url_of_another_kind_is_refused() -> None:
    assert require_dsn("postgresql://host/db") == "postgresql://host/db"
    with pytest.raises(OperatorError, match="postgresql://"):
        require_dsn("mysql://host/db")
