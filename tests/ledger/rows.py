"""What is written in the ledger's schema, seen by the database's own superuser."""

from __future__ import annotations

from kessai.foundation.db import Database

MOVING = frozenset({"writer", "lease", "writer_lease"})
"""Tables that live on real time (leases) and may change while nothing is asked of the ledger."""


async def tables_of(database: Database, schema: str = "ledger") -> list[str]:
    """Every table of the schema that holds facts."""
    rows = await database.fetch(
        None,
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname = $1 AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname",
        schema,
    )
    return [row["relname"] for row in rows if row["relname"] not in MOVING]


async def picture(database: Database) -> dict[str, tuple[int, str]]:
    """For each table its number of rows and a digest of their content."""
    seen: dict[str, tuple[int, str]] = {}
    for table in await tables_of(database):
        (row,) = await database.fetch(
            None,
            f"SELECT count(*) AS rows, md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) AS content"
            f' FROM ledger."{table}" t',
        )
        seen[table] = (row["rows"], row["content"])
    return seen


async def empty(database: Database) -> None:
    """Everything as the migrations left it: no row of the schema but the outbox's head, at the beginning."""
    rows = await database.fetch(None, "SELECT tablename FROM pg_tables WHERE schemaname = 'ledger'")
    statements = [f'DELETE FROM ledger."{row["tablename"]}"' for row in rows if row["tablename"] != "outbox_head"]
    connection = await database.connect(None)
    try:
        await connection.execute(";".join([*statements, "UPDATE ledger.outbox_head SET position = 0"]))
    finally:
        await connection.close()
