"""What the sagas of a payment are started with. Everything that could differ on a replay is decided beforehand."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from kessai.foundation.contract import Message
from kessai.foundation.ids import bare, derived_hex
from kessai.services.payment.api import Action, Funding, PaymentRecord, Refund
from kessai.services.payment.domain import Landed, given_back, shared_fee


class LegPair(Message, frozen=True):
    """A second movement that goes along with a part, or with the whole amount."""

    from_owner: str
    from_account_type: str
    to_owner: str
    to_account_type: str


class SourceLeg(Message, frozen=True):
    """One source of an order, and the name by which the payment tells it."""

    name: str
    owner: str
    account_type: str
    amount_minor: int
    balancing: bool
    least_minor: int = 0
    optional: bool = False
    """Left out when there is no such account."""
    along: LegPair | None = None
    surplus_account_types: list[str] = []
    """Where goes back what can no longer be taken back along: the first of the owner's accounts that there is."""


class Outside(Message, frozen=True):
    """Who brings value in from outside, or takes it there."""

    gateway: str
    """card, bank or cash"""
    owner_id: str
    """Whose card or bank account it must be."""
    source: str = ""
    """The source that it stands for; empty: the payee."""
    instrument_id: str | None = None
    return_url: str | None = None


class ApprovalUse(Message, frozen=True):
    """The approval that a payment uses up."""

    approval_id: str
    subject: str
    action: str
    content_sha256: str


class FeeLeg(Message, frozen=True):
    """A fee on top."""

    owner: str
    account_type: str
    amount_minor: int


class Order(Message, frozen=True):
    """A new payment and how to move its value."""

    payment: PaymentRecord
    sources: list[SourceLeg]
    payee_account_type: str
    capture: bool
    caller: str
    split: bool = False
    """The parts are to be decided on what is available, before the ledger is asked."""
    outside: Outside | None = None
    along: LegPair | None = None
    fee: FeeLeg | None = None
    parks: bool = False
    """The payee keeps the value for somebody else: taken at once, AUTHORIZED until it is paid on."""
    held_until: datetime | None = None
    """When the ledger lets go of what is held; None: with the payment."""
    act_by: datetime | None = None
    """Until when the customer may act where that is asked for; None: as long as it takes."""
    lot_expires_at: datetime | None = None
    """Of points that are given."""
    approval: ApprovalUse | None = None
    final: bool = True
    """A refusal is final; False where another split may be tried."""
    owed: bool = False
    """The money was taken outside already: what the ledger refuses is an operator's case, never a refusal."""

    @property
    def pays_out(self) -> bool:
        """Whether the bank takes the value outside."""
        return self.outside is not None and not self.outside.source


class Task(Message, frozen=True):
    """An action on a payment that is claimed for it; `payment` is as it was right after the claim."""

    payment: PaymentRecord
    action: Action
    amount_minor: int
    action_id: str
    """`act_…` for the ledger."""
    caller: str
    processing_id: str
    final: bool = True
    refund: Refund | None = None
    parts: dict[str, int] = {}
    """What of the amount each source gives or gets; empty: there is one source, inside, with nothing along."""
    rest: dict[str, int] = {}
    """Of the last capture of an escrow: what goes back to each source."""
    routes: list[SourceLeg] = []
    """The accounts behind the names in `parts`."""
    payee_account_type: str = ""
    beneficiary_account_type: str | None = None
    """Of an escrow."""
    outside: Outside | None = None
    fee_minor: int = 0
    """Of the amount of an escrow: what stays with, or is given back by, the marketplace."""
    code: str | None = None
    """Why the bank failed or returned it."""

    @property
    def parks(self) -> bool:
        """Whether it is an escrow."""
        return self.beneficiary_account_type is not None

    def outside_part(self) -> int:
        """What of the amount lies on a card."""
        return self.parts.get(self.outside.source, 0) if self.on_card and self.outside else 0

    @property
    def on_card(self) -> bool:
        """Whether a card takes part."""
        return self.outside is not None and self.outside.gateway == "card"

    def back_after(self, settled: Settled) -> dict[str, int]:
        """What went back to each source: all of the parts, or only the card's where the rest was refused."""
        parts = self.parts or {part.source: self.amount_minor for part in self.payment.funding[:1]}
        if settled.code is None:
            return parts
        return {source: part for source, part in parts.items() if self.outside and source == self.outside.source}

    def kept_again(self) -> int:
        """Of an escrow's refund of which only the card's part went back: what the seller had given too much."""
        payment, part = self.payment, self.outside_part()
        total, before = payment.captured_minor, payment.refunded_minor
        gone = shared_fee(payment.fee_minor, total, before, 0)
        kept = part - shared_fee(payment.fee_minor, total, before + part, gone)
        return max(0, self.amount_minor - self.fee_minor - kept)

    def funding_after(self, settled: Settled) -> list[Funding]:
        """The payment's funding after that."""
        return given_back(self.payment, self.back_after(settled), parks=self.parks)

    def turned(self) -> Task:
        """The rest of an escrow as a task of its own: to be given back."""
        back = sum(self.rest.values())
        return replace(self, action=Action.CANCEL, parts=self.rest, rest={}, amount_minor=back, fee_minor=0)


class Settled(Message, frozen=True):
    """What the ledger answered, as far as the payment needs it."""

    funding: tuple[Funding, ...] = ()
    expired: bool = False
    """Nothing was held any more: the ledger had let it expire."""
    code: str | None = None
    """Why only part of it was done."""
    exchange_id: str | None = None
    """A further exchange that was made for it."""
    surplus: dict[str, Landed] = {}
    """Of a source's part, what landed elsewhere because what went along was not owed any more."""


class Available(Message, frozen=True):
    """What an owner's accounts can give, by account type."""

    amounts: dict[str, int]


class Elsewhere(Message, frozen=True):
    """What somebody outside answered."""

    url: str | None = None
    """Where to send the customer first (3-D Secure)."""


# -- ids: each effect has its own, fixed before it is attempted ---------------------------------------------------


def authorization_id_of(payment_id: str) -> str:
    """The card authorization of a payment."""
    return f"cau_{bare(payment_id)}"


def card_operation_id_of(*parts: str) -> str:
    """An operation on a payment's card authorization."""
    return f"cop_{derived_hex('card', *parts)}"


def debit_id_of(payment_id: str) -> str:
    """The bank debit of a payment."""
    return f"bdb_{bare(payment_id)}"


def transfer_id_of(payment_id: str) -> str:
    """The bank transfer of a payment."""
    return f"btr_{bare(payment_id)}"


def exchange_id_of(*parts: str) -> str:
    """A further ledger exchange of a payment."""
    return f"exc_{derived_hex('exchange', *parts)}"


def cash_code_of(payment_id: str) -> str:
    """The number under which cash is paid in at a till: 13 digits."""
    return f"{int(bare(payment_id), 16) % 10**13:013d}"
