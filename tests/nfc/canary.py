"""Where card numbers, or anything else that must not be seen, could have got to: every table, and what was said."""

from __future__ import annotations

import traceback
from collections.abc import Iterable

from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError

_TABLES = """
SELECT table_schema, table_name FROM information_schema.tables
WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')
ORDER BY table_schema, table_name
"""


async def rows_with(database: Database, secrets: Iterable[str]) -> list[str]:
    """Each table (with which secret's place in the list) that has one in any row, as text or as bytes."""
    wanted = list(secrets)
    found: list[str] = []
    for schema, table in [tuple(row) for row in await database.fetch(None, _TABLES)]:
        rows = await database.fetch(None, f'SELECT t::text AS row FROM "{schema}"."{table}" AS t')
        text = "\n".join(row["row"] for row in rows)
        found += [f"{schema}.{table}: {place}" for place in said(text, wanted)]
    return found


def said(text: str, secrets: Iterable[str]) -> list[int]:
    """Which secrets stand in a text, as they are or as bytes in hexadecimal."""
    return [place for place, each in enumerate(secrets) if each in text or each.encode().hex() in text]


def told(error: BaseException) -> str:
    """Everything that an error says of itself, its causes and where it came from."""
    details = repr(error.details) if isinstance(error, PaymentError) else ""
    return "".join(traceback.format_exception(error)) + repr(error) + details
