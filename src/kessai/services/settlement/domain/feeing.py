"""Which fees follow from sales and refunds, and from the totals of a day or a cycle. Pure.

A sale's fee is by the terms of its own instant. A refund takes from the payment's sales, the oldest first, and gives
back a part of each one's fee by that sale's terms. Where fees are on totals, a sale adds to its day's and a refund
takes off its own day's; a total below zero gives back from the newest fees of the same owner and method.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from kessai.services.merchant.api import FeeTax, FeeTerms, FeeUnit, MerchantState, NoTerms, Terms
from kessai.services.settlement.domain.fees import (
    Fee,
    Schedule,
    base_back,
    decode_schedule,
    encode_schedule,
    encode_terms,
    fee_back,
    fee_of,
    share_of_return,
)
from kessai.services.settlement.domain.naming import derived_id, payment_id_of

WAITING, DECIDED = "WAITING", "DECIDED"
DUE, NOTHING = "DUE", "NOTHING"
FEE, FEE_REFUND = "fee", "fee_refund"
UNKNOWN_TERMS = "no_contract"


class Sale(NamedTuple):
    """A sale or a refund, as the fee flow knows it."""

    owner_id: str
    transaction_id: UUID
    kind: str
    method: str
    amount_minor: int
    payment_id: str
    occurred_at: datetime
    business_date: date
    state: str
    reason: str | None
    schedule: str | None
    refunded_minor: int
    fee_id: UUID | None


class Decision(NamedTuple):
    """What was worked out for one of them."""

    owner_id: str
    transaction_id: UUID
    state: str
    reason: str | None
    schedule: str | None
    fee_minor: int
    fee_id: UUID | None


class Refunded(NamedTuple):
    """How much of a sale is refunded now, and was before."""

    owner_id: str
    transaction_id: UUID
    before_minor: int
    after_minor: int


class Part(NamedTuple):
    """What one adds to a total (or takes off it)."""

    owner_id: str
    transaction_id: UUID
    sale_id: UUID
    method: str
    unit: str
    schedule: str
    base_minor: int
    business_date: date


class WantedFee(NamedTuple):
    """A new fee, or the return of a part of one."""

    owner_id: str
    fee_id: UUID
    kind: str
    unit: str
    origin_id: UUID
    returns_id: UUID | None
    method: str
    base_minor: int
    amount_minor: int
    tax_minor: int
    tax_rate_bps: int
    schedule: str
    payment_id: str
    state: str
    business_date: date


class Group(NamedTuple):
    """What an owner's open parts of one method and schedule come to."""

    owner_id: str
    method: str
    schedule: str
    base_minor: int


class Room(NamedTuple):
    """A fee of which something may still be given back."""

    owner_id: str
    fee_id: UUID
    method: str
    unit: str
    amount_minor: int
    tax_minor: int
    given_back_minor: int
    schedule: str
    payment_id: str


@dataclass(slots=True)
class Decided:
    """What a page comes to."""

    sales: list[Decision] = field(default_factory=list[Decision])
    refunded: list[Refunded] = field(default_factory=list[Refunded])
    parts: list[Part] = field(default_factory=list[Part])
    fees: list[WantedFee] = field(default_factory=list[WantedFee])


@dataclass(slots=True)
class _Sold:
    """A sale while refunds are taken from it."""

    sale: Sale
    schedule: str | None
    fee_id: UUID | None
    refunded_minor: int


class Deciding:
    """Works a page out, sales before the refunds that take from them."""

    def __init__(self, terms: Mapping[UUID, Terms], earlier: Iterable[Sale]) -> None:
        """`terms`: the answer for each sale of the page; `earlier`: the sales of the payments that are refunded."""
        self._terms = terms
        self._sold: dict[str, dict[UUID, _Sold]] = defaultdict(dict)
        self._waiting: dict[str, str] = {}
        """By payment: why a sale of it waits."""
        self.decided = Decided()
        for each in earlier:
            if each.state == DECIDED:
                self._keep(each, each.schedule, each.fee_id)
            else:
                self._waiting[each.payment_id] = each.reason or ""

    def decide(self, page: Sequence[Sale]) -> Decided:
        """Everything of a page that can be decided; what cannot be stays as it is, with the reason."""
        for each in page:
            if each.kind == "sale":
                self._sale(each)
        for each in sorted((one for one in page if one.kind == "refund"), key=_order):
            self._refund(each)
        return self.decided

    # -- sales --------------------------------------------------------------------------------------------------

    def _sale(self, sale: Sale) -> None:
        terms = self._terms[sale.transaction_id]
        if not are_usable(terms) or terms.fee is None:
            self._wait(sale, terms.reason.value if terms.reason else UNKNOWN_TERMS)
            return
        schedule = encode_schedule(
            Schedule(contract_id=terms.contract_id or "", contract_version=terms.contract_version or 0, terms=terms.fee)
        )
        if terms.fee.unit is FeeUnit.TRANSACTION:
            self._charge(sale, schedule, terms.fee)
        else:
            self._add_part(sale, sale, schedule, terms.fee.unit, sale.amount_minor)
            self._end(sale, schedule, 0, None)

    def _charge(self, sale: Sale, schedule: str, terms: FeeTerms) -> None:
        fee = fee_of(terms, sale.amount_minor)
        if not fee.amount_minor:
            self._end(sale, schedule, 0, None)
            return
        fee_id = derived_id("fee", str(sale.transaction_id))
        self.decided.fees.append(
            WantedFee(
                owner_id=sale.owner_id,
                fee_id=fee_id,
                kind=FEE,
                unit=FeeUnit.TRANSACTION.value,
                origin_id=sale.transaction_id,
                returns_id=None,
                method=sale.method,
                base_minor=sale.amount_minor,
                amount_minor=fee.amount_minor,
                tax_minor=fee.tax_minor,
                tax_rate_bps=terms.tax_rate_bps,
                schedule=schedule,
                payment_id=fee_payment_id(fee_id, terms.tax, 0),
                state=DUE,
                business_date=sale.business_date,
            )
        )
        self._end(sale, schedule, fee.amount_minor, fee_id)

    def _end(self, sale: Sale, schedule: str, fee_minor: int, fee_id: UUID | None) -> None:
        self.decided.sales.append(
            Decision(sale.owner_id, sale.transaction_id, DECIDED, None, schedule, fee_minor, fee_id)
        )
        self._keep(sale, schedule, fee_id)

    def _keep(self, sale: Sale, schedule: str | None, fee_id: UUID | None) -> None:
        self._sold[sale.payment_id][sale.transaction_id] = _Sold(sale, schedule, fee_id, sale.refunded_minor)

    def _wait(self, sale: Sale, reason: str) -> None:
        self._waiting[sale.payment_id] = reason
        if sale.reason != reason:
            self.decided.sales.append(Decision(sale.owner_id, sale.transaction_id, WAITING, reason, None, 0, None))

    # -- refunds ------------------------------------------------------------------------------------------------

    def _refund(self, refund: Sale) -> None:
        if (reason := self._waiting.get(refund.payment_id)) is not None:
            self._wait(refund, reason or UNKNOWN_TERMS)
            return
        left = refund.amount_minor
        for sold in sorted(self._sold[refund.payment_id].values(), key=lambda each: _order(each.sale)):
            part = min(left, sold.sale.amount_minor - sold.refunded_minor)
            if part:
                self._take(refund, sold, part)
                left -= part
        self.decided.sales.append(Decision(refund.owner_id, refund.transaction_id, DECIDED, None, None, 0, None))

    def _take(self, refund: Sale, sold: _Sold, part: int) -> None:
        sale, before = sold.sale, sold.refunded_minor
        sold.refunded_minor += part
        self.decided.refunded.append(Refunded(sale.owner_id, sale.transaction_id, before, sold.refunded_minor))
        if sold.schedule is None:
            return
        terms = decode_schedule(sold.schedule).terms
        whole, rule = sale.amount_minor, terms.refund
        if terms.unit is not FeeUnit.TRANSACTION:
            back = base_back(rule, sale_minor=whole, before_minor=before, refund_minor=part)
            self._add_part(refund, sale, sold.schedule, terms.unit, -back)
            return
        fee = fee_back(rule, fee_of(terms, whole), sale_minor=whole, before_minor=before, refund_minor=part)
        if sold.fee_id is not None and fee.amount_minor:
            self.decided.fees.append(
                WantedFee(
                    owner_id=refund.owner_id,
                    fee_id=derived_id("fee_refund", str(refund.transaction_id), str(sold.fee_id)),
                    kind=FEE_REFUND,
                    unit=FeeUnit.TRANSACTION.value,
                    origin_id=refund.transaction_id,
                    returns_id=sold.fee_id,
                    method=sale.method,
                    base_minor=part,
                    amount_minor=fee.amount_minor,
                    tax_minor=fee.tax_minor,
                    tax_rate_bps=terms.tax_rate_bps,
                    schedule=sold.schedule,
                    payment_id=fee_payment_id(sold.fee_id, terms.tax, 0),
                    state=DUE,
                    business_date=refund.business_date,
                )
            )

    def _add_part(self, which: Sale, sale: Sale, schedule: str, unit: FeeUnit, base_minor: int) -> None:
        if base_minor:
            self.decided.parts.append(
                Part(
                    *(which.owner_id, which.transaction_id, sale.transaction_id, sale.method, unit.value, schedule),
                    *(base_minor, which.business_date),
                )
            )


def are_usable(terms: Terms) -> bool:
    """Whether a fee can be worked out by an answer.

    What was authorized before a merchant left may be captured after it: that goes by the contract it had.
    """
    if terms.fee is None or terms.contract_id is None:
        return False
    left = terms.reason is NoTerms.MERCHANT_NOT_ACTIVE and terms.state is MerchantState.CLOSED
    return terms.reason is None or left


def fee_payment_id(fee_id: UUID, tax: FeeTax, attempt: int) -> str:
    """The payment of a fee; one whose payment was refused gets another the next time."""
    kind = "merchant_fee_exempt" if tax is FeeTax.EXEMPT else "merchant_fee"
    return payment_id_of(kind, str(fee_id), str(attempt))


def fees_of_totals(
    groups: Sequence[Group], room: Sequence[Room], *, unit: FeeUnit, day: date, gathering: UUID
) -> list[WantedFee]:
    """The fee on each total; below zero, what goes back of earlier fees, as far as there are any.

    One total for the same terms, by whichever versions of the contract: it is the latest that is kept with the fee.
    """
    wanted: list[WantedFee] = []
    left = {each.fee_id: each.amount_minor - each.given_back_minor for each in room}
    for group in _by_terms(groups):
        schedule = decode_schedule(group.schedule)
        fee_id = total_fee_id(gathering, group)
        terms = encode_terms(schedule.terms)
        origin = derived_id("total", unit.value, group.owner_id, group.method, terms, day.isoformat())
        if group.base_minor >= 0:
            fee = fee_of(schedule.terms, group.base_minor)
            wanted.append(
                WantedFee(
                    owner_id=group.owner_id,
                    fee_id=fee_id,
                    kind=FEE,
                    unit=unit.value,
                    origin_id=origin,
                    returns_id=None,
                    method=group.method,
                    base_minor=group.base_minor,
                    amount_minor=fee.amount_minor,
                    tax_minor=fee.tax_minor,
                    tax_rate_bps=schedule.terms.tax_rate_bps,
                    schedule=group.schedule,
                    payment_id=fee_payment_id(fee_id, schedule.terms.tax, 0),
                    state=DUE if fee.amount_minor else NOTHING,
                    business_date=day,
                )
            )
        else:
            wanted += _given_back(group, schedule, room, left, unit=unit, day=day, origin=origin, gathering=gathering)
    return wanted


def total_fee_id(gathering: UUID, group: Group) -> UUID:
    """The id of the fee on the total that a group is in."""
    terms = encode_terms(decode_schedule(group.schedule).terms)
    return derived_id("total_fee", str(gathering), group.owner_id, group.method, terms)


def _by_terms(groups: Sequence[Group]) -> Iterable[Group]:
    """Groups of the same owner, method and terms in one, with the schedule of the latest version."""
    found: dict[tuple[str, str, str], Group] = {}
    for each in sorted(groups, key=lambda group: decode_schedule(group.schedule).contract_version):
        key = (each.owner_id, each.method, encode_terms(decode_schedule(each.schedule).terms))
        before = found[key].base_minor if key in found else 0
        found[key] = each._replace(base_minor=before + each.base_minor)
    return found.values()


def _given_back(
    group: Group,
    schedule: Schedule,
    room: Sequence[Room],
    left: dict[UUID, int],
    *,
    unit: FeeUnit,
    day: date,
    origin: UUID,
    gathering: UUID,
) -> Iterable[WantedFee]:
    wanted = fee_of(schedule.terms, -group.base_minor).amount_minor
    for each in room:
        if (each.owner_id, each.method) != (group.owner_id, group.method):
            continue
        amount = min(wanted, left[each.fee_id])
        if not amount:
            continue
        before = each.amount_minor - left[each.fee_id]
        back = share_of_return(Fee(each.amount_minor, each.tax_minor), amount, before)
        left[each.fee_id] -= amount
        wanted -= amount
        yield WantedFee(
            owner_id=group.owner_id,
            fee_id=derived_id("total_return", str(gathering), str(each.fee_id), group.schedule),
            kind=FEE_REFUND,
            unit=unit.value,
            origin_id=origin,
            returns_id=each.fee_id,
            method=group.method,
            base_minor=-group.base_minor,
            amount_minor=back.amount_minor,
            tax_minor=back.tax_minor,
            tax_rate_bps=decode_schedule(each.schedule).terms.tax_rate_bps,
            schedule=each.schedule,
            payment_id=each.payment_id,
            state=DUE,
            business_date=day,
        )


def _order(sale: Sale) -> tuple[datetime, UUID]:
    return sale.occurred_at, sale.transaction_id
