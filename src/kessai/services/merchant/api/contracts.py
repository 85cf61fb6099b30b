"""Contracts (加盟店契約): what is accepted, for which fee, and how the merchant is paid."""

from __future__ import annotations

from typing import Annotated

import msgspec

from kessai.foundation.contract import Instant, Label, Message
from kessai.services.merchant.api.terms import (
    TIERS_MAX,
    Bearer,
    BelowMinimum,
    Cycle,
    FeeRefund,
    FeeTax,
    FeeUnit,
    Holiday,
    Minor,
    PayoutRule,
    RatePpm,
    Rounding,
    Tier,
)
from kessai.services.merchant.api.words import ApprovalId, Cause, MerchantId

METHODS_MAX = 50
CAMPAIGNS_MAX = 20

Tiers = Annotated[list[Tier], msgspec.Meta(max_length=TIERS_MAX)]


class Campaign(Message):
    """Another rate for a while: it takes the place of the schedule's rate, fixed part and tiers."""

    name: Label
    since: Instant
    until: Instant
    """Not included."""
    rate_ppm: RatePpm
    fixed_minor: Minor = 0
    tiers: Tiers = []


class FeeSchedule(Message):
    """手数料: a rate, a fixed part, tiers and campaigns; how it is rounded, taxed and given back."""

    rate_ppm: RatePpm
    fixed_minor: Minor = 0
    tiers: Tiers = []
    """By rising `from_minor`."""
    rounding: Rounding = Rounding.FLOOR
    unit: FeeUnit = FeeUnit.TRANSACTION
    tax: FeeTax = FeeTax.EXEMPT
    tax_rate_bps: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    """Ten-thousandths: 1000 is 10 %; 0 where the fee is exempt, above 0 where it is not."""
    refund: FeeRefund = FeeRefund.PROPORTIONAL
    campaigns: Annotated[list[Campaign], msgspec.Meta(max_length=CAMPAIGNS_MAX)] = []
    """No two at the same time."""


class MethodTerms(Message):
    """A payment method that is accepted, and its fee."""

    method: Label
    fee: FeeSchedule


class SettlementRules(Message):
    """How the merchant is paid."""

    cycle: Cycle = Cycle.MONTHLY
    cycle_day: Annotated[int, msgspec.Meta(ge=0, le=6)] | None = None
    """Of a weekly cycle, and of no other: the weekday that ends it, 0 (Monday) to 6."""
    payout: PayoutRule = PayoutRule()
    holiday: Holiday = Holiday.PREVIOUS
    minimum_minor: Minor = 0
    below_minimum: BelowMinimum = BelowMinimum.CARRY_OVER
    transfer_fee_minor: Minor = 0
    transfer_fee_borne_by: Bearer = Bearer.PLATFORM
    instruct_days_before: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    """Business days."""


class Contract(Message):
    """All that was agreed, from one instant on."""

    methods: Annotated[list[MethodTerms], msgspec.Meta(max_length=METHODS_MAX)]
    """Each once; none: the merchant only collects for others."""
    settlement: SettlementRules = SettlementRules()


class AgreeContract(Message):
    """Agree a contract, or its next version; what was valid before stays what it was until then."""

    merchant_id: MerchantId
    contract: Contract
    valid_from: Instant | None = None
    """Never in the past; None: from now on."""
    valid_until: Instant | None = None
    """Not included; None: until something newer."""
    reason: Cause
    approval_id: ApprovalId | None = None
    """An approval of `merchant.contract` of this content, less `approval_id`, about the merchant's id."""
