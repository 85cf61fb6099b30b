"""Payments and refunds against their steps, their workflows and the ledger exchanges that carry their value."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from kessai.apps.verify.courses import decode_progress
from kessai.apps.verify.finding import Report
from kessai.apps.verify.records import decode_effect
from kessai.foundation.db import Connection, Queries

FINAL = "every payment past its deadline is final"
MOVING = "every payment under way is worked on"
STEPS = "a payment is what its steps make it"
CARRIED = "a payment equals its ledger exchange"
RETURNED = "a refund equals its reversal"
GRACE = timedelta(minutes=10)
"""How long after its deadline a payment may wait for the job that ends it."""
ROWS_AT_ONCE = 1_000

HELD = ("AUTHORIZED", "PARTIALLY_CAPTURED", "REQUIRES_ACTION")
UNDER_WAY = ("PENDING", "UNKNOWN")
EXCHANGE_STATES = {
    "AUTHORIZED": ("AUTHORIZED",),
    "PARTIALLY_CAPTURED": ("AUTHORIZED",),
    "CAPTURED": ("CAPTURED",),
    "CANCELED": ("VOIDED",),
    "EXPIRED": ("VOIDED", "EXPIRED"),
}
"""What a payment's state leaves of its exchange; one whose time is over is let go by either side."""


async def check_payments(
    connection: Connection, sql: Queries, report: Report, *, prefixes: Mapping[str, str], sandbox: bool
) -> None:
    """Every payment and every refund."""
    now = await _now(connection, sql, sandbox=sandbox)
    async for row in connection.cursor(sql["payments"], prefetch=ROWS_AT_ONCE):
        _check_payment(row, prefixes, now, report)
    async for row in connection.cursor(sql["refunds"], prefetch=ROWS_AT_ONCE):
        _check_refund(row, report)


async def _now(connection: Connection, sql: Queries, *, sandbox: bool) -> datetime:
    """Business time, as the sandbox has moved it."""
    row = await connection.fetchrow(sql["business_clock"]) if sandbox else None
    if row is None:
        return datetime.now(UTC)
    frozen: datetime | None = row["frozen_at"]
    return frozen or datetime.now(UTC) + timedelta(microseconds=row["offset_us"])


def _check_payment(row: asyncpg.Record, prefixes: Mapping[str, str], now: datetime, report: Report) -> None:
    table, state = "payment.payment", row["state"]
    key = f"{prefixes.get(row['kind'], 'pay')}_{row['payment_id'].hex}"
    expires: datetime | None = row["expires_at"]
    lapsed = state in HELD and expires is not None and expires <= now
    if lapsed and expires is not None and expires + GRACE < now:
        report.add(FINAL, table, key, f"it is {state}, though its time ended at {expires:%Y-%m-%d %H:%M:%S}Z")
    if row["busy"] is not row["worked_on"]:
        report.add(MOVING, table, key, "it is claimed by a workflow that is not open")
    elif state in UNDER_WAY and not row["busy"]:
        report.add(MOVING, table, key, f"it is {state}, but no workflow works on it")
    for text in _against_steps(row):
        report.add(STEPS, table, key, text)
    if row["busy"] or lapsed:
        return  # the exchange may be a step ahead of the payment
    for text in _against_exchange(row):
        report.add(CARRIED, table, key, text)


def _against_steps(row: asyncpg.Record) -> list[str]:
    if row["sequences"] is None:
        return [] if row["state"] == "PENDING" and not row["captured_minor"] else ["it has no steps"]
    amounts = {action: [a for a, each in zip(row["amounts"], row["actions"], strict=True) if each == action]
               for action in ("capture", "refund")}  # fmt: skip
    told = {
        "state": row["states"][-1],
        "updated_at": row["instants"][-1],
        "captured_minor": sum(amounts["capture"]),
        "captures": len(amounts["capture"]),
        "refunded_minor": sum(amounts["refund"]),
        "refunds": len(amounts["refund"]),
    }
    if not row["busy"]:
        told["version"] = row["sequences"][-1]
    found = [
        f"its {name} is {row[name]}, its steps make it {value}" for name, value in told.items() if row[name] != value
    ]
    if (row["refunds_made"], row["refunds_amount"]) != (row["refunds"], row["refunded_minor"]):
        found.append(f"{row['refunds_made']} refunds of {row['refunds_amount']} in all were made, it tells otherwise")
    return found


def _against_exchange(row: asyncpg.Record) -> list[str]:
    state = row["state"]
    if state in UNDER_WAY:
        return []
    if state == "REFUSED":
        return [] if row["record"] is None else ["it was refused, but there is an exchange of it"]
    if row["record"] is None:
        return ["there is no exchange of it"]
    try:
        told = _exchange_of(row)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ["its exchange cannot be read"]
    amount = row["amount_minor"]
    wanted = (row["kind"], amount, row["captured_minor"], row["refunded_minor"])
    found = [] if told[0] in EXCHANGE_STATES.get(state, ()) else [f"it is {state}, its exchange {told[0]}"]
    return found + [
        f"its exchange's {name} is {there}, its own {mine}"
        for name, mine, there in zip(("kind", "amount", "captured", "refunded"), wanted, told[1:], strict=True)
        if mine != there
    ]


def _exchange_of(row: asyncpg.Record) -> tuple[str, str, int, int, int]:
    """State, kind and the payee's side of an exchange: its amount, what was captured of it and what went back."""
    birth = decode_effect(row["record"])
    if row["progress"] is None:
        amount = sum(posting[3] for posting in birth.postings if posting[3] > 0)
        return birth.state, birth.kind, amount, amount, 0
    state, legs, _ = decode_progress(row["progress"])
    payees = [(amount, captured, back) for _, _, amount, _, captured, back, _, _ in legs if amount > 0]
    amount, captured, back = (sum(each) for each in zip(*payees, strict=True)) if payees else (0, 0, 0)
    return state, birth.kind, amount, captured, back


def _check_refund(row: asyncpg.Record, report: Report) -> None:
    key, state = f"rfn_{row['refund_id'].hex}", row["state"]
    text = None
    if row["original_id"] is None:
        text = "there is no such payment"
    elif state == "SUCCEEDED":
        text = _against_reversal(row)
    elif row["busy"]:
        return
    elif state == "REFUSED":
        text = None if row["record"] is None else "it was refused, but there is a reversal of it"
    else:
        text = f"it is {state}, but no workflow works on it"
    if text is not None:
        report.add(RETURNED, "payment.refund", key, text)


def _against_reversal(row: asyncpg.Record) -> str | None:
    if row["record"] is None:
        return "there is no reversal of it"
    try:
        reversal = decode_effect(row["record"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "its reversal cannot be read"
    if reversal.reverses != "exc_" + row["original_id"].hex:
        return f"its exchange reverses {reversal.reverses}, not the payment's"
    amount = sum(posting[3] for posting in reversal.postings if posting[3] > 0)
    return None if amount == row["amount_minor"] else f"its reversal gives back {amount}, it {row['amount_minor']}"
