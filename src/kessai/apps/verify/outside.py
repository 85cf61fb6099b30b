"""Payments with somebody outside against the rows of the services that went there: states, and amounts to the yen.

What a payment's ledger exchange says of the account that stands for the outside is what the gateway's service must say
of the card or the bank. What is being worked on is left out: one side may be a step ahead of the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import asyncpg
import msgspec

from kessai.apps.verify.carried import Carrier, Side, carrier_of
from kessai.apps.verify.checks import Check, run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.payments import FINAL, GRACE, ROWS_AT_ONCE, business_now
from kessai.foundation.db import Connection, load_queries
from kessai.services.ledger.api import account_id_of
from kessai.services.payment.domain import PaymentKind, route_of
from kessai.services.payment.domain.kinds import PaymentKinds

INVARIANT = "a payment equals what was done outside for it"
ORPHANS = (
    Check("authorizations_without_payment", "nothing is done outside for a payment that is not there"),
    Check("instructions_without_payment", "nothing is done outside for a payment that is not there"),
)
NEEDED = {"ledger.flush", "payment.payment", "cardgateway.card_authorization", "bank.instruction"}
_SCHEMAS = {"authorizations_without_payment": "cardgateway", "instructions_without_payment": "bank"}

ENDED = ("CAPTURED", "CANCELED", "EXPIRED", "REFUSED")
HOLDING = ("AUTHORIZED", "PARTIALLY_CAPTURED")
BANK_ENDED = ("DONE", "FAILED", "RETURNED")
UNDER_WAY = ("ACCEPTED", "UNKNOWN", "SENT")
DEBIT_STATES = {
    "REQUIRES_ACTION": (*UNDER_WAY, "DONE", "FAILED"),
    "CAPTURED": ("DONE",),
    "REFUSED": (None, "FAILED"),
}
"""What a payment's state leaves of its debit; None: it was never given."""
TRANSFER_STATES = {
    "IN_FLIGHT": (*UNDER_WAY, *BANK_ENDED),
    "CAPTURED": ("DONE", "RETURNED"),
    "RETURNED": ("RETURNED",),
    "REFUSED": (None, "FAILED"),
}
SETTLED = {"REQUIRES_ACTION": BANK_ENDED, "IN_FLIGHT": BANK_ENDED, "CAPTURED": ("RETURNED",)}
"""States of a payment that an instruction in one of these will move on."""


async def verify_outside(connection: Connection, kinds: PaymentKinds, report: Report) -> None:
    """Report every payment that differs from what was done outside, and what was done there for no payment.

    The connection is in a transaction whose view does not change. Nothing is compared where a service's rows are not.
    """
    shared = load_queries("kessai.apps.verify", file="sql/shared.sql")
    tables = {row["name"] for row in await connection.fetch(shared["tables"])}
    if not tables >= NEEDED:
        return
    sql = load_queries("kessai.apps.verify", file="sql/outside.sql")
    clock = load_queries("kessai.apps.verify", file="sql/payment.sql")
    now = await business_now(connection, clock, sandbox="sandbox.clock" in tables)
    sources, paying_out = _named(kinds)
    async for row in connection.cursor(sql["payments_outside"], sources, paying_out, prefetch=ROWS_AT_ONCE):
        _check(row, kinds, now, report)
    for check in ORPHANS:
        await run_check(connection, sql, check, report, schema=_SCHEMAS[check.query], types={})


def _named(kinds: PaymentKinds) -> tuple[str, list[str]]:
    """An expression that finds the sources outside in a payment's funding, and the kinds that are paid out."""
    names = {name for kind in kinds for name, source in kind.sources.items() if source.gateway in ("card", "bank")}
    return f'"({"|".join(re.escape(name) for name in sorted(names))})"', [k.name for k in kinds if k.pays_out]


def _check(row: asyncpg.Record, kinds: PaymentKinds, now: datetime, report: Report) -> None:
    key = f"{kinds.prefixes.get(row['kind'], 'pay')}_{row['payment_id'].hex}"
    if row["kind"] not in kinds.prefixes or row["busy"]:
        return  # the one is told of by the checks of payments, the other is a step ahead of us, or behind
    kind = kinds.require(row["kind"])
    try:
        carrier = None if row["record"] is None else carrier_of(row)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return  # likewise told of
    for text in (*_card_faults(row, kind, carrier), *_bank_faults(row, kind, carrier)):
        report.add(INVARIANT, "payment.payment", key, text)
    if row["bank_state"] in SETTLED.get(row["state"], ()) and row["bank_ended_at"] + GRACE < now:
        report.add(FINAL, "payment.payment", key, f"it is {row['state']}, though the bank told {row['bank_state']}")


def _side(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier | None, gateway: str) -> Side | None:
    """The leg of the account that stands for a card or a bank; None where there is none."""
    if carrier is None:
        return None
    if gateway == "bank" and kind.pays_out:
        return carrier.of(account_id_of(str(kind.payee_owner), kind.payee_account_type), gets=True)
    for name, source in kind.sources.items():
        if source.gateway == gateway:
            route = route_of(name, kind, row["payer_id"])
            if (side := carrier.of(account_id_of(route.owner, route.account_type), gets=False)) is not None:
                return side
    return None


# -- cards --------------------------------------------------------------------------------------------------------


def _card_faults(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier | None) -> Iterator[str]:
    side, state, card = _side(row, kind, carrier, "card"), row["state"], row["card_state"]
    if card is None:
        if side is not None and side.amount and state != "REFUSED":
            yield "a card gives a part of it, but no authorization was made"
        return
    if row["card_busy"]:
        return
    if row["card_processing"] != row["processing_id"] and not row["unseen"]:
        yield f"its authorization is of another processing ({row['card_processing']})"
    held, taken = (0, 0) if side is None else (abs(side.amount), side.captured - side.back)
    if row["card_taken"] != taken:
        yield f"its exchange has {taken} from the card, the card gateway {row['card_taken']}"
    if held and not row["unseen"] and row["card_amount"] != held:
        yield f"its exchange counts on {held} from the card, the authorization is over {row['card_amount']}"
    if state in ENDED and card in ("AUTHORIZED", "REQUIRES_ACTION") and not row["void_refused"]:
        yield f"it is {state}, but something is still held on the card"
    if state in HOLDING and not kind.parks and taken < held and card != "AUTHORIZED":
        yield f"it is {state}, but its authorization is {card}"


# -- the bank -----------------------------------------------------------------------------------------------------


def _bank_faults(row: asyncpg.Record, kind: PaymentKind, carrier: Carrier | None) -> Iterator[str]:
    side, bank = _side(row, kind, carrier, "bank"), row["bank_state"]
    if bank is None and (side is None or not side.amount):
        return
    states = TRANSFER_STATES if kind.pays_out else DEBIT_STATES
    if bank not in states.get(row["state"], ()):
        yield f"it is {row['state']}, its {row['bank_kind'] or 'instruction'} {bank or 'was never given'}"
    if bank is None or side is None:
        return
    if (row["bank_kind"] == "transfer") is not kind.pays_out:
        yield f"it is a {kind.name}, but a {row['bank_kind']} was given for it"
    if row["bank_amount"] != abs(side.amount):
        yield f"its exchange counts on {abs(side.amount)}, the {row['bank_kind']} is over {row['bank_amount']}"
    if row["bank_processing"] != row["processing_id"]:
        yield f"its {row['bank_kind']} is of another processing ({row['bank_processing']})"
