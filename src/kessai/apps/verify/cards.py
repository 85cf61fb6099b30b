"""Cards: our authorizations against their operations, and these against the simulated gateway's books, to the yen.

An instruction is journalled before the gateway hears of it. So whatever stands in the gateway's books from before our
own were looked at, ours must know; and what ours say is done, theirs must, for they are read after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, load_queries
from kessai.simulators.cardgateway import Authorization, Books

INVARIANT = "the card gateway's books agree with ours"
ROWS = (
    Check("broken_card_sums", "an authorization is the sum of its operations"),
    Check("broken_card_states", "an authorization is what its operations make it"),
    Check("broken_card_claims", "every authorization under way is worked on"),
    Check("broken_card_operations", "an operation belongs to its authorization"),
    Check("strange_authorizations", "an authorization is its card's customer's"),
)
_OPERATIONS = "cardgateway.card_operation"


async def check_cards(connection: Connection, report: Report) -> None:
    """Our own rows, among themselves."""
    sql = load_queries("kessai.apps.verify", file="sql/cardgateway.sql")
    for check in ROWS:
        await run_check(connection, sql, check, report, schema="cardgateway", types={})


async def verify_cards(connection: Connection, path: Path, report: Report) -> None:
    """Report on what we and the simulated gateway disagree.

    Without a file of the gateway's at `path` it is not compared: a real gateway sends its statement.
    """
    sql = load_queries("kessai.apps.verify", file="sql/cardgateway.sql")
    before = datetime.now(UTC)
    rows = await connection.fetch(sql["card_operations"])
    if (books := Books.read(path)) is not None:
        compare_cards(rows, books, before, report)


def compare_cards(rows: Sequence[asyncpg.Record], books: Books, before: datetime, report: Report) -> None:
    """Ours, as they were at `before`, with theirs, which may have gone on since."""
    theirs = _effects(books)
    ours = {(row["authorization_id"].hex, row["operation_id"].hex): row for row in rows}
    for key, row in ours.items():
        kind, amount = row["kind"], theirs.get(key, (None, None, before))[1]
        if kind == "authorize" and _moved_since(books, key[0], before):
            continue
        if row["state"] == "DONE" and kind in ("authorize", "capture", "refund") and amount != row["amount_minor"]:
            _differ(report, kind, key[1], f"{row['amount_minor']} here, {amount} there")
        elif row["state"] == "REFUSED" and amount is not None:
            _differ(report, kind, key[1], f"refused or undone here, {amount} there")
    for key, (kind, amount, at) in theirs.items():
        if key not in ours and at < before:
            _differ(report, kind, key[1], f"unknown here, {amount} there")


def _moved_since(books: Books, digits: str, before: datetime) -> bool:
    authorization = books.authorizations.get(f"cau_{digits}")
    return authorization is not None and any(each.at >= before for each in authorization.operations)


def _differ(report: Report, kind: str, operation_id: str, how: str) -> None:
    prefix = "cau" if kind == "authorize" else "cop"
    report.add(INVARIANT, _OPERATIONS, f"{prefix}_{operation_id}", f"{kind}: {how}")


def _effects(books: Books) -> dict[tuple[str, str], tuple[str, int, datetime]]:
    """What the gateway did: kind, amount and time by the digits of the ids of authorization and operation."""
    found: dict[tuple[str, str], tuple[str, int, datetime]] = {}
    for each in books.authorizations.values():
        if _was_held(each):
            found[each.id[4:], each.id[4:]] = ("authorize", each.amount, each.at)
        for operation in each.operations:
            if operation.code is None and operation.kind in ("capture", "refund"):
                found[each.id[4:], operation.id[4:]] = (operation.kind, operation.amount, operation.at)
    return found


def _was_held(authorization: Authorization) -> bool:
    """It came to something, and that was not undone."""
    return authorization.state in ("authorized", "captured", "requires_action")
