"""Merchants: each is what its history makes it, and no id of a payment method means two merchants at once."""

from __future__ import annotations

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, load_queries

ROWS = (
    Check("broken_histories", "a merchant is what its history makes it"),
    Check("merchants_without_history", "a merchant is what its history makes it"),
    Check("merchants_unlike_history", "a merchant is what its history makes it"),
    Check("own_collectors", "a merchant is what its history makes it"),
    Check("overlapping_ids", "an id of a payment method means one merchant at a time"),
    Check("strange_ids", "an id of a payment method means one merchant at a time"),
    Check("broken_imports", "an import is what became of its lines"),
)


async def check_merchants(connection: Connection, report: Report) -> None:
    """Report every merchant, company and mapped id that its history does not tell of."""
    sql = load_queries("kessai.apps.verify", file="sql/merchant.sql")
    for check in ROWS:
        await run_check(connection, sql, check, report, schema="merchant", types={})
