"""Merchants' inner movements in bulk, and the repayment of what a merchant owes (精算済み債権)."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar

import msgspec

from kessai.foundation.contract import AmountMinor, Asset, Label, Message, Reference
from kessai.services.payment.api.requests import Told
from kessai.services.payment.api.words import Id, Participant, PaymentState

MOVEMENTS_MAX = 500
"""Movements of one call."""


class MerchantMovement(Message):
    """One movement between a merchant's accounts, or between a merchant's and the platform's, under an id of its own.

    The same id with the same content is the same movement, in whichever call it comes.
    """

    payment_id: Id
    """Chosen by the caller: the kind's prefix and 32 hexadecimal digits, such as `mfe_…` of a fee."""
    kind: Label
    """One that is declared with `batch = true`."""
    merchant_id: Participant
    """The payer; the payee where the payer is internal."""
    amount_minor: AmountMinor
    counterpart_id: Participant | None = None
    """Another merchant on the other side, where the kind allows one; None: the same merchant, or the kind's own."""
    reference: Reference | None = None


class MoveMerchants(Message):
    """Up to 500 movements, each of which stands or falls by itself; they share one processing."""

    movements: Annotated[list[MerchantMovement], msgspec.Meta(min_length=1, max_length=MOVEMENTS_MAX)]


class MovementOutcome(Message):
    """What became of one movement."""

    payment_id: str
    state: PaymentState
    """CAPTURED, or REFUSED; of one that another call is still at, PENDING or UNKNOWN: ask again with the same id."""
    code: str | None = None
    """Why it was refused."""


class MovedMerchants(Message):
    """One outcome a movement, in the order in which they were asked for."""

    outcomes: list[MovementOutcome]


class RepayClaim(Told):
    """A merchant pays back what it owes (精算済み債権): money that has arrived, or by bank debit."""

    appended: ClassVar = ("debit_on",)

    merchant_id: Participant
    amount_minor: AmountMinor
    asset: Asset = "JPY"
    source: Label = "bank_deposit"
    """`bank_deposit`: it has arrived in our account; `bank_debit`: it is to be debited."""
    instrument_id: Id | None = None
    """The merchant's bank account, of a debit."""
    approval_id: Id | None = None
    """Of what is said to have arrived: an approval of this very content. Settlement's own repayments need none."""
    debit_on: date | None = None
    """Of a debit: the business day on which the bank is to make it, with a file (口座振替); None: at once, online."""
