"""What is asked of the payment service."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Instant, Label, Message, PageLimit, Reference
from kessai.foundation.money import AMOUNT_MINOR_MAX
from kessai.services.payment.api.words import (
    Description,
    Direction,
    Id,
    Metadata,
    Participant,
    PaymentState,
    PointsUse,
    SourceNames,
    Sources,
    Url,
)

FeeMinor = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MINOR_MAX)]


class Told(Message):
    """What a caller may tell of any new payment."""

    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class TopUp(Message, frozen=True):
    """Bring money in: from an internal source, by bank debit, or as cash that is paid later."""

    customer_id: Participant
    source: Label
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}
    instrument_id: Id | None = None
    """The bank account to debit, where the source is one."""


class CreateCharge(Message, frozen=True):
    """A customer pays a merchant: an authorization, or with `capture` a sale at once."""

    customer_id: Participant
    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    sources: Sources = []
    """In the customer's order of preference; each gives what it has, up to its maximum. Empty: the kind's order."""
    capture: bool = False
    expires_at: Instant | None = None
    """When the authorization lapses; None: the kind's own time."""
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}
    points: PointsUse = PointsUse.FIRST
    """Where points come in the kind's own order; of no meaning with `sources`."""
    accepted_sources: SourceNames = []
    """What the merchant accepts; empty: everything. Others are left out of the kind's own order."""
    return_url: Url | None = None
    """Where the customer comes back to from 3-D Secure; without it a card that asks for it is refused."""


class CreateEscrow(Told):
    """A buyer pays into a marketplace, which keeps the money until it is captured for the seller."""

    customer_id: Participant
    """The buyer."""
    marketplace_id: Participant
    """The merchant in whose account the money parks."""
    seller_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    sources: Sources = []
    expires_at: Instant | None = None
    """When what was not captured goes back to the buyer; None: the kind's own time."""
    points: PointsUse = PointsUse.FIRST
    accepted_sources: SourceNames = []
    return_url: Url | None = None


class Transfer(Message, frozen=True):
    """Send funds to another customer."""

    customer_id: Participant
    """Who sends."""
    recipient_id: Participant
    """The customer who receives."""
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = {}


class Withdraw(Told):
    """Send a customer's funds to their bank account; the kind's fee is taken on top."""

    customer_id: Participant
    bank_account_id: Id
    amount_minor: AmountMinor
    asset: Asset = "JPY"


class Repay(Told):
    """Pay a customer's receivable (債権) back: from a balance, by bank debit, or in cash."""

    customer_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    source: Label | None = None
    """None: the kind's own order."""
    instrument_id: Id | None = None


class ExchangeFunds(Told):
    """Move value between a customer's accounts and their trading account (取引口座), N to one or one to one."""

    customer_id: Participant
    direction: Direction
    """IN: into the trading account."""
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    sources: Sources = []
    capture: bool = True
    """False: provisional, until captured or canceled."""
    expires_at: Instant | None = None


class GrantIncentive(Told):
    """Give a customer points, at the cost of an account that bears them."""

    customer_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    cost_bearer: Label = "campaign"
    """A source of the kind."""
    points_expire_at: Instant | None = None
    """None: after the account type's own lifetime."""


class ChargeMerchantFee(Told):
    """Take a fee from a merchant's unsettled sales."""

    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"


class ClearSales(Told):
    """Make a merchant's unsettled sales settled."""

    appended: ClassVar = ("payee_id",)

    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    payee_id: Participant | None = None
    """Another merchant who is paid for it (入金集約); None: the same."""


class PayOut(Told):
    """Send a merchant's settled sales to its bank account."""

    appended: ClassVar = ("pay_on", "payout_id")

    merchant_id: Participant
    bank_account_id: Id
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    pay_on: date | None = None
    """The day on which the bank is to pay; None: at once."""
    payout_id: Id | None = None
    """`pyo_…` chosen by the caller makes the payout idempotent under any key; None: a fresh one."""


class Adjust(Told):
    """Correct an account by an operator's hand; two persons stand for it."""

    owner: Participant
    account_type: Label
    direction: Direction
    """IN: the account gains."""
    amount_minor: AmountMinor
    approval_id: Id
    """An approval of this very content, its own id included: the requester chooses it."""
    asset: Asset = "JPY"


class CreatePayment(Told):
    """A payment of any configured kind that needs nothing but its declaration."""

    kind: Label
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    payer_id: Participant | None = None
    """None where the kind's payer is internal."""
    payee_id: Participant | None = None
    """None where the kind's payee is internal."""
    sources: Sources = []
    capture: bool = True
    expires_at: Instant | None = None


class CaptureCharge(Message, frozen=True):
    """Make an authorization final: what is left of it, or an amount."""

    charge_id: Id
    amount_minor: AmountMinor | None = None
    final: bool = True
    """Release what is left uncaptured; False keeps it for a further capture."""


class CancelCharge(Message, frozen=True):
    """Release what an authorization still holds."""

    charge_id: Id


class RefundCharge(Message, frozen=True):
    """Give captured value back to where it came from: what is left of it, or an amount."""

    charge_id: Id
    amount_minor: AmountMinor | None = None
    reason: Description | None = None


class CaptureEscrow(Message):
    """Pay the seller: what is left of the escrow or an amount, less the marketplace's fee."""

    escrow_id: Id
    amount_minor: AmountMinor | None = None
    fee_minor: FeeMinor = 0
    """Of this amount, what stays with the marketplace."""
    final: bool = True
    """Give the rest back to the buyer; False keeps it for a further capture."""


class CancelEscrow(Message):
    """Give back to the buyer what was not captured."""

    escrow_id: Id


class RefundEscrow(Message):
    """Give captured value back to the buyer; the seller and the marketplace give it in the parts they got."""

    escrow_id: Id
    amount_minor: AmountMinor | None = None
    reason: Description | None = None


class CapturePayment(Message):
    """Capture a provisional payment of any kind that can be captured."""

    payment_id: Id
    amount_minor: AmountMinor | None = None
    final: bool = True


class CancelPayment(Message):
    """Release what a payment of any kind holds, or give up one that waits for an action."""

    payment_id: Id


class RefundPayment(Message):
    """Give captured value of any kind that can be refunded back."""

    payment_id: Id
    amount_minor: AmountMinor | None = None
    reason: Description | None = None


class CompletePayment(Message):
    """What a payment waited for has happened: the customer came back from 3-D Secure, or paid in cash."""

    payment_id: Id


class GetPayment(Message, frozen=True):
    """Which payment, of any kind."""

    payment_id: Id


class ListPayments(Message, frozen=True):
    """A page of payments, newest first; every condition that is given must hold."""

    customer_id: Participant | None = None
    """Who took part, as payer, payee or seller."""
    limit: PageLimit = 50
    cursor: str | None = None
    merchant_id: Participant | None = None
    """Who was paid."""
    reference: Reference | None = None
    kind: Label | None = None
    state: PaymentState | None = None
    created_from: Instant | None = None
    created_before: Instant | None = None


class GetRefund(Message, frozen=True):
    """Which refund."""

    refund_id: Id


class ListRefunds(Message, frozen=True):
    """The refunds of a payment."""

    payment_id: Id


class GetHistory(Message, frozen=True):
    """The steps of a payment."""

    payment_id: Id
