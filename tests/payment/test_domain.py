"""What may be done to a payment, and what follows from it: pure decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kessai.foundation.errors import Invalid, PaymentError
from kessai.services.payment import domain
from kessai.services.payment.api import (
    Action,
    FundingSource,
    PaymentRecord,
    PaymentState,
)
from kessai.services.payment.domain.kinds import PaymentKind

NOW = datetime(2025, 4, 1, 3, 0, tzinfo=UTC)
CHARGE = PaymentKind(
    name="charge",
    name_ja="加盟店決済",
    id_prefix="chg",
    asset="JPY",
    payer="customer",
    payer_account_types=("free_points", "paid_points", "funds"),
    payee="merchant",
    payee_account_type="unsettled_sales",
    actions=("create", "capture", "cancel", "refund", "expire"),
    amount_minor_max=1_000_000,
    captures_max=3,
    refunds_max=3,
)
CHARGE_ID = "chg_" + "0" * 32


def payment(state: PaymentState = PaymentState.AUTHORIZED, **changes: object) -> PaymentRecord:
    """A charge of ¥1,000."""
    record = PaymentRecord(
        payment_id=CHARGE_ID,
        kind="charge",
        state=state,
        amount_minor=1_000,
        asset="JPY",
        payer_id="cus:1",
        payee_id="mer:1",
        captured_minor=0,
        refunded_minor=0,
        funding=[],
        refusal_code=None,
        reference=None,
        description=None,
        metadata={},
        exchange_id="exc_" + "0" * 32,
        processing_id="prc_1",
        created_at=NOW,
        updated_at=NOW,
        expires_at=NOW + timedelta(days=7),
        captures=0,
        refunds=0,
        version=1,
    )
    return replace(record, **changes)


def code_of(error: pytest.ExceptionInfo[PaymentError]) -> str:
    return error.value.code


# -- splitting --------------------------------------------------------------------------------------------------

sources = st.lists(
    st.tuples(st.sampled_from(CHARGE.payer_account_types), st.none() | st.integers(1, 10_000)),
    max_size=3,
    unique_by=lambda each: each[0],
).map(lambda pairs: [FundingSource(source=name, max_amount_minor=most) for name, most in pairs])
balances = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in CHARGE.payer_account_types})


def fill(plan: list[domain.PlannedSource], amount: int, available: dict[str, int]) -> list[int]:
    """What the ledger takes from each source: balancing ones fill up to the target's total, in order."""
    taken: list[int] = []
    for part in plan:
        need = min(part.amount_minor, amount - sum(taken)) if part.balancing else part.amount_minor
        taken.append(min(need, available[part.source]) if part.balancing else need)
    return taken


@given(st.integers(1, 20_000), sources, balances)
def test_a_plan_conserves_the_amount_whenever_the_sources_can_give_it(
    amount: int, wanted: list[FundingSource], available: dict[str, int]
) -> None:
    maxima = [each.max_amount_minor for each in wanted]
    if wanted and None not in maxima and sum(each or 0 for each in maxima) < amount:
        with pytest.raises(Invalid, match="sources_below_amount"):
            domain.plan_funding(amount, wanted, CHARGE)
        return
    plan = domain.plan_funding(amount, wanted, CHARGE)
    limits = {part.source: min(part.amount_minor, available[part.source]) for part in plan}
    taken = fill(plan, amount, available)
    if sum(limits.values()) >= amount:
        assert sum(taken) == amount
        assert all(0 <= each <= part.amount_minor for each, part in zip(taken, plan, strict=True))
    elif len(plan) > 1:
        assert sum(taken) < amount  # which the ledger answers with insufficient_funds


@given(st.integers(1, 20_000), sources, balances)
def test_a_later_source_gives_nothing_before_the_earlier_ones_gave_all_they_may(
    amount: int, wanted: list[FundingSource], available: dict[str, int]
) -> None:
    try:
        plan = domain.plan_funding(amount, wanted, CHARGE)
    except Invalid:
        return
    taken = fill(plan, amount, available)
    for (earlier, gave), (_, later) in pairwise(zip(plan, taken, strict=True)):
        assert later == 0 or gave == min(earlier.amount_minor, available[earlier.source])


def test_without_a_preference_the_kinds_own_order_is_used() -> None:
    assert [part.source for part in domain.plan_funding(10, [], CHARGE)] == ["free_points", "paid_points", "funds"]


def test_a_single_source_must_give_it_all() -> None:
    assert domain.plan_funding(10, [FundingSource(source="funds")], CHARGE) == [
        domain.PlannedSource("funds", 10, balancing=False)
    ]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ([FundingSource(source="gold"), FundingSource(source="gold")], "unknown_source"),
        ([FundingSource(source="funds"), FundingSource(source="funds")], "duplicate_source"),
        ([FundingSource(source="funds", max_amount_minor=9)], "sources_below_amount"),
    ],
)
def test_impossible_sources_are_refused_in_order_of_precedence(wanted: list[FundingSource], code: str) -> None:
    with pytest.raises(Invalid) as error:
        domain.plan_funding(10, wanted, CHARGE)
    assert code_of(error) == code


# -- checks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "amount", "code"),
    [
        ({"state": PaymentState.UNKNOWN}, None, "payment_unresolved"),
        ({"state": PaymentState.CAPTURED, "captured_minor": 1_000}, 1, "already_captured"),
        ({"state": PaymentState.CANCELED}, None, "charge_not_authorized"),
        ({"state": PaymentState.REFUSED}, None, "charge_not_authorized"),
        ({"state": PaymentState.EXPIRED}, None, "authorization_expired"),
        ({"expires_at": NOW}, None, "authorization_expired"),
        ({}, 1_001, "capture_above_authorized"),
        (
            {"state": PaymentState.PARTIALLY_CAPTURED, "captured_minor": 400, "captures": 1},
            601,
            "capture_above_authorized",
        ),
        ({"state": PaymentState.PARTIALLY_CAPTURED, "captured_minor": 3, "captures": 3}, 1, "captures_exhausted"),
    ],
)
def test_a_capture_that_may_not_be_is_refused(changes: dict[str, object], amount: int | None, code: str) -> None:
    with pytest.raises(PaymentError) as error:
        domain.capture_amount(payment(**changes), amount, CHARGE, NOW)  # pyright: ignore[reportArgumentType]
    assert code_of(error) == code


def test_a_capture_without_an_amount_takes_what_is_left() -> None:
    held = payment(PaymentState.PARTIALLY_CAPTURED, captured_minor=400, captures=1)
    assert domain.capture_amount(held, None, CHARGE, NOW) == 600


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (PaymentState.CAPTURED, "already_captured"),
        (PaymentState.CANCELED, "already_canceled"),
        (PaymentState.EXPIRED, "authorization_expired"),
        (PaymentState.REFUSED, "charge_not_authorized"),
        (PaymentState.PENDING, "payment_unresolved"),
    ],
)
def test_a_cancel_that_may_not_be_is_refused(state: PaymentState, code: str) -> None:
    with pytest.raises(PaymentError) as error:
        domain.check_cancel(payment(state), NOW)
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("changes", "amount", "code"),
    [
        ({"state": PaymentState.AUTHORIZED}, None, "charge_not_captured"),
        ({"captured_minor": 500}, 501, "refund_above_captured"),
        ({"captured_minor": 500, "refunded_minor": 400}, 101, "refund_above_captured"),
        ({"captured_minor": 500, "refunded_minor": 500}, None, "refund_above_captured"),
        ({"captured_minor": 500, "refunded_minor": 3, "refunds": 3}, 1, "refunds_exhausted"),
    ],
)
def test_a_refund_that_may_not_be_is_refused(changes: dict[str, object], amount: int | None, code: str) -> None:
    record = payment(**{"state": PaymentState.CAPTURED, **changes})  # pyright: ignore[reportArgumentType]
    with pytest.raises(PaymentError) as error:
        domain.refund_amount(record, amount, CHARGE)
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("capture", "expires_in_s", "code"),
    [
        (True, 60, "expires_without_authorization"),
        (False, 0, "expires_in_past"),
        (False, 61 * 86_400, "expires_too_late"),
    ],
)
def test_an_authorization_must_lapse_within_the_kinds_time(*, capture: bool, expires_in_s: int, code: str) -> None:
    with pytest.raises(Invalid) as error:
        domain.authorization_expiry(NOW + timedelta(seconds=expires_in_s), CHARGE, NOW, at_once=capture)
    assert code_of(error) == code


def test_another_asset_and_an_amount_above_the_limit_are_refused() -> None:
    with pytest.raises(PaymentError) as error:
        domain.check_amount(10_000_000, "BTC", CHARGE)
    assert code_of(error) == "wrong_asset"
    with pytest.raises(PaymentError) as error:
        domain.check_amount(1_000_001, "JPY", CHARGE)
    assert code_of(error) == "amount_above_limit"


# -- the state machine ------------------------------------------------------------------------------------------


def test_every_state_is_in_the_machine_and_final_ones_hold_nothing() -> None:
    assert set(domain.TRANSITIONS) == set(PaymentState)
    for state in (PaymentState.CANCELED, PaymentState.REFUSED, PaymentState.EXPIRED, PaymentState.RETURNED):
        assert not domain.TRANSITIONS[state]
    after_capture = set[PaymentState]().union(*domain.TRANSITIONS[PaymentState.CAPTURED].values())
    assert after_capture == {PaymentState.CAPTURED, PaymentState.RETURNED}


def test_whatever_is_not_final_has_a_way_to_a_final_state() -> None:
    reaching = set(domain.FINAL)
    for _ in PaymentState:
        for state, moves in domain.TRANSITIONS.items():
            if any(not reaching.isdisjoint(states) for states in moves.values()):
                reaching.add(state)
    assert reaching == set(PaymentState)


def test_parts_leave_the_rest_held_until_the_final_one() -> None:
    first = domain.captured(payment(), 300, NOW, final=False).payment
    assert (first.state, first.captured_minor, first.version) == (PaymentState.PARTIALLY_CAPTURED, 300, 2)
    last = domain.captured(first, 200, NOW, final=True).payment
    assert (last.state, last.captured_minor, last.captures) == (PaymentState.CAPTURED, 500, 2)


def test_a_part_that_takes_all_that_is_left_is_the_last_one() -> None:
    assert domain.captured(payment(), 1_000, NOW, final=False).payment.state is PaymentState.CAPTURED


def test_canceling_after_a_part_keeps_the_part() -> None:
    held = payment(PaymentState.PARTIALLY_CAPTURED, captured_minor=300)
    change = domain.released(held, Action.CANCEL, NOW)
    assert (change.payment.state, change.payment.captured_minor, change.amount_minor) == (
        PaymentState.CAPTURED,
        300,
        700,
    )


def test_a_lost_answer_is_told_as_unknown_and_keeps_the_claim() -> None:
    change = domain.lost_track(payment(PaymentState.PENDING), NOW)
    assert change.payment.state is PaymentState.UNKNOWN
    assert change.keeps_claim


def test_a_refused_action_leaves_the_payment_where_it_was() -> None:
    unknown = payment(PaymentState.UNKNOWN)
    change = domain.action_refused(unknown, PaymentState.AUTHORIZED, "hold_expired", NOW)
    assert (change.payment.state, change.code, change.payment.refusal_code) == (
        PaymentState.AUTHORIZED,
        "hold_expired",
        None,
    )
