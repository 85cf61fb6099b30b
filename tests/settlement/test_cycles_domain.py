"""The pure rules: which days a cycle covers, when it is paid, what becomes of it, offsets, tax once a rate."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.foundation.calendar import is_business_day, month_end
from kessai.services.merchant.api import Cycle
from kessai.services.merchant.domain import cycles as merchant_cycles
from kessai.services.settlement.domain.cycle_rules import read_cycle_rules
from kessai.services.settlement.domain.cycles import (
    BelowMinimum,
    CycleKind,
    HolidayShift,
    PayeeTerms,
    ends_on,
    first_day_of,
    instruct_day_of,
    last_day_of,
    next_last_day,
    pay_day_of,
    soonest_pay_day,
)
from kessai.services.settlement.domain.invoice import is_registration_number, rate_totals, tax_within
from kessai.services.settlement.domain.offset import Owed, offset, offset_total
from kessai.services.settlement.domain.payouts import PayoutState, decide

DAYS = st.dates(date(2024, 1, 1), date(2029, 12, 31))
TERMS = st.builds(
    PayeeTerms,
    payee_id=st.just("mer:x"),
    cycle=st.sampled_from(CycleKind),
    cycle_day=st.integers(0, 6),
    months_after=st.integers(0, 3),
    pay_day=st.integers(1, 31),
    days_after=st.one_of(st.none(), st.integers(1, 60)),
    holiday=st.sampled_from(HolidayShift),
    instruct_days_before=st.integers(0, 5),
    minimum_minor=st.sampled_from([0, 1_000, 10_000]),
    below_minimum=st.sampled_from(BelowMinimum),
    transfer_fee_minor=st.sampled_from([0, 200, 250]),
    merchant_bears_fee=st.booleans(),
    bank_account_id=st.just("bac_1"),
)


@given(TERMS, DAYS)
@settings(deadline=None)
def test_every_day_belongs_to_exactly_one_cycle(terms: PayeeTerms, day: date) -> None:
    first, last = first_day_of(terms, day), last_day_of(terms, day)
    assert first <= day <= last
    assert ends_on(terms, last)
    assert not any(ends_on(terms, first + timedelta(days=each)) for each in range((last - first).days))
    assert first_day_of(terms, next_last_day(terms, last)) == last + timedelta(days=1)


@given(TERMS, DAYS)
@settings(deadline=None)
def test_a_cycle_is_paid_on_a_business_day_after_it_and_instructed_on_one_before(terms: PayeeTerms, day: date) -> None:
    last = last_day_of(terms, day)
    pay_on = pay_day_of(terms, last)
    assert pay_on > last
    assert is_business_day(pay_on)
    instruct_on = instruct_day_of(terms, pay_on)
    assert instruct_on <= pay_on
    assert is_business_day(instruct_on) or terms.instruct_days_before == 0
    late = soonest_pay_day(terms, pay_on, day)
    assert late >= pay_on
    assert instruct_day_of(terms, late) >= min(day, instruct_on)


@pytest.mark.parametrize(
    ("terms", "last_day", "pay_on"),
    [
        (PayeeTerms(payee_id="m"), date(2025, 10, 31), date(2025, 11, 28)),  # 11-30 is a Sunday
        (PayeeTerms(payee_id="m", holiday=HolidayShift.NEXT), date(2025, 10, 31), date(2025, 12, 1)),
        (PayeeTerms(payee_id="m"), date(2025, 11, 30), date(2025, 12, 30)),  # banks are closed on 12-31
        (PayeeTerms(payee_id="m", holiday=HolidayShift.NEXT), date(2025, 11, 30), date(2026, 1, 5)),
        (PayeeTerms(payee_id="m", cycle=CycleKind.TWICE_MONTHLY), date(2025, 10, 15), date(2025, 10, 31)),
        (PayeeTerms(payee_id="m", cycle=CycleKind.TWICE_MONTHLY), date(2025, 10, 31), date(2025, 11, 14)),
        (PayeeTerms(payee_id="m", months_after=0, pay_day=10), date(2025, 10, 31), date(2025, 11, 10)),
        (PayeeTerms(payee_id="m", months_after=1, pay_day=30), date(2025, 1, 31), date(2025, 2, 28)),
        (
            PayeeTerms(payee_id="m", cycle=CycleKind.WEEKLY, cycle_day=6, days_after=5, holiday=HolidayShift.NEXT),
            date(2026, 4, 26),
            date(2026, 5, 1),
        ),
        (
            PayeeTerms(payee_id="m", cycle=CycleKind.DAILY, days_after=1, holiday=HolidayShift.PREVIOUS),
            date(2026, 5, 1),
            date(2026, 5, 7),  # golden week: never on or before the day itself
        ),
    ],
)
def test_days_of_payment_shift_over_holidays(terms: PayeeTerms, last_day: date, pay_on: date) -> None:
    assert pay_day_of(terms, last_day) == pay_on


@given(TERMS, st.integers(1, 30_000), DAYS, st.integers(0, 24))
@settings(deadline=None)
def test_whatever_is_decided_of_a_payout_no_yen_is_lost(
    terms: PayeeTerms, payable: int, day: date, months: int
) -> None:
    last_day = last_day_of(terms, day)
    found = decide(payable, terms, carried_from=last_day - timedelta(days=31 * months), last_day=last_day)
    if found.state is PayoutState.CLEARED:
        assert found.amount_minor + found.transfer_fee_minor == payable
        assert found.amount_minor > 0
    else:
        assert found.state is PayoutState.CARRIED_OVER
        assert months <= 12
        assert (found.amount_minor, found.transfer_fee_minor) == (0, 0)


def test_a_merchant_that_has_left_carries_nothing_over() -> None:
    terms = PayeeTerms(payee_id="m", state="closed", minimum_minor=10_000, bank_account_id="bac_1")
    found = decide(300, terms, carried_from=date(2025, 10, 31), last_day=date(2025, 10, 31))
    assert (found.state, found.amount_minor) == (PayoutState.CLEARED, 300)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 5_000), max_size=6))
def test_an_offset_takes_as_much_as_both_have_the_oldest_first(available: int, owed: list[int]) -> None:
    claims = [Owed(str(n), each) for n, each in enumerate(owed)]
    taken = offset(available, claims)
    assert offset_total(taken) == min(available, sum(owed))
    by_claim = {each.claim_id: each.owed_minor for each in taken}
    left = [each.owed_minor - by_claim.get(each.claim_id, 0) for each in claims]
    assert all(part >= 0 for part in left)
    touched = [n for n, each in enumerate(claims) if by_claim.get(each.claim_id)]
    assert all(left[n] == 0 for n in touched[:-1])


@given(st.lists(st.tuples(st.sampled_from([0, 800, 1_000]), st.integers(-5_000, 100_000)), max_size=30))
def test_tax_is_rounded_once_a_rate_and_base_and_tax_are_the_whole(charges: list[tuple[int, int]]) -> None:
    found = rate_totals(charges)
    assert sum(each.gross_minor for each in found) == sum(amount for _, amount in charges)
    for each in found:
        assert each.base_minor + each.tax_minor == each.gross_minor
        exact = each.gross_minor * each.rate_bps / (10_000 + each.rate_bps)
        assert abs(each.tax_minor - exact) < 1


def test_tax_of_many_small_fees_is_not_the_sum_of_their_taxes() -> None:
    (total,) = rate_totals([(1_000, 5)] * 100)
    assert (total.gross_minor, total.tax_minor) == (500, 45)
    assert sum(tax_within(5, 1_000) for _ in range(100)) == 0


def test_a_registration_number_is_t_and_thirteen_digits() -> None:
    assert is_registration_number("T1234567890123")
    assert not any(map(is_registration_number, ("1234567890123", "T123456789012", "T12345678901234", "t1234567890123")))


@given(DAYS, st.sampled_from(CycleKind), st.integers(0, 6))
@settings(deadline=None)
def test_the_merchant_service_says_the_same_of_a_cycles_last_day(day: date, kind: CycleKind, weekday: int) -> None:
    terms = PayeeTerms(payee_id="m", cycle=kind, cycle_day=weekday)
    theirs = merchant_cycles.closes(Cycle(kind.value), weekday if kind is CycleKind.WEEKLY else None, day)
    assert theirs == ends_on(terms, day)


def test_the_platforms_own_rules_are_read() -> None:
    rules = read_cycle_rules()
    assert (rules.claims.due_days, rules.fees.transfer_fee_tax_bps) == (30, 1_000)
    assert month_end(date(2024, 2, 1)) == date(2024, 2, 29)
