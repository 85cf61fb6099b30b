"""Codes and orders against the payments that they led to: a code was used once, by its customer; an order was paid as
it was asked for, and its state is what its steps and its payment make it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

import asyncpg
import msgspec

from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.payments import GRACE, ROWS_AT_ONCE
from kessai.foundation.db import Connection, load_queries
from kessai.services.payment.api.orders import CreateOrder

PAID = "an order equals its payment"
STEPS = "an order is what its steps and its payment make it"
FINAL = "every order past its time is over"
CHECKS = (
    Check("codes_without_their_payment", "a used code's payment is its customer's"),
    Check("codes_used_when_worthless", "a code is used once, while it is good"),
    Check("payments_by_several_codes", "a code is used once, while it is good"),
    Check("payments_of_several_orders", "a payment is one order's"),
    Check("orphaned_order_steps", "every step belongs to an order"),
)
_TABLE = "payment.net_order"

SETTLED = ("AUTHORIZED", "PARTIALLY_CAPTURED", "CAPTURED", "CANCELED", "EXPIRED")
"""States of a payment that tell the rest of an order whose own time is over."""
UNPAID = (None, "REFUSED")
"""Of the last attempt to pay an order that ended by itself."""

decode_asked = msgspec.json.Decoder(CreateOrder).decode


async def check_checkout(connection: Connection, report: Report, now: datetime) -> None:
    """Every code that was used, and every order."""
    sql = load_queries("kessai.apps.verify", file="sql/checkout.sql")
    for check in CHECKS:
        await run_check(connection, sql, check, report, schema="payment", types={})
    async for row in connection.cursor(sql["orders"], prefetch=ROWS_AT_ONCE):
        key = f"ord_{row['order_id'].hex}"
        for text in _against_payment(row):
            report.add(PAID, _TABLE, key, text)
        for text in _against_steps(row):
            report.add(STEPS, _TABLE, key, text)
        if row["state"] == "OPEN" and row["expires_at"] + GRACE < now and _could_end(row):
            report.add(FINAL, _TABLE, key, f"it is OPEN, though its time ended at {row['expires_at']:%Y-%m-%d %H:%M}Z")


def _could_end(row: asyncpg.Record) -> bool:
    return row["payment_state"] in (*SETTLED, *UNPAID)


def _against_payment(row: asyncpg.Record) -> Iterator[str]:
    if hashlib.sha256(row["asked"].encode()).digest() != row["content_sha256"]:
        yield "its digest is not that of what was asked for"
    try:
        asked = decode_asked(row["asked"])
    except msgspec.MsgspecError:
        yield "what was asked for cannot be read"
        return
    if (row["merchant_id"], row["reference"]) != (asked.merchant_id, asked.reference):
        yield f"it is {row['merchant_id']}'s, asked for was {asked.merchant_id}, {asked.reference}"
    if asked.customer_id not in (None, row["customer_id"]):
        yield f"its customer is {row['customer_id']}, asked for was {asked.customer_id}"
    if row["payment_id"] is None:
        return
    if not row["paid"]:
        yield "its payment does not exist"
        return
    wanted = {
        "kind": ("charge", row["kind"]),
        "payer": (row["customer_id"], row["payer_id"]),
        "payee": (asked.merchant_id, row["payee_id"]),
        "amount": (asked.amount_minor, row["amount_minor"]),
        "asset": (asked.asset, row["asset"]),
        "reference": (asked.reference, row["payment_reference"]),
    }
    for name, (mine, paid) in wanted.items():
        if mine != paid:
            yield f"its {name} is {mine}, its payment's {paid}"
    if row["paid_at"] >= row["expires_at"]:
        yield "its payment was made after its time"


def _against_steps(row: asyncpg.Record) -> Iterator[str]:
    state, payment = row["state"], row["payment_state"]
    if state == "BOUND" and payment not in SETTLED:
        yield f"it is left to its payment, which is {payment}"
    if state in ("CANCELED", "EXPIRED") and payment not in UNPAID:
        yield f"it is {state}, though its payment is {payment}"
    if row["sequences"] is None:
        yield "it has no steps"
        return
    last = row["sequences"][-1]
    if row["sequences"] != list(range(last + 1)):
        yield "its steps are not numbered 0, 1, 2 …"
    told = ("OPEN", last + 1) if state == "BOUND" else (state, last)  # being left to its payment is no step
    if (row["states"][-1], row["version"]) != told:
        yield f"it is {state} at version {row['version']}, its last step is {last}, {row['states'][-1]}"
    confirmed = [each for action, each in zip(row["actions"], row["payments"], strict=True) if action == "confirm"]
    if row["payment_id"] != (confirmed[-1] if confirmed else None):
        yield "its payment is not that of its last confirmation"
