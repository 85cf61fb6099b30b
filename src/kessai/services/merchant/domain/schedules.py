"""Contracts: what they may say, and what they say at an instant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

import msgspec

from kessai.foundation.errors import Invalid
from kessai.services.merchant.api import (
    AgreeContract,
    Campaign,
    Contract,
    Cycle,
    FeeSchedule,
    FeeTax,
    FeeTerms,
    MethodTerms,
    SettlementRules,
    Tier,
)
from kessai.services.merchant.domain.timeline import Stretch

CONTRACTS_REMEMBERED_MAX = 20_000


class Schedule:
    """The fee of one payment method by a contract, worked out once."""

    __slots__ = ("_campaigns", "_plain")

    def __init__(self, fee: FeeSchedule) -> None:
        self._plain = _terms(fee, None)
        self._campaigns = [(each.since, each.until, _terms(fee, each)) for each in fee.campaigns]

    def at(self, instant: datetime) -> FeeTerms:
        """The terms at an instant: a campaign's, while one runs."""
        for since, until, terms in self._campaigns:
            if since <= instant < until:
                return terms
        return self._plain


def _terms(fee: FeeSchedule, campaign: Campaign | None) -> FeeTerms:
    rate = fee if campaign is None else campaign
    return FeeTerms(
        rate_ppm=rate.rate_ppm,
        fixed_minor=rate.fixed_minor,
        tiers=list(rate.tiers),
        rounding=fee.rounding,
        unit=fee.unit,
        tax=fee.tax,
        tax_rate_bps=fee.tax_rate_bps,
        refund=fee.refund,
        campaign=None if campaign is None else campaign.name,
    )


@lru_cache(maxsize=CONTRACTS_REMEMBERED_MAX)
def contract_of(content: str) -> tuple[Contract, dict[str, Schedule]]:
    """A contract as it is stored, and its schedules by payment method; merchants with equal contracts share one."""
    contract = msgspec.json.decode(content, type=Contract)
    return contract, {each.method: Schedule(each.fee) for each in contract.methods}


# -- what a contract may say --------------------------------------------------------------------------------------


def require_sound(request: AgreeContract) -> None:
    """Raises Invalid, in the order that the verb documents."""
    methods = request.contract.methods
    names = [each.method for each in methods]
    if len(set(names)) != len(names):
        raise Invalid("method_twice", "A payment method is named twice.", field="$.contract.methods")
    for check in (_require_rising, _require_tax, _require_campaigns):
        for each in methods:
            check(each)
    _require_rules(request.contract.settlement)
    if request.valid_from and request.valid_until and request.valid_until <= request.valid_from:
        raise Invalid("validity_reversed", "The validity ends before it begins.", field="$.valid_until")


def _require_rising(terms: MethodTerms) -> None:
    for tiers in (terms.fee.tiers, *(each.tiers for each in terms.fee.campaigns)):
        if not _rises(tiers):
            raise Invalid("tiers_not_rising", f"The tiers of {terms.method} do not rise.", method=terms.method)


def _rises(tiers: Sequence[Tier]) -> bool:
    return all(lower.from_minor < higher.from_minor for lower, higher in pairwise(tiers))


def _require_tax(terms: MethodTerms) -> None:
    if (terms.fee.tax is FeeTax.EXEMPT) != (terms.fee.tax_rate_bps == 0):
        raise Invalid(
            "tax_rate_mismatch",
            f"The fee of {terms.method} has a tax rate exactly if it is not exempt.",
            method=terms.method,
        )


def _require_campaigns(terms: MethodTerms) -> None:
    for each in terms.fee.campaigns:
        if each.until <= each.since:
            raise Invalid("campaign_reversed", f"The campaign {each.name} ends before it begins.", method=terms.method)
    stretches = sorted(Stretch(each.since, each.until, each.name) for each in terms.fee.campaigns)
    for first, second in pairwise(stretches):
        if first.overlaps(second):
            raise Invalid(
                "campaigns_overlap",
                f"The campaigns {first.value} and {second.value} overlap.",
                method=terms.method,
            )


def _require_rules(rules: SettlementRules) -> None:
    if (rules.cycle is Cycle.WEEKLY) != (rules.cycle_day is not None):
        raise Invalid(
            "cycle_day_mismatch",
            "A weekly cycle names the weekday that ends it, and no other does.",
            field="$.contract.settlement.cycle_day",
        )
    if (rules.cycle in (Cycle.WEEKLY, Cycle.DAILY)) != (rules.payout.days_after is not None):
        raise Invalid(
            "payout_rule_mismatch",
            "Weekly and daily cycles are paid `days_after` their last day, and no others are.",
            field="$.contract.settlement.payout",
        )
