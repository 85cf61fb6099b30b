"""What a verb asks to be made, and the payment and order that come of it. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from msgspec.structs import replace

from kessai.foundation.contract import Asset
from kessai.foundation.ids import new_id
from kessai.sdk.workflow import Publish, Write
from kessai.services.payment import domain
from kessai.services.payment.api import METADATA_MAX, Metadata, PaymentRecord, PaymentState
from kessai.services.payment.domain import Along, Asked, PaymentKind, PlannedSource, route_of
from kessai.services.payment.workflows import ApprovalUse, FeeLeg, LegPair, Order, Outside, SourceLeg

MARGIN = timedelta(days=1)
"""How much longer the ledger holds than the payment where somebody outside takes part: the payment ends first."""
ANY = Asked()
"""The kind's own order."""
BANK_TIME = timedelta(days=3_650)
"""How long the ledger holds what a bank works on: as long as it takes."""


@dataclass(frozen=True, kw_only=True)
class New:
    """A new payment, as its verb asks for it."""

    kind: PaymentKind
    payer_id: str
    payee_id: str
    amount_minor: int
    asset: Asset
    reference: str | None
    description: str | None
    metadata: Metadata
    asked: Asked = ANY
    at_once: bool = True
    expires_at: datetime | None = None
    beneficiary_id: str | None = None
    payee_account_type: str | None = None
    bank_account_id: str | None = None
    """Where it is paid out to."""
    lot_expires_at: datetime | None = None
    approval: ApprovalUse | None = None
    method: str | None = None
    account_type: str | None = None
    pay_on: date | None = None
    payment_id: str | None = None
    """Where the caller has chosen it."""
    joining: Callable[[PaymentRecord], tuple[list[Write], list[Publish]]] | None = None
    """What is written and published in the very flush that begins the payment."""

    @property
    def fee_minor(self) -> int:
        """What is taken on top."""
        return 0 if self.kind.fee is None else self.kind.fee.amount_minor


def planned(new: New, now: datetime) -> tuple[list[PlannedSource], datetime | None]:
    """The plan of its sources, and when its authorization lapses; raises what can be said beforehand."""
    domain.check_amount(new.amount_minor, new.asset, new.kind)
    plan = domain.plan_funding(new.amount_minor + new.fee_minor, new.asked, new.kind)
    return plan, domain.authorization_expiry(new.expires_at, new.kind, now, at_once=new.at_once)


def payment_of(
    new: New, plan: list[PlannedSource], expires_at: datetime | None, processing_id: str | None, now: datetime
) -> PaymentRecord:
    """The payment as it begins."""
    instruments = [part.instrument_id for part in plan if part.instrument_id is not None]
    return PaymentRecord(
        payment_id=new.payment_id or new_id(new.kind.id_prefix),
        kind=new.kind.name,
        state=PaymentState.PENDING,
        amount_minor=new.amount_minor,
        asset=new.asset,
        payer_id=new.payer_id,
        payee_id=new.payee_id,
        captured_minor=0,
        refunded_minor=0,
        funding=[],
        refusal_code=None,
        reference=new.reference,
        description=new.description,
        metadata=new.metadata,
        exchange_id=new_id("exc"),
        processing_id=processing_id or new_id("prc"),
        created_at=now,
        updated_at=now,
        expires_at=expires_at,
        captures=0,
        refunds=0,
        version=0,
        fee_minor=new.fee_minor,
        beneficiary_id=new.beneficiary_id,
        instrument_id=new.bank_account_id or next(iter(instruments), None),
        capture_at_once=new.at_once,
        method=new.method,
        account_type=new.account_type,
        pay_on=new.pay_on,
    )


def order_of(new: New, payment: PaymentRecord, plan: list[PlannedSource], caller: str, now: datetime) -> Order:
    """How the payment's value is to be moved."""
    kind, outside = new.kind, _outside(new, plan)
    act_by = None if outside is None else _act_by(kind, outside, now)
    return Order(
        payment=payment,
        sources=[source_leg(part, kind, new.payer_id) for part in plan],
        payee_account_type=new.payee_account_type or kind.payee_account_type,
        capture=outside is None and (new.at_once or kind.parks),
        caller=caller,
        split=domain.needs_split(plan, kind),
        outside=outside,
        along=pair_of(kind.along, new.payer_id, new.payee_id),
        fee=kind.fee
        and FeeLeg(owner=kind.fee.owner, account_type=kind.fee.account_type, amount_minor=kind.fee.amount_minor),
        parks=kind.parks,
        held_until=None if outside is None else _held_until(outside, payment, act_by, now),
        act_by=act_by,
        lot_expires_at=new.lot_expires_at,
        approval=new.approval,
    )


def late_of(payment: PaymentRecord, kind: PaymentKind) -> New:
    """A payment of the same, at once, for one that came to nothing though its money was taken outside."""
    named = [("late_for", payment.payment_id), *payment.metadata.items()]
    return New(
        kind=kind,
        payer_id=payment.payer_id,
        payee_id=payment.payee_id,
        amount_minor=payment.amount_minor,
        asset=payment.asset,
        reference=payment.reference,
        description=payment.description,
        metadata=dict(named[:METADATA_MAX]),
        method=payment.method,
    )


def owed_order(order: Order) -> Order:
    """The same of money that is there already: moved at once, and not to be refused."""
    return replace(order, outside=None, capture=True, split=False, held_until=None, act_by=None, owed=True)


def source_leg(part: PlannedSource, kind: PaymentKind, payer_id: str) -> SourceLeg:
    """A planned source with the accounts behind it."""
    route = route_of(part.source, kind, payer_id)
    return SourceLeg(
        name=part.source,
        owner=route.owner,
        account_type=route.account_type,
        amount_minor=part.amount_minor,
        balancing=part.balancing,
        least_minor=part.least_minor,
        optional=part.optional,
        along=pair_of(route.along, payer_id, ""),
        surplus_account_types=list(route.surplus_account_types),
    )


def pair_of(along: Along | None, payer_id: str, payee_id: str) -> LegPair | None:
    """A movement that goes along, with its owners named."""
    if along is None:
        return None
    owners = {"payer": payer_id, "payee": payee_id}
    return LegPair(
        from_owner=owners.get(along.from_owner, along.from_owner),
        from_account_type=along.from_account_type,
        to_owner=owners.get(along.to_owner, along.to_owner),
        to_account_type=along.to_account_type,
    )


def _outside(new: New, plan: list[PlannedSource]) -> Outside | None:
    kind = new.kind
    if kind.pays_out:
        return Outside(gateway="bank", owner_id=new.payer_id, instrument_id=new.bank_account_id)
    for part in plan:
        named = kind.sources.get(part.source)
        if named is not None and named.gateway is not None:
            owner_id = new.payee_id if kind.payer == "internal" else new.payer_id
            return Outside(
                gateway=named.gateway,
                owner_id=owner_id,
                source=part.source,
                instrument_id=part.instrument_id,
                return_url=new.asked.return_url,
            )
    return None


def _act_by(kind: PaymentKind, outside: Outside, now: datetime) -> datetime | None:
    if outside.gateway == "bank":
        return None
    return now + timedelta(minutes=kind.sources[outside.source].wait_minutes)


def _held_until(outside: Outside, payment: PaymentRecord, act_by: datetime | None, now: datetime) -> datetime:
    if outside.gateway == "bank":
        return now + BANK_TIME
    return max(payment.expires_at or now, act_by or now) + MARGIN
