"""The proxy of these tests fails the way PostgreSQL does."""

from __future__ import annotations

import asyncpg
import pytest

from kessai.foundation.db import Database
from tests.faults.proxy import Proxy, Statement, Verdict


def _full(statement: Statement) -> Verdict:
    return Verdict.DISK_FULL if statement.writes else Verdict.PASS


async def test_write_into_a_full_disk_fails_its_transaction_and_nothing_else(empty_database_url: str) -> None:
    async with Proxy(empty_database_url) as proxy:
        database = Database(proxy.dsn)
        connection = await database.connect(None)
        await connection.execute("CREATE TABLE note (id int PRIMARY KEY)")
        proxy.policy = _full
        with pytest.raises(asyncpg.DiskFullError):
            async with connection.transaction():
                await connection.execute("INSERT INTO note (id) VALUES ($1)", 1)
        with pytest.raises(asyncpg.DiskFullError):
            await connection.execute("INSERT INTO note (id) VALUES ($1)", 2)
        assert await connection.fetchval("SELECT count(*) FROM note") == 0
        await connection.close()


async def test_answer_to_a_commit_can_be_lost_after_it_was_carried_out(empty_database_url: str) -> None:
    async with Proxy(empty_database_url) as proxy:
        connection = await Database(proxy.dsn).connect(None)
        await connection.execute("CREATE TABLE note (id int PRIMARY KEY)")
        proxy.policy = lambda statement: Verdict.AFTER if statement.commits else Verdict.PASS
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            async with connection.transaction():
                await connection.execute("INSERT INTO note (id) VALUES ($1)", 1)
        direct = await Database(empty_database_url).connect(None)
        assert await direct.fetchval("SELECT count(*) FROM note") == 1
        await direct.close()
        await connection.close()
