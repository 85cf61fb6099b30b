"""Payments and refunds against their steps, their workflows and the ledger exchanges that carry their value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec

from kessai.apps.verify.carried import faults_of
from kessai.apps.verify.finding import Report
from kessai.apps.verify.records import Effect, decode_effect
from kessai.foundation.db import Connection, Queries
from kessai.services.ledger.api import account_id_of
from kessai.services.payment.domain import Along, PaymentKind
from kessai.services.payment.domain.kinds import PAYER, PaymentKinds

FINAL = "every payment past its deadline is final"
MOVING = "every payment under way is worked on"
STEPS = "a payment is what its steps make it"
CARRIED = "a payment equals its ledger exchange"
RETURNED = "a refund equals its reversal"
FURTHER = "a further exchange of a payment is what its step says"
GRACE = timedelta(minutes=10)
"""How long after its deadline a payment may wait for the job that ends it."""
ROWS_AT_ONCE = 1_000

HELD = ("AUTHORIZED", "PARTIALLY_CAPTURED", "REQUIRES_ACTION")
UNDER_WAY = ("PENDING", "UNKNOWN")
SURPLUS = ("refund", "cancel", "expire")
"""Steps whose further exchange is of what was not owed any more."""


async def check_payments(
    connection: Connection, sql: Queries, report: Report, *, kinds: PaymentKinds, sandbox: bool
) -> None:
    """Every payment, every refund, and every further exchange of a payment."""
    now = await business_now(connection, sql, sandbox=sandbox)
    async for row in connection.cursor(sql["payments"], prefetch=ROWS_AT_ONCE):
        _check_payment(row, kinds, now, report)
    async for row in connection.cursor(sql["refunds"], prefetch=ROWS_AT_ONCE):
        _check_refund(row, kinds, report)
    async for row in connection.cursor(sql["further_exchanges"], prefetch=ROWS_AT_ONCE):
        _check_further(row, kinds, report)


async def business_now(connection: Connection, sql: Queries, *, sandbox: bool) -> datetime:
    """Business time, as the sandbox has moved it."""
    row = await connection.fetchrow(sql["business_clock"]) if sandbox else None
    if row is None:
        return datetime.now(UTC)
    frozen: datetime | None = row["frozen_at"]
    return frozen or datetime.now(UTC) + timedelta(microseconds=row["offset_us"])


def _check_payment(row: asyncpg.Record, kinds: PaymentKinds, now: datetime, report: Report) -> None:
    table, state = "payment.payment", row["state"]
    key = f"{kinds.prefixes.get(row['kind'], 'pay')}_{row['payment_id'].hex}"
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
    for text in _against_exchange(row, kinds):
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
    if any(row["fees"]):
        told["fee_minor"] = sum(row["fees"])
    found = [
        f"its {name} is {row[name]}, its steps make it {value}" for name, value in told.items() if row[name] != value
    ]
    if (row["refunds_made"], row["refunds_amount"]) != (row["refunds"], row["refunded_minor"]):
        found.append(f"{row['refunds_made']} refunds of {row['refunds_amount']} in all were made, it tells otherwise")
    return found


def _against_exchange(row: asyncpg.Record, kinds: PaymentKinds) -> list[str]:
    if row["state"] in UNDER_WAY:
        return []
    if row["kind"] not in kinds.prefixes:
        return [f"{row['kind']} is no kind of payment"]
    return faults_of(row, kinds.require(row["kind"]))


def _check_refund(row: asyncpg.Record, kinds: PaymentKinds, report: Report) -> None:
    key, state = f"rfn_{row['refund_id'].hex}", row["state"]
    text = None
    if row["original_id"] is None:
        text = "there is no such payment"
    elif state == "SUCCEEDED":
        text = _against_reversal(row, kinds)
    elif row["busy"]:
        return
    elif state == "REFUSED":
        text = None if row["record"] is None else "it was refused, but there is a reversal of it"
    else:
        text = f"it is {state}, but no workflow works on it"
    if text is not None:
        report.add(RETURNED, "payment.refund", key, text)


def _against_reversal(row: asyncpg.Record, kinds: PaymentKinds) -> str | None:
    if row["record"] is None:
        return "there is no reversal of it"
    if row["kind"] not in kinds.prefixes:
        return "it is of a payment of no kind"
    try:
        reversal = decode_effect(row["record"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "its reversal cannot be read"
    if reversal.reverses != "exc_" + row["original_id"].hex:
        return f"its exchange reverses {reversal.reverses}, not the payment's"
    payee = account_id_of(row["payee_id"], kinds.require(row["kind"]).payee_account_type)
    amount = -sum(posting[3] for posting in reversal.postings if posting[1] == payee and posting[3] < 0)
    if amount != row["amount_minor"]:
        return f"its reversal gives back {amount}, it {row['amount_minor']}"
    return _against_surplus(row, kinds.require(row["kind"]), reversal)


def _against_surplus(row: asyncpg.Record, kind: PaymentKind, reversal: Effect) -> str | None:
    """What a reversal gave to whoever had advanced it, above what was still owed, must have gone on to the payer."""
    pairs = {account for source in kind.sources.values() for account in _pair_of(source.along, row["payer_id"])}
    over = sum(posting[3] for posting in reversal.postings if posting[1] in pairs)
    if row["surplus_record"] is None:
        return f"{over} of it were not owed any more, and went to nobody" if over else None
    try:
        got = _landed(decode_effect(row["surplus_record"]), kind, row["payer_id"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "the exchange of its surplus cannot be read"
    return None if got == over else f"{over} of it were not owed any more, {got} went to the payer"


def _pair_of(along: Along | None, payer_id: str) -> tuple[str, ...]:
    if along is None:
        return ()
    sides = ((along.from_owner, along.from_account_type), (along.to_owner, along.to_account_type))
    return tuple(account_id_of(payer_id if owner == PAYER else owner, each) for owner, each in sides)


def _landed(effect: Effect, kind: PaymentKind, payer_id: str) -> int:
    """What a surplus's exchange gave to the payer's accounts that such value may go to."""
    types = {each for source in kind.sources.values() for each in source.surplus_account_types}
    places = {account_id_of(payer_id, each) for each in types}
    return sum(posting[3] for posting in effect.postings if posting[1] in places)


def _check_further(row: asyncpg.Record, kinds: PaymentKinds, report: Report) -> None:
    key = f"{row['payment_id'].hex}/{row['sequence']}"
    if row["record"] is None:
        report.add(FURTHER, "payment.payment_step", key, "there is no exchange of it")
        return
    try:
        effect = decode_effect(row["record"])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        report.add(FURTHER, "payment.payment_step", key, "its exchange cannot be read")
        return
    if row["kind"] not in kinds.prefixes:
        return  # told of the payment itself
    got = {posting[1]: posting[3] for posting in effect.postings if posting[3] > 0}
    kind = kinds.require(row["kind"])
    if row["action"] in SURPLUS:
        if _landed(effect, kind, row["payer_id"]) <= 0:
            report.add(FURTHER, "payment.payment_step", key, "its exchange does not give the payer anything")
        return
    if row["action"] == "return":
        if effect.reverses != "exc_" + row["original_id"].hex or sum(got.values()) != row["amount_minor"]:
            report.add(FURTHER, "payment.payment_step", key, "its exchange does not give the payment back")
        return
    seller = account_id_of(row["beneficiary_id"] or "", kind.beneficiary_account_type or "")
    if got != {seller: row["amount_minor"] - row["fee_minor"]}:
        report.add(FURTHER, "payment.payment_step", key, "its exchange does not pay the seller what the step says")
