"""The payment service's verbs, and the errors of each in order of precedence: one Protocol a family, joined in one.

What moves merchants' money with no customer in it stands under a scope of its own, whichever verb it is asked of.
"""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.payment.api.answers import PaymentHistory, PaymentPage, PaymentRecord, Refund, Refunds
from kessai.services.payment.api.codes import CodePayments
from kessai.services.payment.api.holds import HeldPayments, HoldPayments
from kessai.services.payment.api.merchants import MovedMerchants, MoveMerchants, RepayClaim
from kessai.services.payment.api.orders import NetPayments
from kessai.services.payment.api.refusals import (
    AMOUNT,
    APPROVAL,
    AVAILABLE,
    BANK,
    BUSY,
    CANCEL,
    CANCEL_ERRORS,
    CAPTURE,
    CAPTURE_ERRORS,
    CARD,
    CARD_ACTION,
    CHARGE_ERRORS,
    LEDGER,
    LIMITS,
    REFUND,
    SOURCES,
    TIME,
)
from kessai.services.payment.api.requests import (
    Adjust,
    CancelCharge,
    CancelEscrow,
    CancelPayment,
    CaptureCharge,
    CaptureEscrow,
    CapturePayment,
    ChargeMerchantFee,
    ClearSales,
    CompletePayment,
    CreateCharge,
    CreateEscrow,
    CreatePayment,
    ExchangeFunds,
    GetHistory,
    GetPayment,
    GetRefund,
    GrantIncentive,
    ListPayments,
    ListRefunds,
    PayOut,
    RefundCharge,
    RefundEscrow,
    RefundPayment,
    Repay,
    TopUp,
    Transfer,
    Withdraw,
)
from kessai.services.payment.api.words import SETTLEMENT_MOVE


class Charges(Protocol):
    """加盟店決済: a customer pays a merchant."""

    @verb("POST /v1/charges", scope="payment:write", moves_value=True, status=201,
          errors=CHARGE_ERRORS)  # fmt: skip
    async def create_charge(self, request: CreateCharge, /) -> PaymentRecord:
        """Authorize a customer's payment to a merchant, or sell at once."""
        ...

    @verb("POST /v1/charges/{charge_id}/capture", scope="payment:write", moves_value=True,
          errors=("charge_not_found", *CAPTURE_ERRORS))  # fmt: skip
    async def capture_charge(self, request: CaptureCharge, /) -> PaymentRecord:
        """Capture an authorization, whole or in part."""
        ...

    @verb("POST /v1/charges/{charge_id}/cancel", scope="payment:write", moves_value=True,
          errors=("charge_not_found", *CANCEL_ERRORS))  # fmt: skip
    async def cancel_charge(self, request: CancelCharge, /) -> PaymentRecord:
        """Release an authorization, or what is left of it."""
        ...

    @verb("POST /v1/charges/{charge_id}/refunds", scope="payment:write", moves_value=True, status=201,
          errors=("charge_not_found", *REFUND, "gateway_refused", "account_closed",
                  "insufficient_funds"))  # fmt: skip
    async def refund_charge(self, request: RefundCharge, /) -> Refund:
        """Refund a charge, whole or in part, to its sources in the reverse order of their use."""
        ...


class Escrows(Protocol):
    """エスクロ決済: a marketplace keeps a buyer's money for a seller."""

    @verb("POST /v1/escrows", scope="payment:write", moves_value=True, status=201,
          errors=("same_participant", *CHARGE_ERRORS))  # fmt: skip
    async def create_escrow(self, request: CreateEscrow, /) -> PaymentRecord:
        """Take a buyer's money into a marketplace's account."""
        ...

    @verb("POST /v1/escrows/{escrow_id}/capture", scope="payment:write", moves_value=True,
          errors=("escrow_not_found", *CAPTURE, "fee_above_amount", *LEDGER))  # fmt: skip
    async def capture_escrow(self, request: CaptureEscrow, /) -> PaymentRecord:
        """Pay the seller, less the marketplace's fee."""
        ...

    @verb("POST /v1/escrows/{escrow_id}/cancel", scope="payment:write", moves_value=True,
          errors=("escrow_not_found", *CANCEL, "gateway_refused", "account_closed"))  # fmt: skip
    async def cancel_escrow(self, request: CancelEscrow, /) -> PaymentRecord:
        """Give what was not captured back to the buyer."""
        ...

    @verb("POST /v1/escrows/{escrow_id}/refunds", scope="payment:write", moves_value=True, status=201,
          errors=("escrow_not_found", *REFUND, "insufficient_funds", "gateway_refused", "account_closed"))  # fmt: skip
    async def refund_escrow(self, request: RefundEscrow, /) -> Refund:
        """Give captured value back to the buyer, out of the seller's sales and the marketplace's fee."""
        ...


class Movements(Protocol):
    """Value into, out of and between customers' accounts."""

    @verb("POST /v1/top-ups", scope="payment:write", moves_value=True, status=201,
          errors=("unknown_source", *AMOUNT, "instrument_required", *AVAILABLE, *LIMITS, *LEDGER, *BANK))  # fmt: skip
    async def top_up(self, request: TopUp, /) -> PaymentRecord:
        """Bring money into a customer's funds."""
        ...

    @verb("POST /v1/transfers", scope="payment:write", moves_value=True, status=201,
          errors=("same_participant", *AMOUNT, *LIMITS, *LEDGER))  # fmt: skip
    async def transfer(self, request: Transfer, /) -> PaymentRecord:
        """Send funds from one customer to another."""
        ...

    @verb("POST /v1/withdrawals", scope="payment:write", moves_value=True, status=201,
          errors=(*AMOUNT, *AVAILABLE, *LIMITS, *LEDGER, *BANK))  # fmt: skip
    async def withdraw(self, request: Withdraw, /) -> PaymentRecord:
        """Send funds to a customer's bank account."""
        ...

    @verb("POST /v1/repayments", scope="payment:write", moves_value=True, status=201,
          errors=(*AMOUNT, *SOURCES, *AVAILABLE, *LIMITS, *LEDGER, *BANK))  # fmt: skip
    async def repay(self, request: Repay, /) -> PaymentRecord:
        """Pay a receivable back."""
        ...

    @verb("POST /v1/exchanges", scope="payment:write", moves_value=True, status=201,
          errors=(*AMOUNT, *SOURCES, *TIME, *LIMITS, *LEDGER))  # fmt: skip
    async def exchange(self, request: ExchangeFunds, /) -> PaymentRecord:
        """Move value into or out of a customer's trading account, at once or provisionally."""
        ...

    @verb("POST /v1/incentives", scope="payment:write", moves_value=True, status=201,
          errors=("unknown_source", *AMOUNT, *LIMITS, "expiry_not_allowed", "expires_in_past", "expires_too_far",
                  *LEDGER))  # fmt: skip
    async def grant_incentive(self, request: GrantIncentive, /) -> PaymentRecord:
        """Give a customer points."""
        ...


class MerchantMovements(Protocol):
    """Fees, clearings, payouts and claims of merchants, and operators' corrections."""

    @verb("POST /v1/merchant-fees", scope=SETTLEMENT_MOVE, moves_value=True, status=201,
          errors=(*AMOUNT, *LEDGER))  # fmt: skip
    async def charge_merchant_fee(self, request: ChargeMerchantFee, /) -> PaymentRecord:
        """Take a fee from a merchant's unsettled sales."""
        ...

    @verb("POST /v1/clearings", scope=SETTLEMENT_MOVE, moves_value=True, status=201,
          errors=(*AMOUNT, *LEDGER))  # fmt: skip
    async def clear_sales(self, request: ClearSales, /) -> PaymentRecord:
        """Make unsettled sales settled."""
        ...

    @verb("POST /v1/payouts", scope=SETTLEMENT_MOVE, moves_value=True, status=201,
          errors=("malformed_id", *AMOUNT, *AVAILABLE, "idempotency_key_reused", *LEDGER, *BANK))  # fmt: skip
    async def pay_out(self, request: PayOut, /) -> PaymentRecord:
        """Send settled sales to a merchant's bank account, at once or on a day."""
        ...

    @verb("POST /v1/claim-repayments", scope=SETTLEMENT_MOVE, moves_value=True, status=201,
          errors=("debit_day_misplaced", "unknown_source", "approval_required", *AMOUNT, "instrument_required",
                  *AVAILABLE, *APPROVAL, *LEDGER, *BANK))  # fmt: skip
    async def repay_claim(self, request: RepayClaim, /) -> PaymentRecord:
        """Pay back what a merchant owes the platform."""
        ...

    @verb("POST /v1/merchant-movements", scope=SETTLEMENT_MOVE, moves_value=True, batch=True)
    async def move_merchants(self, request: MoveMerchants, /) -> MovedMerchants:
        """Fees, clearings and the like of many merchants at once; each is refused by itself, and said so in its place.

        Refusals of a movement, in order of precedence: `unknown_kind`, `kind_not_in_bulk`, `malformed_id`,
        `counterpart_not_allowed`, `amount_above_limit`, `idempotency_key_reused` (the id came with other content), then
        the ledger's.
        """
        ...

    @verb("POST /v1/adjustments", scope="payment:write", moves_value=True, status=201,
          errors=("account_not_adjustable", *AMOUNT, *APPROVAL, *LEDGER))  # fmt: skip
    async def adjust(self, request: Adjust, /) -> PaymentRecord:
        """Correct an account, with the approval of a second person."""
        ...


class AnyPayments(Protocol):
    """What is the same for payments of every kind."""

    @verb("POST /v1/payments", scope="payment:write", moves_value=True, status=201,
          errors=("unknown_kind", "kind_has_own_verb", "participant_missing", "same_participant",
                  "counterpart_not_allowed", *AMOUNT, *SOURCES, *TIME, *LIMITS, *LEDGER))  # fmt: skip
    async def create_payment(self, request: CreatePayment, /) -> PaymentRecord:
        """Make a payment of a kind that is known by its declaration alone."""
        ...

    @verb("POST /v1/holds", scope="payment:write", moves_value=True, batch=True,
          errors=("unknown_kind", "kind_not_in_bulk"))  # fmt: skip
    async def hold_payments(self, request: HoldPayments, /) -> HeldPayments:
        """Authorize payments of many customers at once; each is refused by itself, and said so in its place.

        Refusals of a hold, in order of precedence: `malformed_id`, `amount_above_limit`, `idempotency_key_reused` (the
        id came with other content), then the ledger's.
        """
        ...

    @verb("POST /v1/payments/{payment_id}/capture", scope="payment:write", moves_value=True,
          errors=("payment_not_found", "action_not_allowed", *CAPTURE, *CARD_ACTION))  # fmt: skip
    async def capture_payment(self, request: CapturePayment, /) -> PaymentRecord:
        """Capture a provisional payment, whole or in part."""
        ...

    @verb("POST /v1/payments/{payment_id}/cancel", scope="payment:write", moves_value=True,
          errors=("payment_not_found", "action_not_allowed", *CANCEL))  # fmt: skip
    async def cancel_payment(self, request: CancelPayment, /) -> PaymentRecord:
        """Release what a payment holds, or give up one that waits for an action."""
        ...

    @verb("POST /v1/payments/{payment_id}/refunds", scope="payment:write", moves_value=True, status=201,
          errors=("payment_not_found", "action_not_allowed", *REFUND, "gateway_refused", "account_closed",
                  "insufficient_funds"))  # fmt: skip
    async def refund_payment(self, request: RefundPayment, /) -> Refund:
        """Refund a payment, whole or in part."""
        ...

    @verb("POST /v1/payments/{payment_id}/complete", scope="payment:write", moves_value=True,
          errors=("payment_not_found", *BUSY, "payment_not_waiting", "action_pending", "authorization_expired",
                  *CARD, "insufficient_funds"))  # fmt: skip
    async def complete_payment(self, request: CompletePayment, /) -> PaymentRecord:
        """Go on with a payment that waited for an action outside."""
        ...


class Lookups(Protocol):
    """Whatever a product reads of payments."""

    @verb("GET /v1/payments/{payment_id}", scope="payment:read", errors=("payment_not_found",))
    async def get_payment(self, request: GetPayment, /) -> PaymentRecord:
        """A payment of any kind."""
        ...

    @verb("GET /v1/payments", scope="payment:read", errors=("bad_cursor",))
    async def list_payments(self, request: ListPayments, /) -> PaymentPage:
        """Payments by customer, merchant, reference or time, newest first."""
        ...

    @verb("GET /v1/payments/{payment_id}/history", scope="payment:read", errors=("payment_not_found",))
    async def get_history(self, request: GetHistory, /) -> PaymentHistory:
        """Every step of a payment, with its time."""
        ...

    @verb("GET /v1/payments/{payment_id}/refunds", scope="payment:read", errors=("payment_not_found",))
    async def list_refunds(self, request: ListRefunds, /) -> Refunds:
        """The refunds of a payment."""
        ...

    @verb("POST /v1/payments/effects", scope="payment:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The payments and refunds of some processings, as whoever asked for them should know them."""
        ...

    @verb("GET /v1/refunds/{refund_id}", scope="payment:read", errors=("refund_not_found",))
    async def get_refund(self, request: GetRefund, /) -> Refund:
        """A refund."""
        ...


class Payment(
    Charges, Escrows, Movements, MerchantMovements, AnyPayments, Lookups, CodePayments, NetPayments, Protocol
):
    """決済処理: every movement of value between participants."""
