"""Settlement's fees, each worked out anew: by the terms that are kept with it, on the sale or the total that it is for.

What is not looked at here is whether a contract had these terms at that instant: the merchant's history tells.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.services.merchant.api import FeeTerms, FeeUnit
from kessai.services.settlement.domain.fees import decode_schedule, fee_back, fee_of

WORKED_OUT = "a fee is what its terms make of what was sold"
ROWS = (
    Check("settled_without_fee", WORKED_OUT),
    Check("broken_fee_bases", WORKED_OUT),
    Check("refunds_without_sale", "what goes back of a fee is what its terms make of what was refunded"),
    Check("returns_unlike_their_fee", "what goes back of a fee is what its terms make of what was refunded"),
)
AT_ONCE = 5_000


async def check_fees(connection: Connection, report: Report) -> None:
    """Report every sale without its fee, and every fee that is not what its terms make it."""
    sql = load_queries("kessai.apps.verify", file="sql/settlement_fees.sql")
    for check in ROWS:
        await run_check(connection, sql, check, report, schema="settlement", types={})
    await _check_sales(connection, sql, report)
    async for row in connection.cursor(sql["fees_on_totals"], prefetch=AT_ONCE):
        terms = _terms_of(row["fee_schedule"])
        if row["base_minor"] != row["parts_minor"]:
            _tell(report, "fee", row, "fee_id", f"it is on {row['base_minor']}, its parts come to {row['parts_minor']}")
        elif sentence := _misworked(row, terms, row["base_minor"]):
            _tell(report, "fee", row, "fee_id", sentence)


async def _check_sales(connection: Connection, sql: Queries, report: Report) -> None:
    async for row in connection.cursor(sql["sales_with_fees"], prefetch=AT_ONCE):
        if sentence := _misjudged(row):
            _tell(report, "fee_base", row, "transaction_id", sentence)


def _misjudged(row: Any) -> str | None:
    """What is wrong with a sale's fee; None when nothing is."""
    if row["schedule"] is None:
        return "its fee was worked out by no terms"
    terms, sold = _terms_of(row["schedule"]), row["amount_minor"]
    if terms.unit is not FeeUnit.TRANSACTION:
        if row["part_minor"] != sold:
            return f"it is of {sold}, its part of a total is {row['part_minor'] or 0}"
        return None
    fee = fee_of(terms, sold)
    if row["fee_minor"] != fee.amount_minor:
        return f"its fee is {row['fee_minor']}, its terms make it {fee.amount_minor}"
    if not fee.amount_minor:
        return None
    if row["fee_id"] is None:
        return f"there is no fee of it, its terms make one of {fee.amount_minor}"
    if row["fee_schedule"] != row["schedule"]:
        return "its fee was worked out by other terms than its own"
    return _misworked(row, terms, sold) or _misreturned(row, terms)


def _misworked(row: Any, terms: FeeTerms, base_minor: int) -> str | None:
    """How a fee differs from what its terms make of an amount."""
    fee = fee_of(terms, base_minor)
    there = (row["charged_minor"], row["tax_minor"], row["tax_rate_bps"])
    wanted = (fee.amount_minor, fee.tax_minor, terms.tax_rate_bps)
    if there == wanted:
        return None
    return "its fee is {} with {} of tax at {} bps".format(*there) + ", its terms make it {}, {}, {}".format(*wanted)


def _misreturned(row: Any, terms: FeeTerms) -> str | None:
    """How what went back of a fee differs from what its terms make of what was refunded."""
    wanted, sold, refunded = 0, row["amount_minor"], row["refunded_minor"]
    if refunded:
        fee = fee_of(terms, sold)
        wanted = fee_back(terms.refund, fee, sale_minor=sold, before_minor=0, refund_minor=refunded).amount_minor
    if row["given_back_minor"] == wanted:
        return None
    return f"{row['given_back_minor']} of its fee goes back, its terms make it {wanted}"


@lru_cache(maxsize=4096)
def _terms_of(schedule: str) -> FeeTerms:
    return decode_schedule(schedule).terms


def _tell(report: Report, table: str, row: Any, name: str, sentence: str) -> None:
    report.add(WORKED_OUT, f"settlement.{table}", f"{row['owner_id']}/{row[name].hex}", sentence)
