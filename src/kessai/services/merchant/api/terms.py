"""What settlement asks about merchants: the terms of a sale, and by which rules a payee is paid.

Both are answered as of an instant. A change is never valid from the past, so the answer about an instant that is over
stays the same for ever.
"""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import msgspec

from kessai.foundation.contract import Instant, Label, Message
from kessai.foundation.money import AMOUNT_MINOR_MAX
from kessai.services.merchant.api.words import MerchantId, MerchantState, OwnerId

QUESTIONS_MAX = 1000
TIERS_MAX = 20
RATE_PPM_MAX = 1_000_000

RatePpm = Annotated[int, msgspec.Meta(ge=0, le=RATE_PPM_MAX, description="millionths of the amount")]
Minor = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MINOR_MAX, description="whole yen")]


class Rounding(StrEnum):
    """What becomes of a part of a yen."""

    FLOOR = "floor"
    HALF_UP = "half_up"
    CEIL = "ceil"


class FeeUnit(StrEnum):
    """What a fee is worked out on, and rounded once for."""

    TRANSACTION = "transaction"
    DAY = "day"
    """The day's sales by one payment method."""
    CYCLE = "cycle"
    """The cycle's sales by one payment method."""


class FeeTax(StrEnum):
    """Consumption tax on a fee."""

    EXEMPT = "exempt"
    """非課税"""
    INCLUDED = "included"
    """内税: the fee contains it."""
    ADDED = "added"
    """外税: it comes on top."""


class FeeRefund(StrEnum):
    """How much of the fee comes back when a sale is refunded."""

    PROPORTIONAL = "proportional"
    FULL_ONLY = "full_only"
    """All of it, when all of the sale is refunded."""
    NONE = "none"


class Tier(Message):
    """The rate from an amount on: of one sale, or of the day's or cycle's total."""

    from_minor: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX)]
    rate_ppm: RatePpm
    fixed_minor: Minor = 0


class FeeTerms(Message):
    """By what a fee is worked out: the last tier whose `from_minor` is reached, or else the rate and the fixed part."""

    rate_ppm: RatePpm
    fixed_minor: Minor
    tiers: list[Tier]
    """By rising `from_minor`."""
    rounding: Rounding
    unit: FeeUnit
    tax: FeeTax
    tax_rate_bps: int
    """Ten-thousandths; 0 where the fee is exempt."""
    refund: FeeRefund
    campaign: str | None
    """Whose rate it is, where it is a campaign's."""


class TermsQuestion(Message):
    """By what terms does an owner accept a payment method at an instant?"""

    owner_id: OwnerId
    """The merchant's own id, or an id that the merchant master maps for the payment method."""
    method: Label
    at: Instant


class ResolveTerms(Message):
    """Up to 1,000 questions at once."""

    questions: Annotated[list[TermsQuestion], msgspec.Meta(max_length=QUESTIONS_MAX)]


class NoTerms(StrEnum):
    """Why an answer is not whole, the first that holds."""

    MERCHANT_UNKNOWN = "merchant_unknown"
    MERCHANT_NOT_ACTIVE = "merchant_not_active"
    NO_CONTRACT = "no_contract"
    METHOD_NOT_ACCEPTED = "method_not_accepted"


class Terms(Message):
    """The answer, with whatever is known even where `reason` says that something is not."""

    owner_id: str
    merchant_id: str | None
    """The master id."""
    payee_id: str | None
    """Who is paid for it (入金集約): its parent at that instant, or itself."""
    state: MerchantState | None
    fee: FeeTerms | None
    reason: NoTerms | None
    """None: the merchant was active and accepted the method."""
    contract_id: str | None
    contract_version: int | None


class TermsAnswers(Message):
    """One answer a question, in their order."""

    answers: list[Terms]


# -- how a payee is paid ------------------------------------------------------------------------------------------


class Cycle(StrEnum):
    """精算サイクル: on which days a merchant's sales are closed."""

    MONTHLY = "monthly"
    """On the month's last day."""
    TWICE_MONTHLY = "twice_monthly"
    """On the 15th and on the month's last day."""
    WEEKLY = "weekly"
    """On one weekday."""
    DAILY = "daily"


class Holiday(StrEnum):
    """Where a payout day goes on which banks are closed."""

    PREVIOUS = "previous"
    NEXT = "next"


class BelowMinimum(StrEnum):
    """What becomes of a payout below the minimum."""

    CARRY_OVER = "carry_over"
    """繰越: it goes into the next one, for a year at most."""
    BEAR_FEE = "bear_fee"
    """It is paid, and the merchant bears the transfer fee."""
    PAY = "pay"


class Bearer(StrEnum):
    """Who bears the transfer fee (振込手数料)."""

    MERCHANT = "merchant"
    PLATFORM = "platform"


class PayoutRule(Message):
    """The payout day (入金日) of a cycle, before the shift over holidays.

    Monthly: `day` of the month that lies `months_after` the cycle's (31: its last day). Weekly and daily: `days_after`
    its last day. Twice a month needs none of them: 1st–15th at the month's end, 16th–end on the next 15th.
    """

    months_after: Annotated[int, msgspec.Meta(ge=0, le=6)] = 1
    day: Annotated[int, msgspec.Meta(ge=1, le=31)] = 31
    days_after: Annotated[int, msgspec.Meta(ge=1, le=60)] | None = None


class SettlementTermsOf(Message):
    """Up to 1,000 merchants, as of the end of a day (Asia/Tokyo)."""

    merchant_ids: Annotated[list[MerchantId], msgspec.Meta(max_length=QUESTIONS_MAX)]
    on: date


class SettlementTerms(Message):
    """How a merchant is paid, as of the last instant of the day asked about."""

    merchant_id: str
    name: str
    state: MerchantState
    cycle: Cycle
    cycle_day: int | None
    """Of a weekly cycle: the weekday that ends it, 0 (Monday) to 6."""
    payout: PayoutRule
    holiday: Holiday
    minimum_minor: int
    below_minimum: BelowMinimum
    transfer_fee_minor: int
    transfer_fee_borne_by: Bearer
    instruct_days_before: int
    """Business days before the payout day on which the bank is told."""
    bank_account_id: str | None
    registration_number: str | None
    """Its company's, for qualified invoices; T and 13 digits."""
    closes: bool
    """Whether a cycle of it ends on the day asked about."""
    contract_id: str
    contract_version: int
    payee_id: str
    """Who is paid for it at that instant; itself, where nobody collects for it."""
    as_of: datetime
    """The instant of this answer: the end of the day asked about."""


class SettlementTermsAnswers(Message):
    """Of those that exist and ever had a contract, in the order asked; after a contract's end its rules still pay."""

    answers: list[SettlementTerms]
