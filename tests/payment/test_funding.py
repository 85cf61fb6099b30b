"""How an amount is split, captured and given back: what holds whatever the sources have."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kessai.foundation.errors import Invalid, Refused
from kessai.services.payment import domain
from kessai.services.payment.api import Action, Funding, FundingSource, PaymentState, PointsUse
from kessai.services.payment.domain import Asked, PlannedSource
from kessai.services.payment.domain.kinds import load_kinds
from tests.payment.test_domain import payment

KIND = load_kinds().require("charge")
NAMES = ("free_points", "funds", "credit", "card")

plans = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6), st.integers(0, 12)), min_size=1, max_size=4).map(
    lambda parts: (
        [
            PlannedSource(name, most, balancing=True, least_minor=least)
            for name, (most, least, _) in zip(NAMES, parts, strict=False)
        ],
        {name: has for name, (_, _, has) in zip(NAMES, parts, strict=False)},
    )
)
fundings = st.lists(st.integers(1, 50), min_size=1, max_size=4).map(
    lambda amounts: [Funding(source=name, amount_minor=each) for name, each in zip(NAMES, amounts, strict=False)]
)


def allowed(part: PlannedSource, has: int) -> list[int]:
    """What a source may give."""
    return [0, *range(max(1, part.least_minor), min(part.amount_minor, has) + 1)]


@settings(deadline=None)
@given(st.integers(1, 30), plans)
def test_parts_add_up_to_the_amount_within_what_each_source_has_and_may_give(
    amount: int, given_plan: tuple[list[PlannedSource], dict[str, int]]
) -> None:
    plan, available = given_plan
    choices = [allowed(part, available[part.source]) for part in plan]
    possible = [each for each in product(*choices) if sum(each) == amount]
    if not possible:
        with pytest.raises(Refused, match="insufficient_funds"):
            domain.split(amount, plan, available)
        return
    parts = domain.split(amount, plan, available)
    assert sum(parts.values()) == amount
    # Of all splits that there are, the one in which earlier sources give the most.
    assert tuple(parts[part.source] for part in plan) == max(possible)


@settings(deadline=None)
@given(fundings, st.data())
def test_captures_take_the_parts_in_order_and_never_more_than_was_held(
    funding: list[Funding], data: st.DataObject
) -> None:
    total = sum(part.amount_minor for part in funding)
    taken = dict.fromkeys([part.source for part in funding], 0)
    captured = 0
    while captured < total:
        amount = data.draw(st.integers(1, total - captured))
        held = payment(amount_minor=total, funding=funding, captured_minor=captured)
        parts = domain.parts_of(held, Action.CAPTURE, amount, parks=False)
        assert sum(parts.values()) == amount
        for source, part in parts.items():
            taken[source] += part
        captured += amount
        assert taken == domain.captured_by_source(funding, captured)
    assert taken == {part.source: part.amount_minor for part in funding}


@settings(deadline=None)
@given(fundings, st.data())
def test_refunds_go_back_in_the_reverse_order_and_never_more_than_was_taken(
    funding: list[Funding], data: st.DataObject
) -> None:
    total = sum(part.amount_minor for part in funding)
    captured = data.draw(st.integers(1, total))
    taken = domain.captured_by_source(funding, captured)
    left, refunded = dict(taken), 0
    while refunded < captured:
        amount = data.draw(st.integers(1, captured - refunded))
        done = payment(
            PaymentState.CAPTURED,
            amount_minor=total,
            funding=funding,
            captured_minor=captured,
            refunded_minor=refunded,
        )
        for source, part in domain.parts_of(done, Action.REFUND, amount, parks=False).items():
            later = [each.source for each in funding][[each.source for each in funding].index(source) + 1 :]
            left[source] -= part
            assert left[source] >= 0
            assert all(left[each] == 0 for each in later)
        refunded += amount
    assert not any(left.values())


@settings(deadline=None)
@given(fundings, st.booleans(), st.data())
def test_refunds_of_one_sources_part_alone_leave_the_others_theirs(
    funding: list[Funding], parks: bool, data: st.DataObject
) -> None:
    total = sum(part.amount_minor for part in funding)
    captured = data.draw(st.integers(1, total))
    done = payment(PaymentState.CAPTURED, amount_minor=total, funding=funding, captured_minor=captured)
    taken = domain.captured_by_source(funding, total if parks else captured)
    let_go = domain.parts_of(payment(amount_minor=total, funding=funding), Action.CANCEL, total - captured, parks=parks)
    if parks and let_go:
        done = replace(
            done, funding=domain.given_back(payment(amount_minor=total, funding=funding), let_go, parks=True)
        )
    while done.refunded_minor < captured:
        amount = data.draw(st.integers(1, captured - done.refunded_minor))
        parts = domain.parts_of(done, Action.REFUND, amount, parks=parks)
        assert sum(parts.values()) == amount
        alone = data.draw(st.sampled_from([None, *parts]))
        went = parts if alone is None else {alone: parts[alone]}
        refunded = done.refunded_minor + sum(went.values())
        done = replace(done, refunded_minor=refunded, funding=domain.given_back(done, went, parks=parks))
        assert all(0 <= part.returned_minor <= taken[part.source] for part in done.funding)
    assert {part.source: part.returned_minor for part in done.funding} == taken


@settings(deadline=None)
@given(st.integers(1, 60), st.data())
def test_an_escrows_fee_goes_back_whole_with_the_whole_and_never_beyond(captured: int, data: st.DataObject) -> None:
    fee = data.draw(st.integers(0, captured))
    returned, fee_back = 0, 0
    while returned < captured:
        amount = data.draw(st.integers(1, captured - returned))
        part = domain.shared_fee(fee, captured, returned + amount, fee_back)
        assert 0 <= part <= amount
        returned, fee_back = returned + amount, fee_back + part
    assert fee_back == fee


@pytest.mark.parametrize(
    ("points", "accepted", "order"),
    [
        (PointsUse.FIRST, [], ["free_points", "paid_points", "sales", "funds"]),
        (PointsUse.LAST, [], ["sales", "funds", "free_points", "paid_points"]),
        (PointsUse.NONE, [], ["sales", "funds"]),
        (PointsUse.LAST, ["funds", "free_points", "card"], ["funds", "free_points"]),
    ],
)
def test_the_default_order_has_points_where_they_are_wanted_and_only_what_is_accepted(
    points: PointsUse, accepted: list[str], order: list[str]
) -> None:
    plan = domain.plan_funding(10, Asked((), points, accepted), KIND)
    assert [part.source for part in plan] == order
    assert all(part.optional for part in plan)


def test_at_most_one_source_lies_outside() -> None:
    top_up = load_kinds().require("top_up")
    sources = [FundingSource(source="store_payment"), FundingSource(source="atm_payment")]
    with pytest.raises(Invalid, match="too_many_outside_sources"):
        domain.plan_funding(10, sources, top_up)


def test_a_split_is_decided_beforehand_only_where_the_ledger_cannot() -> None:
    inside = [FundingSource(source="free_points"), FundingSource(source="funds")]
    assert not domain.needs_split(domain.plan_funding(100, inside, KIND), KIND)
    credit = FundingSource(source="credit")
    assert domain.needs_split(domain.plan_funding(100, [*inside, credit], KIND), KIND)
    assert not domain.needs_split(domain.plan_funding(100, [credit], KIND), KIND)
