"""Whatever happens: every yen sold = paid out + fees + carried + claimed − collected, by payee and in the ledger."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kessai.foundation.calendar import is_business_day
from kessai.services.settlement.domain.cycles import BelowMinimum, CycleKind, HolidayShift, PayeeTerms
from kessai.services.settlement.domain.payouts import PayoutState
from tests.settlement.office import Office

START = date(2025, 9, 1)
PAYEES = ("mer:p", "mer:q")
CHILDREN = ("mer:a", "mer:b", "mer:c")
S = PayoutState

CONTRACTS = st.fixed_dictionaries(
    {
        "cycle": st.sampled_from(CycleKind),
        "cycle_day": st.integers(0, 6),
        "days_after": st.sampled_from([None, 1, 5]),
        "holiday": st.sampled_from(HolidayShift),
        "minimum_minor": st.sampled_from([0, 1_000, 10_000]),
        "below_minimum": st.sampled_from(BelowMinimum),
        "transfer_fee_minor": st.sampled_from([0, 250]),
        "merchant_bears_fee": st.booleans(),
        "instruct_days_before": st.integers(0, 3),
        "bank_account_id": st.sampled_from(["bac_1", "bac_1", None]),
        "state": st.sampled_from(["active", "active", "active", "suspended", "closed"]),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), st.integers(0, 2), st.integers(1, 9_000)),
        st.tuples(st.just("refund"), st.integers(0, 2), st.integers(1, 9_000)),
        st.tuples(st.just("adjust"), st.integers(0, 2), st.integers(-5_000, 5_000).filter(bool)),
        st.tuples(st.just("fee"), st.integers(0, 2), st.integers(0, 500)),
        st.tuples(st.just("move"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("contract"), st.integers(0, 1), CONTRACTS),
        st.tuples(st.just("bank"), st.integers(0, 2), st.integers(0, 9)),
        st.tuples(st.just("repay"), st.integers(0, 1), st.integers(1, 9_000)),
        st.tuples(st.just("days"), st.integers(1, 40), st.integers(0, 0)),
    ),
    min_size=5,
    max_size=40,
)


class History:
    """One random history, day by day."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        contracts = zip(PAYEES, (first, second), strict=True)
        self.office = Office({payee: PayeeTerms(payee_id=payee, **contract) for payee, contract in contracts})
        self.payee_of = dict.fromkeys(CHILDREN, PAYEES[0])
        self.rate = 3
        self.day = START

    def do(self, what: str, one: int, two: Any) -> None:
        """One step."""
        getattr(self, what)(one, two)

    def sell(self, child: int, amount: int) -> None:
        owner = CHILDREN[child]
        self.office.sell(self.day, owner, self.payee_of[owner], amount, amount * self.rate // 100)

    def refund(self, child: int, amount: int) -> None:
        owner = CHILDREN[child]
        self.office.sell(self.day, owner, self.payee_of[owner], -amount, -(amount * self.rate // 100))

    def adjust(self, child: int, amount: int) -> None:
        owner = CHILDREN[child]
        self.office.sell(self.day, owner, self.payee_of[owner], amount)

    def fee(self, _: int, rate: int) -> None:
        """Another fee from now on, in the middle of cycles."""
        self.rate = rate // 50

    def move(self, child: int, payee: int) -> None:
        """Another payee collects from now on (入金集約)."""
        self.payee_of[CHILDREN[child]] = PAYEES[payee]

    def contract(self, payee: int, contract: dict[str, Any]) -> None:
        self.office.terms[PAYEES[payee]] = PayeeTerms(payee_id=PAYEES[payee], **contract)

    def bank(self, what: int, which: int) -> None:
        """The bank pays, refuses, or gives back what it had paid."""
        wanted = (S.PAID, S.FAILED, S.RETURNED)[what]
        before = (S.INSTRUCTED,) if wanted is not S.RETURNED else (S.PAID,)
        open_ones = [p.payout_id for p in self.office.payouts.values() if p.state in before]
        if open_ones:
            self.office.bank(open_ones[which % len(open_ones)], wanted)

    def repay(self, payee: int, amount: int) -> None:
        self.office.repay(PAYEES[payee], amount)

    def days(self, count: int, _: int) -> None:
        """Days go by, with their jobs."""
        for _each in range(count):
            self.office.cycle(self.day)
            self.office.clear()
            self.day += timedelta(days=1)
            if is_business_day(self.day):
                self.office.pay(self.day)


@settings(max_examples=2_000, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
@given(CONTRACTS, CONTRACTS, STEPS)
def test_every_yen_sold_is_paid_or_kept_or_carried_or_claimed(
    first: dict[str, Any], second: dict[str, Any], steps: list[tuple[str, int, Any]]
) -> None:
    history = History(first, second)
    for what, one, two in steps:
        history.do(what, one, two)
        history.office.require_every_yen()
    history.days(40, 0)
    history.office.require_every_yen()
