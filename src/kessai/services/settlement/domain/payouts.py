"""Payouts (入金): what a cycle comes to, and whether it is paid, carried over or held. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from kessai.foundation.calendar import months_after
from kessai.services.settlement.domain.cycles import BelowMinimum, PayeeTerms, next_last_day

CARRY_MONTHS_MAX = 12
"""Carry-over ends after a year at the latest."""
MOVED_MINOR_MAX = 9_999_999_999
"""What one payment moves at most: the amount of a transfer has ten digits (総合振込)."""
PAYABLE_STATES = frozenset({"active", "closed"})
"""A merchant in any other state is not paid: what it is owed is held."""
FROZEN = "account_frozen"
"""A refusal that may pass, as the ledger says it."""
OPERATOR = "operator"
"""Of a reason: an operator holds it, and only an operator lets it go."""
OWED = "claims_open"
"""Of a payout that is MADE again: claims have come up since it was decided."""


PAID_AFTER_ALL = "paid_after_all"
FEE_BACK, FEE_ASKED, FEE_REFUSED = "transfer_fee_given_back", "transfer_fee_asked", "transfer_fee_refused"
"""Of one that was paid after all: its fee has gone back meanwhile; it is asked for again; that was refused."""
"""Of a payout that was FAILED, and that the bank has paid none the less."""


class PayoutState(StrEnum):
    """Where a payout stands."""

    MADE = "MADE"
    """Its cycle is summed; the ledger has not moved yet."""
    CLEARED = "CLEARED"
    """The sales are settled, claims are offset, and it waits for its day."""
    HELD = "HELD"
    CARRIED_OVER = "CARRIED_OVER"
    NOTHING = "NOTHING"
    """There is nothing to pay."""
    INSTRUCTED = "INSTRUCTED"
    PAID = "PAID"
    FAILED = "FAILED"
    RETURNED = "RETURNED"


UNPAID = (PayoutState.CARRIED_OVER, PayoutState.FAILED, PayoutState.RETURNED)
"""States whose money a later payout takes over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerNet:
    """What one owner's daily summaries of a cycle come to."""

    owner_id: str
    net_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A clearing (売上確定) or shortfall (赤残確定) of one owner."""

    owner_id: str
    kind: str
    amount_minor: int
    part: int = 0
    """Of several, where it is more than one payment moves."""


def dues(nets: Iterable[OwnerNet]) -> list[Due]:
    """What has to move so that nobody's sales of the cycle stay unsettled."""
    return [
        Due(
            owner_id=each.owner_id,
            kind="clearing" if each.net_minor > 0 else "shortfall",
            amount_minor=amount,
            part=part,
        )
        for each in nets
        for part, amount in enumerate(in_parts(abs(each.net_minor)))
    ]


def in_parts(amount_minor: int) -> list[int]:
    """An amount in as few parts as can be moved, as even as they can be; nothing has no parts."""
    if not amount_minor:
        return []
    count = -(-amount_minor // MOVED_MINOR_MAX)
    each, left = divmod(amount_minor, count)
    return [each + 1] * left + [each] * (count - left)


def total_of(found: Iterable[Due], kind: str) -> int:
    """What the dues of a kind come to."""
    return sum(each.amount_minor for each in found if each.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpaid:
    """An earlier payout that was not paid."""

    payout_id: str
    state: PayoutState
    payable_minor: int
    carried_from: date


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """What a payout takes over of earlier ones."""

    carried_minor: int
    failed_minor: int
    carried_from: date
    """The last day of the oldest cycle whose money is in it."""


def taken_over(unpaid: Sequence[Unpaid], last_day: date) -> TakenOver:
    """The sum of what earlier payouts left."""
    carried = [each for each in unpaid if each.state is PayoutState.CARRIED_OVER]
    failed = [each for each in unpaid if each.state is not PayoutState.CARRIED_OVER]
    return TakenOver(
        carried_minor=sum(each.payable_minor for each in carried),
        failed_minor=sum(each.payable_minor for each in failed),
        carried_from=min((each.carried_from for each in unpaid), default=last_day),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One payout of a cycle: its only one, unless the cycle comes to more than one transfer moves."""

    part: int
    cleared_minor: int
    carried_minor: int
    failed_minor: int


def shares(cleared_minor: int, over: TakenOver) -> list[Share]:
    """What a cycle's payouts are made of: first what was left by earlier ones, then what it cleared itself."""
    found: list[Share] = []
    carried, failed = over.carried_minor, over.failed_minor
    for part, room in enumerate(in_parts(cleared_minor + carried + failed) or [0]):
        from_carried = min(carried, room)
        from_failed = min(failed, room - from_carried)
        carried, failed = carried - from_carried, failed - from_failed
        found.append(
            Share(
                part=part,
                cleared_minor=room - from_carried - from_failed,
                carried_minor=from_carried,
                failed_minor=from_failed,
            )
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of what is payable."""

    state: PayoutState
    reason: str | None = None
    transfer_fee_minor: int = 0
    amount_minor: int = 0
    """What is transferred."""


def decide(payable_minor: int, terms: PayeeTerms, *, carried_from: date, last_day: date) -> Decision:
    """Pay, carry over, hold or nothing, for a cycle that ended on `last_day`."""
    if payable_minor == 0:
        return Decision(state=PayoutState.NOTHING)
    if (reason := why_held(terms)) is not None:
        return Decision(state=PayoutState.HELD, reason=reason)
    small = payable_minor < terms.minimum_minor
    may_wait = may_carry_over(terms, carried_from, last_day)
    if small and terms.below_minimum is BelowMinimum.CARRY_OVER and may_wait:
        return Decision(state=PayoutState.CARRIED_OVER, reason="below_minimum")
    bears = terms.merchant_bears_fee or (small and terms.below_minimum is BelowMinimum.BEAR_FEE)
    fee = terms.transfer_fee_minor if bears else 0
    if payable_minor <= fee:
        if may_wait:
            return Decision(state=PayoutState.CARRIED_OVER, reason="below_transfer_fee")
        fee = 0  # nothing would be left of it, and it may wait no longer: the platform bears the fee
    return Decision(state=PayoutState.CLEARED, transfer_fee_minor=fee, amount_minor=payable_minor - fee)


def why_held(terms: PayeeTerms) -> str | None:
    """Why a payee cannot be paid now; None when it can."""
    if terms.state not in PAYABLE_STATES:
        return f"merchant_{terms.state}"
    return "no_bank_account" if terms.bank_account_id is None else None


def may_carry_over(terms: PayeeTerms, carried_from: date, last_day: date) -> bool:
    """Whether the next cycle still ends within a year of the oldest money."""
    if terms.closing:
        return False
    return next_last_day(terms, last_day) <= months_after(carried_from, CARRY_MONTHS_MAX)


def needs_cycle(over: TakenOver, terms: PayeeTerms, last_day: date, *, sold: bool) -> bool:
    """Whether a payee has a cycle on a day: it sold, a transfer to it failed, or what was carried over is due now."""
    if sold or over.failed_minor:
        return True
    if not over.carried_minor:
        return False
    found = decide(over.carried_minor, terms, carried_from=over.carried_from, last_day=last_day)
    return found.state is not PayoutState.CARRIED_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """A payout as it is stored, with its cycle's last day and terms."""

    payee_id: str
    payout_id: str
    """32 hexadecimal digits, as `cycle_id`."""
    cycle_id: str
    state: PayoutState
    reason: str | None
    cleared_minor: int
    carried_minor: int
    failed_minor: int
    offset_minor: int
    payable_minor: int
    transfer_fee_minor: int
    amount_minor: int
    claim_minor: int
    pay_on: date
    instruct_on: date
    bank_account_id: str | None
    payment_id: str | None
    fee_payment_id: str | None
    offset_payment_id: str | None
    carried_from: date
    taken_by: str | None
    paid_on: date | None
    version: int
    made_at: datetime
    updated_at: datetime
    last_day: date
    shortfall_minor: int
    terms: PayeeTerms

    @property
    def key(self) -> tuple[str, str]:
        """Its primary key."""
        return self.payee_id, self.payout_id

    @property
    def available_minor(self) -> int:
        """What it could pay, were nothing offset."""
        return self.cleared_minor + self.carried_minor + self.failed_minor

    @property
    def held_by_operator(self) -> bool:
        """Whether only an operator lets it go."""
        return self.state is PayoutState.HELD and (self.reason or "").startswith(OPERATOR)


def with_offset(payout: Payout, offset_minor: int, payment_id: str | None) -> Payout:
    """The payout with so much offset."""
    payable = payout.available_minor - offset_minor
    return replace(payout, offset_minor=offset_minor, payable_minor=payable, offset_payment_id=payment_id)


def reopened(payout: Payout) -> Payout:
    """The payout MADE again, because something is owed by now: it is offset and decided anew."""
    return replace(
        payout,
        state=PayoutState.MADE,
        reason=OWED,
        transfer_fee_minor=0,
        amount_minor=0,
        offset_payment_id=None,
    )


def decided(payout: Payout, terms: PayeeTerms) -> Payout:
    """The payout with what becomes of what is payable."""
    found = decide(payout.payable_minor, terms, carried_from=payout.carried_from, last_day=payout.last_day)
    return replace(
        payout,
        state=found.state,
        reason=found.reason,
        transfer_fee_minor=found.transfer_fee_minor,
        amount_minor=found.amount_minor,
        bank_account_id=terms.bank_account_id,
    )


def unpaid_for(payout: Payout, reason: str) -> Payout:
    """The payout held for a reason: nothing of it is to be transferred."""
    return replace(payout, state=PayoutState.HELD, reason=reason, transfer_fee_minor=0, amount_minor=0)


def refused(payout: Payout, code: str | None, *, fee_taken: bool) -> Payout:
    """The payout after its transfer, or the fee before it, was refused: FAILED, and so in the next payout.

    One whose account is frozen is HELD instead, and tried again, unless a fee has been taken that must go back first.
    """
    if code == FROZEN and not fee_taken:
        return unpaid_for(payout, FROZEN)
    return replace(payout, state=PayoutState.FAILED, reason=code or "refused")


def after_event(payout: Payout, state: PayoutState, reason: str | None, on: date) -> Payout | None:
    """The payout after what the payment service tells; None when that is known, or out of date.

    One that was FAILED and is paid after all is PAID, as long as no later payout has taken it over; one that was taken
    over stays as it is, and says so.
    """
    if state is PayoutState.PAID and payout.state is PayoutState.FAILED and payout.reason != PAID_AFTER_ALL:
        if payout.taken_by is not None:
            return replace(payout, reason=PAID_AFTER_ALL)
        return replace(payout, state=state, reason=PAID_AFTER_ALL, paid_on=on)
    before = {
        PayoutState.PAID: (PayoutState.INSTRUCTED,),
        PayoutState.FAILED: (PayoutState.INSTRUCTED,),
        PayoutState.RETURNED: (PayoutState.PAID, PayoutState.INSTRUCTED),
    }
    if payout.state not in before[state]:
        return None
    if state is PayoutState.FAILED:
        return refused(payout, reason, fee_taken=payout.transfer_fee_minor > 0)
    paid_on = on if state is PayoutState.PAID else payout.paid_on
    return replace(payout, state=state, reason=reason, paid_on=paid_on)


def charging_again(payout: Payout, fee_payment_id: str) -> Payout:
    """A payout that was paid after all while its transfer fee is asked for once more, as another payment."""
    return replace(payout, reason=f"{PAID_AFTER_ALL}:{FEE_ASKED}", fee_payment_id=fee_payment_id)


def charged_again(payout: Payout, code: str | None, *, done: bool) -> Payout:
    """The same once that was answered; what was refused says so for good."""
    return replace(payout, reason=PAID_AFTER_ALL if done else f"{PAID_AFTER_ALL}:{FEE_REFUSED}:{code}")


def paid_twice(payout: Payout, earlier_id: str) -> Payout | None:
    """The payout held for an operator, because one that it took over was paid after all; None: it is too late."""
    if payout.state not in (PayoutState.CLEARED, PayoutState.HELD) or payout.held_by_operator:
        return None
    return unpaid_for(payout, f"{OPERATOR}:{PAID_AFTER_ALL}:spo_{earlier_id}")


def released(payout: Payout, reason: str) -> Payout:
    """The payout that an operator let go: decided anew, and held still where something else is in its way."""
    after = decided(payout, payout.terms)
    return replace(after, reason=reason) if after.state is PayoutState.CLEARED else after
