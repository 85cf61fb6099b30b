"""What a step gave back, so far as its columns do not tell: enough to name every ledger exchange that it made. Pure."""

from __future__ import annotations

from kessai.foundation.contract import Message


class Landed(Message, frozen=True):
    """A surplus that went to an account of the payer's, because what went along was not owed any more."""

    exchange_id: str
    account_type: str
    amount_minor: int


class GivenBack(Message, frozen=True, omit_defaults=True):
    """What went back with a step, and how."""

    exchange_id: str | None = None
    """The reversal of (part of) the payment's exchange; None: nothing went back to the payer."""
    kind: str = ""
    """The reversal's."""
    parts: dict[str, int] = {}
    """What went back to each source."""
    surplus: dict[str, Landed] = {}
    """Of a source's part, what landed elsewhere."""
    taken_back_id: str | None = None
    """Of an escrow: the exchange by which the seller gave its part back."""
    taken_back_minor: int = 0
    paid_again_id: str | None = None
    """The exchange that undid (a part of) that, because less went back to the buyer."""
    paid_again_minor: int = 0
