"""Settlement by hand: the pure rules of cycles, payouts, offsets and claims over plain dictionaries.

It does what the jobs do, with a ledger of its own; a second, much plainer account (`Till`) is kept beside it, which
knows nothing of cycles: what was sold, taken as fees, paid out, collected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from kessai.foundation.calendar import is_business_day
from kessai.services.settlement.domain.claims import Claim, ClaimPart, settled_by, spoken_for
from kessai.services.settlement.domain.cycles import (
    PayeeTerms,
    ends_on,
    instruct_day_of,
    soonest_pay_day,
)
from kessai.services.settlement.domain.drafting import Draft, OpenSum, claim_id_of, draft
from kessai.services.settlement.domain.offset import offset, offset_total
from kessai.services.settlement.domain.payouts import (
    UNPAID,
    OwnerNet,
    Payout,
    PayoutState,
    Unpaid,
    after_event,
    decided,
    reopened,
    unpaid_for,
    why_held,
    with_offset,
)

NOW = datetime(2025, 1, 1, tzinfo=UTC)
S = PayoutState


@dataclass
class Till:
    """One payee, plainly: yen in, yen out."""

    sold: int = 0
    """Sales and adjustments, less refunds."""
    fees: int = 0
    """Less what was given back."""
    paid: int = 0
    transfer_fees: int = 0
    collected: int = 0


@dataclass
class Day:
    """What one owner sold on a day for a payee."""

    day: date
    net: int


@dataclass
class Office:
    """Every payee's terms, rows and ledger."""

    terms: dict[str, PayeeTerms]
    tills: defaultdict[str, Till] = field(default_factory=lambda: defaultdict(Till))
    rows: defaultdict[str, defaultdict[str, list[Day]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    ledger: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    payouts: dict[str, Payout] = field(default_factory=dict[str, Payout])
    claims: defaultdict[str, list[Claim]] = field(default_factory=lambda: defaultdict(list))
    drafts: defaultdict[str, list[Draft]] = field(default_factory=lambda: defaultdict(list))

    # -- what happens ---------------------------------------------------------------------------------------------

    def sell(self, day: date, owner: str, payee: str, amount: int, fee: int = 0) -> None:
        """Sales (negative: refunds, or an adjustment) with their fee (negative: given back)."""
        self.rows[payee][owner].append(Day(day, amount - fee))
        self.ledger[owner, "unsettled_sales"] += amount - fee
        self.tills[payee].sold += amount
        self.tills[payee].fees += fee

    def cycle(self, day: date) -> None:
        """As settlement.cycle."""
        for payee, terms in self.terms.items():
            if ends_on(terms, day):
                self._cycle(payee, terms, day)

    def _cycle(self, payee: str, terms: PayeeTerms, day: date) -> None:
        owners: list[OpenSum] = []
        for owner, rows in self.rows[payee].items():
            due = [each for each in rows if each.day <= day]
            if due:
                net = sum(each.net for each in due)
                sums = (max(net, 0), max(-net, 0), 0, 0, 0, 0, net)
                first = min(each.day for each in due)
                owners.append(
                    OpenSum(
                        net=OwnerNet(owner_id=owner, net_minor=net), first_day=first, sums=sums, transactions=len(due)
                    )
                )
        unpaid = [
            (
                Unpaid(
                    payout_id=p.payout_id, state=p.state, payable_minor=p.payable_minor, carried_from=p.carried_from
                ),
                0,
            )
            for p in self.payouts.values()
            if p.payee_id == payee and p.state in UNPAID and p.taken_by is None
        ]
        previous = self.drafts[payee][-1].last_day if self.drafts[payee] else None
        found = draft(terms, day, owners, unpaid, previous)
        if found is not None:
            self._write(found, day)

    def _write(self, found: Draft, day: date) -> None:
        self.drafts[found.payee_id].append(found)
        for owner, rows in self.rows[found.payee_id].items():
            self.rows[found.payee_id][owner] = [each for each in rows if each.day > day]
        for payout_id, _ in found.taken:
            self.payouts[payout_id] = replace(self.payouts[payout_id], taken_by=found.payout_id)
        self.payouts[found.payout_id] = Payout(
            payee_id=found.payee_id, payout_id=found.payout_id, cycle_id=found.cycle_id, state=S.MADE, reason=None,
            cleared_minor=found.cleared_minor, carried_minor=found.over.carried_minor,
            failed_minor=found.over.failed_minor, offset_minor=0, payable_minor=0, transfer_fee_minor=0,
            amount_minor=0, claim_minor=0, pay_on=found.pay_on, instruct_on=found.instruct_on, bank_account_id=None,
            payment_id=None, fee_payment_id=None, offset_payment_id=None, carried_from=found.over.carried_from,
            taken_by=None, paid_on=None, version=0, made_at=NOW, updated_at=NOW, last_day=found.last_day,
            shortfall_minor=found.shortfall_minor, terms=found.terms,
        )  # fmt: skip

    def clear(self) -> None:
        """As settlement.clear, of everything that is MADE."""
        for payout in [each for each in self.payouts.values() if each.state is S.MADE]:
            self._clear(payout)

    def _clear(self, payout: Payout) -> None:
        payee = payout.payee_id
        for due in self.drafts[payee][-1].dues:
            sign = 1 if due.kind == "clearing" else -1
            self.ledger[due.owner_id, "unsettled_sales"] -= sign * due.amount_minor
            account = "settled_sales" if sign > 0 else "settled_claims"
            self.ledger[payee, account] += sign * due.amount_minor
        if payout.shortfall_minor:
            claim_id = claim_id_of(payout.cycle_id)
            due_on = payout.last_day + timedelta(days=30)
            self.claims[payee].append(
                Claim(
                    payee_id=payee, claim_id=claim_id, cycle_id=payout.cycle_id, amount_minor=payout.shortfall_minor,
                    due_on=due_on, made_at=NOW,
                )
            )  # fmt: skip
        self._offset(payout)

    def _offset(self, payout: Payout) -> None:
        payee = payout.payee_id
        left = payout.available_minor - payout.offset_minor
        taken = offset(left, [each.open_part for each in self.claims[payee]])
        for each in taken:
            self._take(payee, each.claim_id, each.owed_minor, "offset")
        total = offset_total(taken)
        self.ledger[payee, "settled_sales"] -= total
        self.ledger[payee, "settled_claims"] += total
        payout = decided(with_offset(payout, payout.offset_minor + total, None), payout.terms)
        self.payouts[payout.payout_id] = replace(payout, claim_minor=self.owed(payee))

    def _take(self, payee: str, claim_id: str, amount: int, kind: str) -> None:
        place = next(n for n, each in enumerate(self.claims[payee]) if each.claim_id == claim_id)
        claim = spoken_for(self.claims[payee][place], amount)
        part = ClaimPart(
            payee_id=payee,
            claim_id=claim_id,
            payment_id="",
            kind="offset" if kind == "offset" else "collected",
            amount_minor=amount,
        )
        self.claims[payee][place] = settled_by(claim, part, done=True)

    def pay(self, day: date) -> None:
        """As settlement.payout."""
        for payout in list(self.payouts.values()):
            if payout.state in (S.CLEARED, S.HELD) and payout.instruct_on <= day:
                if self.owed(payout.payee_id) and payout.payable_minor:
                    self._offset(reopened(payout))
                    payout = self.payouts[payout.payout_id]
                if payout.state in (S.CLEARED, S.HELD):
                    self._pay(payout, self.terms[payout.payee_id], day)

    def _pay(self, payout: Payout, terms: PayeeTerms, day: date) -> None:
        if (reason := why_held(terms)) is not None:
            self.payouts[payout.payout_id] = unpaid_for(payout, reason)
            return
        if payout.state is S.HELD:
            payout = self.payouts[payout.payout_id] = decided(payout, terms)
            if payout.state is not S.CLEARED:
                return
        pay_on = soonest_pay_day(terms, payout.pay_on, day)
        assert is_business_day(pay_on)
        assert is_business_day(instruct_day_of(terms, pay_on))
        self.ledger[payout.payee_id, "settled_sales"] -= payout.transfer_fee_minor
        self.tills[payout.payee_id].transfer_fees += payout.transfer_fee_minor
        self.payouts[payout.payout_id] = replace(payout, state=S.INSTRUCTED, pay_on=pay_on)

    def bank(self, payout_id: str, state: PayoutState) -> None:
        """The bank's answer about one payout."""
        was = self.payouts[payout_id]
        after = after_event(was, state, None, was.pay_on)
        if after is None:
            return
        self.payouts[payout_id] = after
        till, account = self.tills[was.payee_id], (was.payee_id, "settled_sales")
        if state is S.PAID:
            self.ledger[account] -= was.amount_minor
            till.paid += was.amount_minor
            return
        if was.state is S.PAID:
            self.ledger[account] += was.amount_minor
            till.paid -= was.amount_minor
        self.ledger[account] += was.transfer_fee_minor
        till.transfer_fees -= was.transfer_fee_minor

    def repay(self, payee: str, amount: int) -> None:
        """A payee pays back as much of what it owes, the oldest claim first."""
        for each in offset(amount, [claim.open_part for claim in self.claims[payee]]):
            self._take(payee, each.claim_id, each.owed_minor, "collected")
            self.ledger[payee, "settled_claims"] += each.owed_minor
            self.tills[payee].collected += each.owed_minor

    # -- what must hold -------------------------------------------------------------------------------------------

    def owed(self, payee: str) -> int:
        """What a payee still owes."""
        return sum(each.owed_minor for each in self.claims[payee])

    def waiting(self, payee: str) -> int:
        """What was cleared for a payee and not paid, carried over and on its way included."""
        return sum(
            each.amount_minor if each.state is S.INSTRUCTED else each.payable_minor
            for each in self.payouts.values()
            if each.payee_id == payee and each.taken_by is None and each.state not in (S.PAID, S.NOTHING, S.MADE)
        )

    def unsettled(self, payee: str) -> int:
        """What is in no cycle yet."""
        return sum(each.net for rows in self.rows[payee].values() for each in rows)

    def require_every_yen(self) -> None:
        """Every yen sold = paid out + fees + carried (or on its way) + claimed − collected; and so says the ledger."""
        for payee in self.terms:
            till = self.tills[payee]
            out = till.paid + till.transfer_fees + till.fees
            assert till.sold == out + self.waiting(payee) + self.unsettled(payee) - self.owed(payee) - till.collected
            assert self.ledger[payee, "settled_sales"] == self.waiting(payee) >= 0
            assert self.ledger[payee, "settled_claims"] == -self.owed(payee) <= 0
        unsettled = sum(amount for (_, account), amount in self.ledger.items() if account == "unsettled_sales")
        assert unsettled == sum(self.unsettled(payee) for payee in self.rows)
