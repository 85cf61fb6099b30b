"""Checks that the database makes alone: each query gives the broken rows and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries

BROKEN_MAX = 100
"""Rows told of one check."""


@dataclass(frozen=True, slots=True)
class Check:
    """A query and the invariant that it looks after; `types` names the account types that it is given."""

    query: str
    invariant: str
    types: str | None = None


LEDGER = (
    Check("broken_log_chain", "every entry continues the one before"),
    Check("overdrawn_logs", "no account was ever overdrawn beyond its limit", "overdraft"),
    Check("broken_accounts", "an account is the sum of its entries and events", "log_only"),
    Check("repeated_versions", "entries and events of an account are numbered once"),
    Check("broken_account_flushes", "an account names the flush that touched it last"),
    Check("broken_lots", "a lot is what its logs leave of it"),
    Check("broken_lot_sums", "lots add up to their account", "lots"),
    Check("stray_hot_logs", "only log-only accounts have bare entries", "log_only"),
    Check("broken_subtotals", "a subtotal is the sum of its entries", "log_only"),
    Check("unbalanced_assets", "all accounts of an asset add up to zero"),
)
PAYMENT = (
    Check("exchanges_without_payment", "no exchange stands for a payment that is not there", "prefixes"),
    Check("exchanges_without_refund", "no exchange stands for a payment that is not there"),
    Check("orphaned_steps", "every step belongs to a payment"),
    Check("unpublished_steps", "every step of a payment is published"),
)
EVENTS = (
    Check("broken_positions", "positions of the outbox run 1, 2, 3 …"),
    Check("broken_heads", "the outbox's head is its last position"),
)
COUNTED_EVENTS = (Check("miscounted_events", "an outbox row carries as many events as it says"),)
WORKFLOWS = (
    Check("parked_workflows", "no workflow waits for an operator"),
    Check("finished_twice", "a workflow is open or finished"),
)


async def run_check(
    connection: Connection, sql: Queries, check: Check, report: Report, *, schema: str, types: dict[str, list[str]]
) -> None:
    """Run one check; what it finds goes into the report."""
    arguments = [BROKEN_MAX] if check.types is None else [BROKEN_MAX, types[check.types]]
    for row in await connection.fetch(sql[check.query], *arguments):
        report.add(check.invariant, f"{schema}.{row['relation']}", row["key"], row["sentence"])
