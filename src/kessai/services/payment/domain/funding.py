"""How an amount is split over a customer's sources, and how its parts are captured and given back.

`plan_funding` says in which order sources are asked and how much each may give. Where every part is a matter of the
accounts alone, the ledger decides the split in the very flush that holds the value; where a source has a minimum, or
something goes along with it, `split` decides it beforehand on what is available. Captures take the parts in their
order, refunds give them back in the reverse order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from msgspec.structs import replace

from kessai.foundation.errors import Invalid, Refused
from kessai.services.payment.api import Action, Funding, FundingSource, PaymentRecord, PaymentState, PointsUse
from kessai.services.payment.domain.kinds import PAYER, Along, Gateway, PaymentKind, Source

NEEDS_INSTRUMENT = ("card", "bank")


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """One source's part of a plan: exactly `amount_minor`, or with `balancing` as much as there is, up to it."""

    source: str
    amount_minor: int
    balancing: bool
    least_minor: int = 0
    """If it gives at all, it gives this much."""
    optional: bool = False
    """Left out when the customer has no such account: nobody asked for it by name."""
    instrument_id: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The accounts behind a source's name."""

    owner: str
    account_type: str
    gateway: Gateway | None = None
    along: Along | None = None
    surplus_account_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says of its sources."""

    sources: Sequence[FundingSource] = ()
    points: PointsUse = PointsUse.FIRST
    accepted: Sequence[str] = ()
    return_url: str | None = None


def route_of(source: str, kind: PaymentKind, payer_id: str) -> Route:
    """Whose account of which type a source is."""
    named = kind.sources.get(source)
    if named is None:
        return Route(payer_id, source)
    owner = payer_id if named.owner == PAYER else named.owner
    account_type = named.account_type or kind.payer_account_types[0]
    return Route(owner, account_type, named.gateway, named.along, named.surplus_account_types)


def plan_funding(amount_minor: int, asked: Sequence[FundingSource] | Asked, kind: PaymentKind) -> list[PlannedSource]:
    """Split an amount over sources in the customer's order: each gives what it has, up to its maximum.

    A single source must give it all. Raises `unknown_source`, `duplicate_source`, `too_many_outside_sources`,
    `source_not_accepted`, `instrument_required`, `amount_below_source_minimum`, `sources_below_amount`.
    """
    asked = asked if isinstance(asked, Asked) else Asked(asked)
    wanted = asked.sources or [FundingSource(source=name) for name in default_order(kind, asked)]
    _check_sources(wanted, kind, asked)
    plan = [_planned(each, amount_minor, kind, alone=len(wanted) == 1, by_name=bool(asked.sources)) for each in wanted]
    if len(plan) == 1 and amount_minor < plan[0].least_minor:
        raise Refused(
            "amount_below_source_minimum",
            f"{plan[0].source} gives at least {plan[0].least_minor}.",
            minimum_minor=plan[0].least_minor,
        )
    if sum(part.amount_minor for part in plan) < amount_minor:
        raise Invalid("sources_below_amount", "The sources' maximum amounts add up to less than the amount.")
    return plan


def default_order(kind: PaymentKind, asked: Asked) -> list[str]:
    """The kind's own order of the payer's accounts, points where the request wants them, less what is not accepted."""
    points = [name for name in kind.payer_account_types if name in kind.point_types]
    others = [name for name in kind.payer_account_types if name not in kind.point_types]
    match asked.points:
        case PointsUse.FIRST:
            order = list(kind.payer_account_types)
        case PointsUse.LAST:
            order = others + points
        case PointsUse.NONE:
            order = others
    accepted = [name for name in order if not asked.accepted or name in asked.accepted]
    if not accepted:
        raise Refused("source_not_accepted", "Nothing that the merchant accepts is a source of the kind's own.")
    return accepted


def _planned(each: FundingSource, amount_minor: int, kind: PaymentKind, *, alone: bool, by_name: bool) -> PlannedSource:
    named = kind.sources.get(each.source)
    return PlannedSource(
        source=each.source,
        amount_minor=min(amount_minor, each.max_amount_minor or amount_minor),
        balancing=not alone,
        least_minor=0 if named is None else named.amount_minor_min,
        optional=not by_name and not alone,
        instrument_id=each.instrument_id,
    )


def _check_sources(sources: Sequence[FundingSource], kind: PaymentKind, asked: Asked) -> None:
    seen: set[str] = set()
    outside = 0
    for each in sources:
        named = kind.sources.get(each.source)
        if named is None and each.source not in kind.payer_account_types:
            raise Invalid("unknown_source", f"{each.source} is not a source of a {kind.name}.", source=each.source)
        if each.source in seen:
            raise Invalid("duplicate_source", f"{each.source} is named twice.", source=each.source)
        outside += named is not None and named.gateway is not None
        seen.add(each.source)
    if outside > 1:
        raise Invalid("too_many_outside_sources", "At most one source of a payment lies outside the platform.")
    for each in sources:
        _check_source(each, kind.sources.get(each.source), asked)


def _check_source(each: FundingSource, named: Source | None, asked: Asked) -> None:
    if asked.accepted and each.source not in asked.accepted:
        raise Refused("source_not_accepted", f"The merchant does not accept {each.source}.", source=each.source)
    if named is not None and named.gateway in NEEDS_INSTRUMENT and each.instrument_id is None:
        raise Invalid("instrument_required", f"Say which {named.gateway} to use.", source=each.source)


def needs_split(plan: Sequence[PlannedSource], kind: PaymentKind) -> bool:
    """Whether the split must be decided before the ledger is asked."""
    if len(plan) == 1:
        return False
    named = (kind.sources.get(part.source) for part in plan)
    return any(each is not None and (each.amount_minor_min or each.along) for each in named)


Interval = tuple[int, int]


def split(amount_minor: int, plan: Sequence[PlannedSource], available: Mapping[str, int]) -> dict[str, int]:
    """Exact parts that add up to the amount: each source in its order gives as much as it can.

    No part is above its source's maximum or what is available of it, and none is above zero but below its minimum. An
    earlier source gives less than it could only where that leaves a later one its minimum. A source that `available`
    does not name has no limit of its own. Raises Refused `insufficient_funds` when there is no such split.
    """
    caps = [min(part.amount_minor, available.get(part.source, part.amount_minor)) for part in plan]
    reach: list[list[Interval]] = [[(0, 0)]]
    for part, cap in zip(reversed(plan), reversed(caps), strict=True):
        reach.append(_reachable(reach[-1], max(1, part.least_minor), cap))
    reach.reverse()
    parts: dict[str, int] = {}
    left = amount_minor
    for part, cap, later in zip(plan, caps, reach[1:], strict=True):
        if (given := _most(left, max(1, part.least_minor), cap, later)) is None:
            raise Refused("insufficient_funds", "The sources together have less than the amount.")
        parts[part.source] = given
        left -= given
    return parts


def _reachable(later: Sequence[Interval], least: int, cap: int) -> list[Interval]:
    """Which totals a source and those after it can give together."""
    if cap < least:
        return list(later)
    return sorted({*later, *((low + least, high + cap) for low, high in later)})


def _most(left: int, least: int, cap: int, later: Sequence[Interval]) -> int | None:
    """The most that a source can give so that those after it can give exactly the rest; None when they never can."""
    found = [min(cap, left - low) for low, high in later if min(cap, left - low) >= max(least, left - high)]
    if any(low <= left <= high for low, high in later):
        found.append(0)
    return max(found, default=None)


# -- parts of a payment that was split ----------------------------------------------------------------------------


def captured_by_source(funding: Sequence[Funding], captured_minor: int) -> dict[str, int]:
    """What was captured of each part: in their order."""
    return _filled([(part.source, part.amount_minor) for part in funding], captured_minor)


def returned_by_source(taken: Mapping[str, int], returned_minor: int) -> dict[str, int]:
    """What went back to each source of what was taken from it: in the reverse order of use."""
    return _filled(list(taken.items())[::-1], returned_minor)


def _filled(parts: Sequence[tuple[str, int]], amount_minor: int) -> dict[str, int]:
    befores = accumulate((amount for _, amount in parts), initial=0)
    return {
        source: max(0, min(amount, amount_minor - before))
        for (source, amount), before in zip(parts, befores, strict=False)
    }


def difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What was added to each part, where anything was."""
    return {source: amount - before[source] for source, amount in after.items() if amount > before[source]}


def shared_fee(fee_minor: int, captured_minor: int, returned_minor: int, fee_returned_minor: int) -> int:
    """How much of an escrow's fee goes back once `returned_minor` of what was captured has gone back in all.

    In proportion, rounded down; all of it with the last part. `fee_returned_minor` went back before.
    """
    assert 0 <= returned_minor <= captured_minor
    return fee_minor * returned_minor // captured_minor - fee_returned_minor


def fee_given_back(payment: PaymentRecord, refunded_minor: int) -> int:
    """What of an escrow's fee has gone back once so much of it is refunded in all; a fee on top stays."""
    if payment.beneficiary_id is None or not refunded_minor:
        return 0
    return shared_fee(payment.fee_minor, payment.captured_minor, refunded_minor, 0)


def parts_of(payment: PaymentRecord, action: Action, amount_minor: int, *, parks: bool) -> dict[str, int]:
    """What an action takes from, or gives back to, each source of a payment.

    A capture takes the parts in their order. What goes back (a refund; of an escrow also what is canceled or lapses)
    does so in the reverse order of use. Of an escrow all was taken at once; what was not captured counts as given back.
    """
    if action is Action.CAPTURE:
        before = captured_by_source(payment.funding, payment.captured_minor)
        return difference(captured_by_source(payment.funding, payment.captured_minor + amount_minor), before)
    taken = captured_by_source(payment.funding, payment.amount_minor if parks else payment.captured_minor)
    back = _back_so_far(payment, taken, parks=parks)
    left = {source: amount - back[source] for source, amount in taken.items()}
    return {source: part for source, part in returned_by_source(left, amount_minor).items() if part}


def given_back(payment: PaymentRecord, parts: Mapping[str, int], *, parks: bool) -> list[Funding]:
    """The funding once these parts have gone back as well."""
    taken = captured_by_source(payment.funding, payment.amount_minor if parks else payment.captured_minor)
    back = _back_so_far(payment, taken, parks=parks)
    return [replace(part, returned_minor=back[part.source] + parts.get(part.source, 0)) for part in payment.funding]


def still_held(payment: PaymentRecord) -> int:
    """What of a payment that is not at its end is neither captured nor given back."""
    return payment.amount_minor - payment.captured_minor - sum(part.returned_minor for part in payment.funding)


def _back_so_far(payment: PaymentRecord, taken: Mapping[str, int], *, parks: bool) -> Mapping[str, int]:
    """What each source got back. Of payments from before that was written down, the totals tell it."""
    told = {part.source: part.returned_minor for part in payment.funding}
    let_go = payment.amount_minor - payment.captured_minor if parks and payment.state is PaymentState.CAPTURED else 0
    total = let_go + payment.refunded_minor
    return told if sum(told.values()) >= total else returned_by_source(taken, total)
