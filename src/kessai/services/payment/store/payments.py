"""Payments, their steps and refunds: rows to write with a workflow's flush, and reads that take lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal, TypeAlias

import asyncpg
import msgspec

from kessai.foundation.db import Database, load_queries, role_of
from kessai.foundation.ids import bare
from kessai.foundation.migrations import SchemaSpec
from kessai.sdk.workflow import Write
from kessai.services.payment.api import (
    Action,
    Funding,
    NextAction,
    PaymentRecord,
    PaymentState,
    PaymentStep,
    Refund,
    RefundState,
)
from kessai.services.payment.domain import Change, Period, Usage, birth_digest

SCHEMA = SchemaSpec(
    service="payment",
    package="kessai.services.payment",
    components=("kessai.foundation.events", "kessai.sdk.workflow"),
)
ROLE = role_of("payment")
NEWEST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
LAST = (datetime(9000, 1, 1, tzinfo=UTC), NEWEST)
"""After whatever was made."""
OLDEST = "00000000-0000-0000-0000-000000000000"
FIRST_DUE = (datetime(1970, 1, 1, tzinfo=UTC), OLDEST)
"""Before whatever is past its time."""
LAPSING = frozenset({PaymentState.AUTHORIZED, PaymentState.PARTIALLY_CAPTURED, PaymentState.REQUIRES_ACTION})
"""States that end by themselves when their time is over."""

_SQL = load_queries("kessai.services.payment")
_encode = msgspec.json.Encoder().encode
_decode_funding = msgspec.json.Decoder(list[Funding]).decode
_decode_next_action = msgspec.json.Decoder(NextAction).decode


class _Details(msgspec.Struct, frozen=True, omit_defaults=True):
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] = {}
    instrument_id: str | None = None
    capture_at_once: bool = True
    payee_account_type: str | None = None
    """Where the request named another than its kind's."""
    birth: str | None = None
    """Digest of what never changes of it, see `domain.birth_digest`."""
    method: str | None = None
    account_type: str | None = None
    pay_on: date | None = None


_decode_details = msgspec.json.Decoder(_Details).decode


@dataclass(frozen=True, slots=True)
class Stored:
    """A payment as the database has it; `busy` while a workflow has claimed it."""

    payment: PaymentRecord
    busy: bool
    caller: str


@dataclass(frozen=True, slots=True)
class Birth:
    """What was written down when a payment was made."""

    birth: str | None
    """Digest of what never changes of it."""
    payee_account_type: str | None
    """Where its request named another than its kind's."""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is still to come to a customer; whatever is raised the guard, which was at `version`, when it was made."""

    version: int
    minor: int
    """By payments that wait for an action, or that are held."""
    undecided_minor: int
    """By payments of which it is not known yet what comes of them."""


# -- writes: they go with a workflow's flush ---------------------------------------------------------------------


def insertion(
    payment: PaymentRecord,
    workflow_id: str,
    caller: str,
    *,
    payee_account_type: str | None = None,
    begins: bool = False,
) -> Write:
    """A new PENDING payment, claimed by its workflow. `begins`: its processing begins with it."""
    details = _Details(
        reference=payment.reference,
        description=payment.description,
        metadata=payment.metadata,
        instrument_id=payment.instrument_id,
        capture_at_once=payment.capture_at_once,
        payee_account_type=payee_account_type,
        birth=birth_digest(payment, caller, payee_account_type),
        method=payment.method,
        account_type=payment.account_type,
        pay_on=payment.pay_on,
    )
    row = (
        bare(payment.payment_id),
        payment.kind,
        workflow_id,
        payment.amount_minor,
        payment.asset,
        payment.payer_id,
        payment.payee_id,
        bare(payment.exchange_id),
        _encode(details).decode(),
        payment.processing_id,
        caller,
        payment.created_at,
        payment.expires_at,
        payment.fee_minor,
        payment.beneficiary_id,
        payment.reference,
    )
    return Write(_SQL["insert_payment"], row, processing_id=payment.processing_id, begins=begins)


def claim(payment: PaymentRecord, workflow_id: str) -> Write:
    """Take the payment for a workflow; conflicts when it changed or another has it. Raises the version by one."""
    return Write(_SQL["claim_payment"], (bare(payment.payment_id), payment.version, workflow_id), guarded=True)


def spending_raise(customer_id: str, kind: str, version: int) -> Write:
    """Count one more payment against a customer's limits; conflicts when another was counted since."""
    return Write(_SQL["raise_spending"], (customer_id, kind, version), guarded=True)


def step(
    change: Change, *, claimed_by: str | None, refund_id: str | None, processing_id: str, caller: str
) -> list[Write]:
    """The payment's new state, the step that led to it, and when it falls due, if it does.

    Conflicts unless its version is the one before.
    """
    after = change.payment
    payment_id, state = bare(after.payment_id), after.state.value
    changed = (
        payment_id,
        after.version,
        claimed_by,
        state,
        after.captured_minor,
        after.refunded_minor,
        after.captures,
        after.refunds,
        _encode(after.funding).decode(),
        after.refusal_code,
        after.updated_at,
        after.fee_minor,
        after.next_action and _encode(after.next_action).decode(),
        after.expires_at,
    )
    made = (
        payment_id,
        after.version,
        change.action.value,
        state,
        change.amount_minor,
        change.code,
        refund_id and bare(refund_id),
        processing_id,
        caller,
        after.updated_at,
        change.exchange_id and bare(change.exchange_id),
        change.fee_minor,
        change.given_back and _encode(change.given_back).decode(),
    )
    changing = Write(_SQL["change_payment"], changed, guarded=True, processing_id=processing_id)
    writes = [changing, Write(_SQL["insert_step"], made)]
    if after.expires_at is not None and after.state in LAPSING:
        writes.append(Write(_SQL["insert_due"], (after.expires_at, payment_id, after.version)))
    return writes


def refund_insertion(refund: Refund, caller: str) -> Write:
    """A new PENDING refund."""
    row = (
        bare(refund.payment_id),
        bare(refund.refund_id),
        refund.amount_minor,
        refund.asset,
        refund.reason,
        bare(refund.exchange_id),
        refund.processing_id,
        caller,
        refund.created_at,
    )
    return Write(_SQL["insert_refund"], row)


def refund_update(refund: Refund) -> Write:
    """The refund's new state, and what went back."""
    row = (
        bare(refund.payment_id),
        bare(refund.refund_id),
        refund.state.value,
        refund.refusal_code,
        refund.updated_at,
        refund.amount_minor,
    )
    return Write(_SQL["update_refund"], row, guarded=True)


# -- reads ------------------------------------------------------------------------------------------------------


async def load(database: Database, payment_ids: Sequence[str], prefixes: dict[str, str]) -> list[Stored]:
    """The payments that exist, in no particular order. `prefixes`: of the ids of each kind."""
    rows = await database.fetch(ROLE, _SQL["load_payments"], [bare(each) for each in payment_ids])
    return [_stored(row, prefixes) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What listed payments must be."""

    kind: str | None = None
    state: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None

    @property
    def row(self) -> tuple[str | None, str | None, datetime | None, datetime | None]:
        """As every list takes it, after its own arguments."""
        return (self.kind, self.state, self.created_from, self.created_before)


ListedBy: TypeAlias = Literal["participant", "payee", "reference"]


async def listed(
    database: Database, by: ListedBy, value: str, before: str, limit: int, only: Filter, prefixes: dict[str, str]
) -> list[PaymentRecord]:
    """Payments of a `participant`, of a `payee` or by `reference`, with an id below `before`, newest first."""
    rows = await database.fetch(ROLE, _SQL["payments_listed"], value, before, limit, *only.row, by)
    return [_stored(row, prefixes).payment for row in rows]


async def by_time(
    database: Database, before: tuple[datetime, str], limit: int, only: Filter, prefixes: dict[str, str]
) -> list[PaymentRecord]:
    """Payments made before an instant (and id), newest first."""
    rows = await database.fetch(ROLE, _SQL["payments_by_time"], before[0], before[1], limit, *only.row)
    return [_stored(row, prefixes).payment for row in rows]


async def usage(database: Database, customer_id: str, kind: str, period: Period, *, paid: bool) -> Usage:
    """What a customer has paid (or was paid) by payments of a kind, less what came to nothing."""
    statement = _SQL["usage_of_payer" if paid else "usage_of_payee"]
    (row,) = await database.fetch(ROLE, statement, customer_id, kind, period.day_from, period.month_from)
    return Usage(row["version"], row["day_minor"], row["month_minor"], period)


async def pending_for(database: Database, customer_id: str, kinds: Sequence[str], guard: str) -> Pending:
    """What is still to come to a customer by payments of these kinds."""
    (row,) = await database.fetch(ROLE, _SQL["pending_of_payee"], customer_id, list(kinds), guard)
    return Pending(row["version"], row["pending_minor"], row["undecided_minor"])


async def overdue(
    database: Database, now: datetime, after: tuple[datetime, str], limit: int, prefixes: dict[str, str]
) -> list[PaymentRecord]:
    """Authorizations past their time that no workflow works on, by time and id, beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["overdue_authorizations"], now, after[0], after[1], limit)
    return [_stored(row, prefixes).payment for row in rows]


async def forget_due(database: Database, now: datetime, limit: int) -> int:
    """Remove up to so many past dates of payments that have ended, or lapse at another time now; gives how many."""
    return len(await database.fetch(ROLE, _SQL["forget_due"], now, limit))


async def waiting(
    database: Database, since: datetime, after: str, limit: int, prefixes: dict[str, str]
) -> list[PaymentRecord]:
    """Payments that have waited for somebody outside since an instant, by id, beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["waiting_payments"], after, since, limit)
    return [_stored(row, prefixes).payment for row in rows]


async def note_came_back(database: Database, payment_ids: Sequence[str], at: datetime) -> None:
    """The bank has returned the transfers of these payments; those that there are."""
    await database.fetch(ROLE, _SQL["note_came_back"], [bare(each) for each in payment_ids], at)


async def came_back(database: Database, after: str, limit: int, prefixes: dict[str, str]) -> list[PaymentRecord]:
    """Payments whose transfer the bank has returned, and that are not RETURNED yet, by id beyond `after`."""
    rows = await database.fetch(ROLE, _SQL["payments_came_back"], after, limit)
    return [_stored(row, prefixes).payment for row in rows]


async def forget_came_back(database: Database, limit: int) -> int:
    """Remove up to so many notes of payments that are RETURNED; gives how many."""
    return len(await database.fetch(ROLE, _SQL["forget_came_back"], limit))


async def steps(database: Database, payment_ids: Sequence[str]) -> list[PaymentStep]:
    """Steps of payments, oldest first."""
    rows = await database.fetch(ROLE, _SQL["steps_of_payments"], [bare(each) for each in payment_ids])
    return [
        PaymentStep(
            sequence=row["sequence"],
            action=Action(row["action"]),
            state=PaymentState(row["state"]),
            amount_minor=row["amount_minor"],
            code=row["code"],
            processing_id=row["processing_id"],
            caller=row["caller"],
            recorded_at=row["recorded_at"],
            exchange_id=row["exchange_id"] and f"exc_{row['exchange_id'].hex}",
            fee_minor=row["fee_minor"],
        )
        for row in rows
    ]


async def refunds_of(database: Database, payments: Sequence[PaymentRecord]) -> list[Refund]:
    """Refunds of payments, in the order in which they were made."""
    ids = {bare(payment.payment_id): payment.payment_id for payment in payments}
    rows = await database.fetch(ROLE, _SQL["refunds_of_payments"], list(ids))
    return [refund_of(row, ids[row["payment_id"].hex]) for row in rows]


async def refunds_by_id(database: Database, refund_ids: Sequence[str], prefixes: dict[str, str]) -> list[Refund]:
    """The refunds that exist."""
    rows = await database.fetch(ROLE, _SQL["refunds_by_id"], [bare(each) for each in refund_ids])
    return [refund_of(row, f"{prefixes[row['kind']]}_{row['payment_id'].hex}") for row in rows]


def traced(row: asyncpg.Record, prefixes: dict[str, str]) -> tuple[Stored, Birth]:
    """A payment and what was written down of its birth; raises when it cannot be read."""
    details = _decode_details(row["details"])
    return _stored(row, prefixes, details), Birth(details.birth, details.payee_account_type)


def _stored(row: asyncpg.Record, prefixes: dict[str, str], details: _Details | None = None) -> Stored:
    details = details or _decode_details(row["details"])
    payment = PaymentRecord(
        payment_id=f"{prefixes[row['kind']]}_{row['payment_id'].hex}",
        kind=row["kind"],
        state=PaymentState(row["state"]),
        amount_minor=row["amount_minor"],
        asset=row["asset"],
        payer_id=row["payer_id"],
        payee_id=row["payee_id"],
        captured_minor=row["captured_minor"],
        refunded_minor=row["refunded_minor"],
        funding=_decode_funding(row["funding"]),
        refusal_code=row["refusal_code"],
        reference=details.reference,
        description=details.description,
        metadata=details.metadata,
        exchange_id=f"exc_{row['exchange_id'].hex}",
        processing_id=row["processing_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        expires_at=row["expires_at"],
        captures=row["captures"],
        refunds=row["refunds"],
        version=row["version"],
        fee_minor=row["fee_minor"],
        beneficiary_id=row["beneficiary_id"],
        instrument_id=details.instrument_id,
        next_action=row["next_action"] and _decode_next_action(row["next_action"]),
        capture_at_once=details.capture_at_once,
        method=details.method,
        account_type=details.account_type,
        pay_on=details.pay_on,
    )
    return Stored(payment, row["busy_with"] is not None, row["caller"])


def refund_of(row: asyncpg.Record, payment_id: str) -> Refund:
    """A refund as its row has it."""
    return Refund(
        refund_id=f"rfn_{row['refund_id'].hex}",
        payment_id=payment_id,
        state=RefundState(row["state"]),
        amount_minor=row["amount_minor"],
        asset=row["asset"],
        reason=row["reason"],
        refusal_code=row["refusal_code"],
        exchange_id=f"exc_{row['exchange_id'].hex}",
        processing_id=row["processing_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
