"""The figures of the law, from balances: what must be secured, by when, and what is kept apart. Pure; yen in whole.

Where a share is no whole yen it is rounded up: what secures customers' money may not fall short.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from kessai.foundation.calendar import ONE_DAY, business_day_on_or_after, months_after
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.domain.calendar import PREPAID_BASE_DATES, Period, last_base_date, period_of
from kessai.services.books.domain.statutory.rules import (
    Category,
    DepositTerms,
    PrepaidRules,
    SecurityRules,
)

BPS = 10_000
FIRST_BASE_DATE = date(2010, 9, 30)
"""The first one after 資金決済法 came into force."""


def share_of(amount: int, bps: int) -> int:
    """A share in basis points, rounded up."""
    return -(-amount * bps // BPS)


# -- funds transfer -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RollForward:
    """未達債務: Z(today) = Z(yesterday) + X (receipts − fees) − Y (payouts + returns)."""

    opening: int
    receipts: int
    fees: int
    payouts: int
    returns: int

    @property
    def closing(self) -> int:
        """Z of the day."""
        return self.opening + self.receipts - self.fees - self.payouts - self.returns


def roll_forward(opening: int, categories: Mapping[str, int]) -> RollForward:
    """The day of a funds transfer book from its categories' sums (up is positive)."""
    return RollForward(
        opening=opening,
        receipts=categories.get(Category.RECEIPT, 0),
        fees=-categories.get(Category.FEE, 0),
        payouts=-categories.get(Category.PAYOUT, 0),
        returns=-categories.get(Category.RETURN, 0),
    )


@dataclass(frozen=True, slots=True)
class Security:
    """要履行保証額 of a day."""

    obligation: int
    """未達債務."""
    procedure_cost: int
    """還付手続に関する費用: 5 % up to ¥100 million, 1 % of what is above."""
    required: int
    """Both together, and at least the floor."""


def security_of(obligation: int, rules: SecurityRules) -> Security:
    """What must be secured for what is owed to customers (資金決済法 第43条)."""
    owed = max(obligation, 0)
    cost = share_of(min(owed, rules.cost_step_minor), rules.cost_rate_bps)
    cost += share_of(max(owed - rules.cost_step_minor, 0), rules.cost_rate_above_bps)
    return Security(obligation, cost, max(owed + cost, rules.floor_minor))


@dataclass(frozen=True, slots=True)
class DepositPeriod:
    """要供託額 of a period: the largest requirement of its days, due some business days after its last."""

    period: Period
    required: int
    required_on: date
    """The first day with that requirement."""
    due_on: date
    name_ja: str
    """Of the type of funds transfer business."""


class Requirement(NamedTuple):
    """要履行保証額 of a day."""

    day: date
    required: int
    business_day: bool


def deposit_periods(
    days: Sequence[Requirement], terms_on: Callable[[date], DepositTerms]
) -> list[DepositPeriod]:  # fmt: skip
    """The periods that the days are in, in order. Business days count; of a period without one, all of its days.

    `terms_on` are those of a day. Where others hold from within a period, it ends on the day before.
    """
    grouped: list[tuple[Period, list[Requirement]]] = []
    for each in sorted(days):
        terms = terms_on(each.day)
        period = period_of(each.day, first=terms.period_first, days=terms.period_days)
        if grouped and grouped[-1][0].until >= each.day:
            last, inside = grouped[-1]
            if period.until == last.until:
                inside.append(each)
                continue
            grouped[-1] = Period(last.since, each.day - ONE_DAY), inside
        if grouped:
            period = Period(max(period.since, grouped[-1][0].until + ONE_DAY), period.until)
        grouped.append((period, [each]))
    return [_deposit_period(period, inside, terms_on(inside[-1].day)) for period, inside in grouped]


def _deposit_period(period: Period, inside: Sequence[Requirement], terms: DepositTerms) -> DepositPeriod:
    counting = [each for each in inside if each.business_day] or inside
    largest = max(counting, key=lambda each: (each.required, -each.day.toordinal()))
    due_on = period.due_on(terms.business_days)
    return DepositPeriod(period, largest.required, largest.day, due_on, terms.name_ja)


# -- prepaid instruments --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrepaidDeposit:
    """発行保証金 of a base date."""

    base_date: date
    unused: int
    """基準日未使用残高 of all instruments that are not exempt."""
    required: int
    """At least half of it where it is above ¥10 million; else nothing."""
    due_on: date


def base_date_of(day: date) -> date:
    """The base date that counts on a day: the last one."""
    return last_base_date(max(day, FIRST_BASE_DATE), PREPAID_BASE_DATES)


def is_exempt(valid_months: int | None, rules: PrepaidRules) -> bool:
    """Whether an instrument may be used for so short a time that it is exempt (資金決済法 第4条第2号)."""
    return valid_months is not None and valid_months <= rules.exempt_valid_months


def prepaid_deposit(base_date: date, unused: int, rules: PrepaidRules) -> PrepaidDeposit:
    """What must be deposited for what stands unused on a base date (資金決済法 第14条)."""
    required = share_of(unused, rules.deposit_share_bps) if unused > rules.deposit_over_minor else 0
    due = business_day_on_or_after(months_after(base_date, rules.deposit_months))
    return PrepaidDeposit(base_date, unused, required, due)


# -- crypto-assets --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Safekeeping:
    """One asset: what customers have, and where it is."""

    asset: str
    required: int
    """利用者区分管理必要量, in the asset's smallest units."""
    cold: int
    hot: int
    unit_price: Decimal | None
    """Yen for one whole unit."""

    @property
    def off_cold(self) -> int:
        """How much of what must be kept apart is not in cold wallets."""
        return max(self.required - self.cold, 0)

    @property
    def missing(self) -> int:
        """How much is in no wallet at all."""
        return max(self.required - self.cold - self.hot, 0)

    def value(self, quantity: int) -> int | None:
        """Its value in yen, rounded down; None without a price."""
        if self.unit_price is None:
            return None
        return int(Decimal(quantity).scaleb(-ASSET_EXPONENTS[self.asset]) * self.unit_price)


@dataclass(frozen=True, slots=True)
class ColdShare:
    """Off cold storage by value in yen, over all assets; None where a price is missing."""

    required_value: int | None
    off_cold_value: int | None
    within: bool | None
    """Whether at most the allowed share is off cold storage (資金決済法 第63条の11)."""


def cold_share(assets: Sequence[Safekeeping], off_cold_max_bps: int) -> ColdShare:
    """The share of all assets together."""
    required, off_cold = 0, 0
    for each in assets:
        value, off = each.value(each.required), each.value(each.off_cold)
        if value is None or off is None:
            return ColdShare(None, None, None)
        required += value
        off_cold += off
    return ColdShare(required, off_cold, off_cold * BPS <= required * off_cold_max_bps)
