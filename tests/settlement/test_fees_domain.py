"""Fees by a contract's terms, to the yen."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kessai.services.merchant.api import (
    FeeRefund,
    FeeTax,
    FeeTerms,
    FeeUnit,
    MerchantState,
    NoTerms,
    Rounding,
    Terms,
    Tier,
)
from kessai.services.settlement.domain.feeing import (
    Deciding,
    Group,
    Room,
    Sale,
    WantedFee,
    fees_of_totals,
    total_fee_id,
)
from kessai.services.settlement.domain.fees import Fee, Schedule, encode_schedule, fee_back, fee_of
from tests.settlement.intake_world import fee_terms

AT = datetime(2026, 12, 1, tzinfo=UTC)
DAY = date(2026, 12, 1)
NAMES = UUID(int=7)

any_terms = st.builds(
    fee_terms,
    rate_ppm=st.integers(0, 1_000_000),
    fixed_minor=st.integers(0, 500),
    rounding=st.sampled_from(list(Rounding)),
    tax=st.just(FeeTax.EXEMPT),
    tax_rate_bps=st.just(0),
) | st.builds(
    fee_terms,
    rate_ppm=st.integers(0, 1_000_000),
    fixed_minor=st.integers(0, 500),
    rounding=st.sampled_from(list(Rounding)),
    tax=st.sampled_from([FeeTax.INCLUDED, FeeTax.ADDED]),
    tax_rate_bps=st.sampled_from([800, 1_000]),
)


@pytest.mark.parametrize(
    ("rounding", "base", "fee"),
    [
        (Rounding.FLOOR, 1_000, 32),
        (Rounding.HALF_UP, 1_000, 32),
        (Rounding.CEIL, 1_000, 33),
        (Rounding.FLOOR, 1_250, 40),
        (Rounding.HALF_UP, 1_250, 41),
        (Rounding.CEIL, 1_250, 41),
        (Rounding.HALF_UP, 10_000, 324),
    ],
)
def test_a_part_of_a_yen_is_rounded_as_the_terms_say(rounding: Rounding, base: int, fee: int) -> None:
    assert fee_of(fee_terms(rounding=rounding), base).amount_minor == fee


@pytest.mark.parametrize(
    ("tax", "bps", "fee"),
    [(FeeTax.EXEMPT, 0, Fee(324, 0)), (FeeTax.INCLUDED, 1_000, Fee(324, 29)), (FeeTax.ADDED, 1_000, Fee(356, 32))],
)
def test_tax_is_none_or_inside_or_on_top(tax: FeeTax, bps: int, fee: Fee) -> None:
    assert fee_of(fee_terms(tax=tax, tax_rate_bps=bps), 10_000) == fee


def test_the_last_tier_that_is_reached_decides() -> None:
    tiers = [Tier(from_minor=10_000, rate_ppm=20_000), Tier(from_minor=100_000, rate_ppm=10_000, fixed_minor=50)]
    terms = fee_terms(tiers=tiers)
    assert [fee_of(terms, base).amount_minor for base in (9_999, 10_000, 99_999, 100_000)] == [323, 200, 1_999, 1_050]


@given(any_terms, st.integers(0, 10**9))
def test_tax_is_never_more_than_the_fee_it_is_in(terms: FeeTerms, base: int) -> None:
    fee = fee_of(terms, base)
    assert 0 <= fee.tax_minor <= fee.amount_minor


@given(any_terms, st.sampled_from(list(FeeRefund)), st.lists(st.integers(1, 100_000), min_size=1, max_size=12))
def test_whatever_the_parts_a_whole_refund_gives_back_what_the_contract_says(
    terms: FeeTerms, rule: FeeRefund, parts: list[int]
) -> None:
    sale = sum(parts)
    fee, before, back = fee_of(terms, sale), 0, Fee(0, 0)
    for part in parts:
        each = fee_back(rule, fee, sale_minor=sale, before_minor=before, refund_minor=part)
        assert each.amount_minor >= 0
        assert each.tax_minor >= 0
        before += part
        back = Fee(back.amount_minor + each.amount_minor, back.tax_minor + each.tax_minor)
        assert back.amount_minor <= fee.amount_minor
    assert back == (Fee(0, 0) if rule is FeeRefund.NONE else fee)


def test_a_fee_that_comes_back_only_with_the_whole_stays_until_then() -> None:
    fee = Fee(324, 29)
    told = {"sale_minor": 10_000}
    assert fee_back(FeeRefund.FULL_ONLY, fee, before_minor=0, refund_minor=9_999, **told) == Fee(0, 0)
    assert fee_back(FeeRefund.FULL_ONLY, fee, before_minor=9_999, refund_minor=1, **told) == fee


# -- which fees follow ------------------------------------------------------------------------------------------


def _sale(number: int, kind: str, amount: int, payment: str = "chg_1", **other: Any) -> Sale:
    plain: dict[str, Any] = {
        "owner_id": "mer:shop",
        "transaction_id": uuid5(NAMES, str(number)),
        "kind": kind,
        "method": "code",
        "amount_minor": amount,
        "payment_id": payment,
        "occurred_at": AT.replace(second=number),
        "business_date": DAY,
        "state": "WAITING",
        "reason": None,
        "schedule": None,
        "refunded_minor": 0,
        "fee_id": None,
    }
    return Sale(**(plain | other))


def _answer(terms: FeeTerms) -> Terms:
    return Terms(
        owner_id="mer:shop",
        merchant_id="mer:shop",
        payee_id="mer:shop",
        state=MerchantState.ACTIVE,
        fee=terms,
        reason=None,
        contract_id="ctr_1",
        contract_version=1,
    )


def test_refunds_take_from_the_oldest_sale_of_a_payment_first() -> None:
    sales = [_sale(1, "sale", 1_000), _sale(2, "sale", 5_000)]
    refunds = [_sale(3, "refund", 1_500), _sale(4, "refund", 4_500)]
    terms = {each.transaction_id: _answer(fee_terms()) for each in sales}
    decided = Deciding(terms, []).decide([*sales, *refunds])
    back = [(each.base_minor, each.amount_minor) for each in decided.fees if each.kind == "fee_refund"]
    assert back == [(1_000, 32), (500, 16), (4_500, 146)]
    assert [each.amount_minor for each in decided.fees if each.kind == "fee"] == [32, 162]
    assert [each.after_minor for each in decided.refunded] == [1_000, 500, 5_000]


@pytest.mark.parametrize(
    ("state", "decided"), [(MerchantState.CLOSED, "DECIDED"), (MerchantState.SUSPENDED, "WAITING")]
)
def test_a_sale_captured_after_its_merchant_left_goes_by_the_contract_it_had(
    state: MerchantState, decided: str
) -> None:
    sale = _sale(1, "sale", 1_000)
    answer = replace(_answer(fee_terms()), state=state, reason=NoTerms.MERCHANT_NOT_ACTIVE)
    found = Deciding({sale.transaction_id: answer}, []).decide([sale])
    assert [each.state for each in found.sales] == [decided]
    assert [each.amount_minor for each in found.fees] == ([32] if decided == "DECIDED" else [])


def test_a_refund_of_a_sale_without_terms_waits_as_the_sale_does() -> None:
    sale, refund = _sale(1, "sale", 1_000, state="WAITING", reason="no_contract"), _sale(2, "refund", 1_000)
    decided = Deciding({}, [sale]).decide([refund])
    assert [(each.state, each.reason) for each in decided.sales] == [("WAITING", "no_contract")]
    assert not decided.fees


def test_the_days_sales_by_one_method_are_rounded_once() -> None:
    terms = fee_terms(unit=FeeUnit.DAY, rounding=Rounding.HALF_UP)
    schedule = encode_schedule(Schedule(contract_id="ctr_1", contract_version=1, terms=terms))
    (fee,) = fees_of_totals(
        [Group("mer:shop", "code", schedule, 1_235)], [], unit=FeeUnit.DAY, day=DAY, gathering=NAMES
    )
    assert (fee.amount_minor, fee.state, fee.business_date) == (40, "DUE", DAY)


def test_a_total_below_zero_gives_back_from_the_newest_fees_and_never_more_than_they_were() -> None:
    terms = fee_terms(unit=FeeUnit.DAY)
    schedule = encode_schedule(Schedule(contract_id="ctr_1", contract_version=1, terms=terms))
    rooms = [
        Room("mer:shop", uuid5(NAMES, f"fee{n}"), "code", "day", amount, 0, given, schedule, f"mfe_{n}")
        for n, (amount, given) in enumerate([(100, 90), (200, 0)])
    ]
    groups = [Group("mer:shop", "code", schedule, -5_000)]
    found = fees_of_totals(groups, rooms, unit=FeeUnit.DAY, day=DAY, gathering=NAMES)
    assert [(each.amount_minor, each.payment_id) for each in found] == [(10, "mfe_0"), (152, "mfe_1")]
    groups = [Group("mer:shop", "code", schedule, -500_000)]
    found = fees_of_totals(groups, rooms, unit=FeeUnit.DAY, day=DAY, gathering=NAMES)
    assert sum(each.amount_minor for each in found) == 210


def test_a_version_of_a_contract_that_leaves_fees_alone_changes_no_total() -> None:
    tiers = [Tier(from_minor=100_000, rate_ppm=20_000, fixed_minor=100)]
    found = fee_terms(rate_ppm=30_000, fixed_minor=100, tiers=tiers, unit=FeeUnit.CYCLE)
    one, two = (encode_schedule(Schedule(contract_id="c", contract_version=each, terms=found)) for each in (9, 10))
    gathering = UUID(int=1)

    def fees(*groups: Group) -> list[WantedFee]:
        return fees_of_totals(groups, [], unit=FeeUnit.CYCLE, day=date(2025, 10, 31), gathering=gathering)

    (whole,) = fees(Group("m", "code", one, 120_000))
    (split,) = fees(Group("m", "code", two, 60_000), Group("m", "code", one, 60_000))
    assert (split.amount_minor, split.base_minor, split.fee_id) == (2_500, 120_000, whole.fee_id)
    assert split.schedule == two
    assert {total_fee_id(gathering, Group("m", "code", each, 1)) for each in (one, two)} == {split.fee_id}
