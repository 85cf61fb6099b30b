"""Ids that follow from what they are for, so that asking twice asks for the same. Pure."""

from __future__ import annotations

from uuid import UUID

from kessai.foundation.ids import derived_hex

SERVICE = "settlement"
REFUND = "refund"
"""The kind of a movement that gives a part of another one back."""
PREFIXES = {
    "merchant_fee": "mfe",
    "merchant_fee_exempt": "mfx",
    "clearing": "clr",
    "shortfall": "sho",
    "claim_offset": "cof",
    "transfer_fee": "tfe",
    "payout": "pyo",
    REFUND: "rfd",
}
"""How ids of each kind begin: the payment service's, and our own for refunds."""
_KINDS = {prefix: kind for kind, prefix in PREFIXES.items()}


def payment_id_of(kind: str, *subject: str) -> str:
    """The payment that always stands for the same subject: `clr_…` of a payee's cycle and owner."""
    return f"{PREFIXES[kind]}_{derived_hex(SERVICE, kind, *subject)}"


def kind_of(payment_id: str) -> str:
    """The kind of a payment that was named here."""
    return _KINDS[payment_id[:3]]


def derived_id(*subject: str) -> UUID:
    """The id that always stands for the same subject."""
    return UUID(hex=derived_hex(SERVICE, *subject))
