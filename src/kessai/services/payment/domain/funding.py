"""How an amount is split over a customer's sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kessai.foundation.errors import Invalid
from kessai.services.payment.api import FundingSource
from kessai.services.payment.domain.kinds import PaymentKind


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """One source's part of a plan: exactly `amount_minor`, or with `balancing` as much as there is, up to it."""

    source: str
    amount_minor: int
    balancing: bool


def plan_funding(amount_minor: int, sources: Sequence[FundingSource], kind: PaymentKind) -> list[PlannedSource]:
    """Split an amount over sources in the customer's order: each gives what it has, up to its maximum.

    A single source must give it all. Raises `unknown_source`, `duplicate_source`, `sources_below_amount`.
    """
    wanted = sources or [FundingSource(source=name) for name in kind.payer_account_types]
    _check_sources(wanted, kind)
    plan = [
        PlannedSource(each.source, min(amount_minor, each.max_amount_minor or amount_minor), len(wanted) > 1)
        for each in wanted
    ]
    if sum(part.amount_minor for part in plan) < amount_minor:
        raise Invalid("sources_below_amount", "The sources' maximum amounts add up to less than the amount.")
    return plan


def _check_sources(sources: Sequence[FundingSource], kind: PaymentKind) -> None:
    seen: set[str] = set()
    for each in sources:
        if each.source not in kind.payer_account_types:
            raise Invalid("unknown_source", f"{each.source} is not a source of a {kind.name}.", source=each.source)
        if each.source in seen:
            raise Invalid("duplicate_source", f"{each.source} is named twice.", source=each.source)
        seen.add(each.source)
