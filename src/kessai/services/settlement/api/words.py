"""Words that all parts of the settlement door share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

OwnerId = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
"""Whose accounts the ledger keeps: a merchant's own id, or an id that the merchant master maps to it."""
Cursor = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
CycleId = Annotated[str, msgspec.Meta(pattern=r"^cyc_[0-9a-f]{32}$")]
PayoutId = Annotated[str, msgspec.Meta(pattern=r"^spo_[0-9a-f]{32}$")]
ClaimId = Annotated[str, msgspec.Meta(pattern=r"^clm_[0-9a-f]{32}$")]
ApprovalId = Annotated[str, msgspec.Meta(pattern=r"^apv_[0-9a-f]{32}$")]


class TransactionKind(StrEnum):
    """What a transaction is to the merchant."""

    SALE = "sale"
    REFUND = "refund"
    FEE = "fee"
    FEE_REFUND = "fee_refund"
    ADJUSTMENT = "adjustment"


class TransactionState(StrEnum):
    """Where a transaction stands."""

    RECORDED = "RECORDED"
    HELD = "HELD"
    """It was looked at and does not settle yet: see its reason."""
    RECONCILED = "RECONCILED"
    """It was proved, and settles on its day."""


class FeeState(StrEnum):
    """Where a fee stands."""

    DUE = "DUE"
    ASKED = "ASKED"
    """The payment service is being asked."""
    ISSUED = "ISSUED"
    REFUSED = "REFUSED"
    """Its payment was refused; the next day's run asks anew."""
    NOTHING = "NOTHING"
    """It came to nothing: there is no payment."""
