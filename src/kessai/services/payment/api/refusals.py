"""Codes that verbs of this door share, each family in order of precedence."""

from __future__ import annotations

LEDGER = (
    "unknown_account_type", "account_not_found", "account_closed", "account_frozen", "insufficient_funds",
    "spending_cap_exceeded", "retention_cap_exceeded", "balance_overflow",
)  # fmt: skip
AMOUNT = ("wrong_asset", "amount_above_limit")
APPROVAL = ("approvals_not_available", "approval_not_found", "approval_content_differs", "approval_consumed",
            "approval_not_approved", "approval_expired")  # fmt: skip
LIMITS = ("daily_limit_exceeded", "monthly_limit_exceeded", "pending_above_cap")
SOURCES = ("unknown_source", "duplicate_source", "too_many_outside_sources", "source_not_accepted",
           "instrument_required", "amount_below_source_minimum", "sources_below_amount")  # fmt: skip
AVAILABLE = ("source_not_available",)
TIME = ("expires_without_authorization", "expires_in_past", "expires_too_late")
CARD = ("card_not_found", "card_removed", "card_gateway_unavailable", "card_declined", "card_expired",
        "card_lost_or_stolen", "limit_exceeded", "authentication_required", "authentication_failed",
        "gateway_refused", "gave_up")  # fmt: skip
BANK = ("bank_account_not_found", "bank_account_removed", "bank_account_of_another", "bank_account_frozen",
        "debits_not_agreed", "not_a_business_day", "bank_not_instructed")  # fmt: skip
BUSY = ("payment_unresolved", "payment_busy")
CAPTURE = (*BUSY, "already_captured", "charge_not_authorized", "authorization_expired", "capture_above_authorized",
            "captures_exhausted")  # fmt: skip
CANCEL = (
    *BUSY,
    "waiting_for_bank",
    "already_canceled",
    "already_captured",
    "charge_not_authorized",
    "authorization_expired",
)
REFUND = (*BUSY, "charge_not_captured", "refund_above_captured", "refunds_exhausted")
CARD_ACTION = ("authorization_not_authorized", "gateway_refused")
CHARGE_ERRORS = (*AMOUNT, *SOURCES, *TIME, *AVAILABLE, *LIMITS, *LEDGER, *CARD)
"""Of a charge, however it comes about."""
CAPTURE_ERRORS = (*CAPTURE, *CARD_ACTION)
"""Of a capture, whatever was authorized."""
CANCEL_ERRORS = CANCEL
"""Of a cancel, whatever was authorized."""
