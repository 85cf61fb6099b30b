"""The database itself keeps the logs append-only: the ledger's role may add to them and nothing else."""

from __future__ import annotations

import asyncpg
import pytest

from kessai.foundation.db import AUDITOR_ROLE, Database, role_of

from .book import Book
from .rows import tables_of

LOGS = ("flush", "seal_anchor", "exchange", "exchange_action", "exchange_reference", "account_event", "account_log",
        "hot_log", "lot_log")  # fmt: skip
ROLE = role_of("ledger")


@pytest.mark.parametrize("verb", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_ledger_role_may_not_change_a_log(database: Database, verb: str) -> None:
    question = (
        "SELECT has_table_privilege($1, $2, $3) AS whole, CASE WHEN $3 = 'UPDATE'"
        " THEN has_any_column_privilege($1, $2, $3) ELSE false END AS part"
    )
    for table in LOGS:
        (row,) = await database.fetch(None, question, ROLE, f"ledger.{table}", verb)
        assert (row["whole"], row["part"]) == (False, False), table


async def test_ledger_role_may_delete_nothing_at_all(database: Database) -> None:
    for table in await tables_of(database):
        if table in {"outbox", "event_cursor", "lease", "relay", "inbox", "parked_event", "subscription"}:
            continue  # the events' own housekeeping
        (row,) = await database.fetch(
            None, "SELECT has_table_privilege($1, $2, 'DELETE') AS may", ROLE, f'ledger."{table}"'
        )
        assert not row["may"], table


async def test_refused_by_the_database_when_tried(book: Book, database: Database) -> None:
    await book.give("cus:1/sales 5")
    for statement in (
        "UPDATE ledger.account_log SET amount = 6",
        "DELETE FROM ledger.account_log",
        "UPDATE ledger.flush SET seal = digest",
        "UPDATE ledger.lot SET amount = 6",
        "UPDATE ledger.account SET owner = 'cus:2'",
        "UPDATE ledger.exchange SET record = digest",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.fetch(ROLE, statement)


async def test_auditor_may_read_everything_and_write_nothing(book: Book, database: Database) -> None:
    await book.give("cus:1/sales 5")
    for table in await tables_of(database):
        await database.fetch(AUDITOR_ROLE, f'SELECT count(*) FROM ledger."{table}"')
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.fetch(AUDITOR_ROLE, "UPDATE ledger.account SET balance = 1")
