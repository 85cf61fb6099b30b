"""Merchants' movements in bulk: each stands by itself, under an id of its own."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.errors import KeyReused
from kessai.foundation.ids import new_hex
from kessai.sdk.processing.api import ListEffects
from kessai.services.payment.api import (
    GetHistory,
    GetPayment,
    MerchantMovement,
    MoveMerchants,
    PaymentState,
    RefundPayment,
)
from kessai.services.payment.workflows import movements as saga
from tests.payment.merchants import another_process, codes, moved, movement, sell, told_of_payments
from tests.payment.world import World, key

S = PaymentState


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


async def test_each_movement_is_a_payment_that_stands_by_itself(world: World) -> None:
    await sell(world, 5_000)
    fee, clearing = movement("merchant_fee", 300, reference="fee:1"), movement("clearing", 4_700)
    too_much = movement("transfer_fee", 4_701)
    assert await moved(world.payments, [fee, clearing, too_much]) == [
        (fee.payment_id, "CAPTURED", None),
        (clearing.payment_id, "CAPTURED", None),
        (too_much.payment_id, "REFUSED", "insufficient_funds"),
    ]
    stored = await world.payments.get_payment(GetPayment(payment_id=fee.payment_id))
    assert (stored.state, stored.reference, stored.captured_minor) == (S.CAPTURED, "fee:1", 300)
    history = await world.payments.get_history(GetHistory(payment_id=too_much.payment_id))
    assert [(each.state, each.code) for each in history.steps] == [(S.PENDING, None), (S.REFUSED, "insufficient_funds")]
    assert await world.balance("mer:shop", "settled_sales") == (4_700, 4_700)
    assert await world.sales() == 0


async def test_a_call_costs_two_commits_of_the_journal_and_one_of_the_ledger(world: World) -> None:
    before, calls = world.payments.journal_flushes, world.line.calls
    assert set(await codes(world.payments, *(movement("merchant_fee", 1) for _ in range(50)))) == {"CAPTURED"}
    assert (world.payments.journal_flushes - before, world.line.calls - calls) == (2, 1)


async def test_the_same_id_is_the_same_movement_in_whichever_call_it_comes(world: World) -> None:
    await sell(world, 1_000)
    fee, refused = movement("merchant_fee", 30), movement("claim_offset", 30)
    first = await moved(world.payments, [fee, refused])
    again = movement("merchant_fee", 40)
    async with another_process(world) as other:
        assert await moved(other, [again, refused, fee]) == [(again.payment_id, "CAPTURED", None), first[1], first[0]]
    assert await world.sales() == 930


@pytest.mark.parametrize(
    "other",
    [
        {"amount_minor": 31},
        {"merchant_id": "mer:other"},
        {"reference": "another"},
        {"kind": "merchant_fee_exempt"},
    ],
    ids=lambda each: next(iter(each)),
)
async def test_the_same_id_with_other_content_is_refused(world: World, other: dict[str, str | int]) -> None:
    fee = movement("merchant_fee", 30)
    changed = replace(fee, **other)
    if "kind" in other:
        changed = replace(changed, payment_id=fee.payment_id.replace("mfe_", "mfx_"))
    assert await codes(world.payments, fee, changed, fee) == ["CAPTURED", "idempotency_key_reused", "CAPTURED"]
    assert await codes(world.payments, changed) == ["idempotency_key_reused"]
    assert await world.sales() == -30


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (movement("merchant_fee", 1), ""),
        (replace(movement("merchant_fee", 1), kind="barter"), "unknown_kind"),
        (replace(movement("merchant_fee", 1), kind="payout"), "kind_not_in_bulk"),
        (replace(movement("merchant_fee", 1), kind="clearing"), "malformed_id"),
        (movement("merchant_fee", 10**10, counterpart_id="mer:other"), "counterpart_not_allowed"),
        (movement("transfer_fee", 1, counterpart_id="mer:other"), "counterpart_not_allowed"),
        (movement("merchant_fee", 10**10), "amount_above_limit"),
        (movement("transfer_fee", 1), "account_not_found"),
        (movement("claim_offset", 1, counterpart_id="mer:shop"), "account_not_found"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.kind,
)
async def test_a_refusal_is_of_one_movement_and_says_why(world: World, wrong: MerchantMovement, code: str) -> None:
    good = movement("merchant_fee", 5)
    assert await codes(world.payments, wrong, good) == [code or "CAPTURED", "CAPTURED"]
    assert await codes(world.payments, good, wrong) == ["CAPTURED", code or "CAPTURED"]


async def test_a_call_of_nothing_but_refusals_makes_no_payment(world: World) -> None:
    wrong = movement("merchant_fee", 10**10)
    assert await codes(world.payments, wrong) == ["amount_above_limit"]
    assert await told_of_payments(world) == []


# -- what they are for --------------------------------------------------------------------------------------------


async def test_a_shop_is_cleared_for_its_parent(world: World) -> None:
    await sell(world, 900, "mer:child")
    cleared = movement("clearing", 900, "mer:child", counterpart_id="mer:parent")
    assert await codes(world.payments, cleared) == ["CAPTURED"]
    assert await world.sales("mer:child") == 0
    assert await world.balance("mer:parent", "settled_sales") == (900, 900)


async def test_a_shortfall_is_owed_until_sales_are_set_off_against_it(world: World) -> None:
    await codes(world.payments, movement("merchant_fee", 2_000))
    assert await world.sales() == -2_000
    assert await codes(world.payments, movement("shortfall", 2_000)) == ["CAPTURED"]
    assert (await world.balance("mer:shop", "settled_claims"))[0] == -2_000
    assert await world.sales() == 0
    await sell(world, 5_000)
    assert await codes(world.payments, movement("clearing", 5_000)) == ["CAPTURED"]
    assert await codes(world.payments, movement("claim_offset", 2_001)) == ["retention_cap_exceeded"]
    assert await codes(world.payments, movement("claim_offset", 2_000)) == ["CAPTURED"]
    assert await world.balance("mer:shop", "settled_sales") == (3_000, 3_000)
    assert (await world.balance("mer:shop", "settled_claims"))[0] == 0


@pytest.mark.parametrize("kind", ["merchant_fee", "merchant_fee_exempt", "transfer_fee"])
async def test_a_fee_is_given_back_in_parts(world: World, kind: str) -> None:
    await sell(world, 1_000)
    await codes(world.payments, movement("clearing", 500))
    fee = movement(kind, 100)
    assert await codes(world.payments, fee) == ["CAPTURED"]
    for part in (30, 70):
        await world.payments.refund_payment(RefundPayment(payment_id=fee.payment_id, amount_minor=part))
    assert (await world.sales(), (await world.balance("mer:shop", "settled_sales"))[0]) == (500, 500)
    assert (await world.payments.get_payment(GetPayment(payment_id=fee.payment_id))).refunded_minor == 100


async def test_what_is_published_names_the_callers_reference(world: World) -> None:
    fee = movement("merchant_fee", 30, reference="fee:7")
    assert await codes(world.payments, fee, movement("claim_offset", 1)) == ["CAPTURED", "account_not_found"]
    told = await told_of_payments(world)
    assert [(each.type, each.reference, each.code) for each in told] == [
        ("payment.merchant_fee.captured", "fee:7", None),
        ("payment.claim_offset.refused", None, "account_not_found"),
    ]


# -- keys, callers, processings ---------------------------------------------------------------------------------------


async def test_a_key_with_other_content_is_refused(world: World) -> None:
    request = MoveMerchants(movements=[movement("merchant_fee", 30)])
    with key("one"):
        first = await world.payments.move_merchants(request)
    with key("one") as call:
        assert await world.payments.move_merchants(request) == first
        assert call.replayed
    for other in (movement("merchant_fee", 30), request.movements[0]):
        with key("one"), pytest.raises(KeyReused):
            await world.payments.move_merchants(MoveMerchants(movements=[other, movement("merchant_fee", 1)]))
    assert await world.sales() == -30


async def test_a_service_may_ask_for_the_rest_of_a_page_under_the_same_key(world: World) -> None:
    pages = [[movement("merchant_fee", 30)], [movement("merchant_fee", 40)]]
    pages.append([*pages[0], *pages[1]])
    token = enter_call(Call(caller="another", request_key=new_hex(), processing_id=f"prc_{new_hex()}"))
    try:
        assert [len(await moved(world.payments, page)) for page in pages] == [1, 1, 2]
    finally:
        leave_call(token)
    assert await world.sales() == -70


async def test_movements_of_a_call_are_effects_of_one_processing_that_the_ledger_agrees_with(world: World) -> None:
    await sell(world, 1_000)
    fees = [movement("merchant_fee", 10), movement("clearing", 20), movement("transfer_fee", 10**4)]
    token = enter_call(Call(caller="another", processing_id="prc_page"))
    try:
        assert await codes(world.payments, *fees) == ["CAPTURED", "CAPTURED", "insufficient_funds"]
    finally:
        leave_call(token)
    own = (await world.payments.effects.own_view(["prc_page"]))["prc_page"]
    assert (own.within, own.in_flight, own.callers) == ([], False, ["another"])
    assert {each.effect_id for each in own.effects} == {each.payment_id for each in fees}
    (ledger,) = (await world.ledger.list_effects(ListEffects(processing_ids=["prc_page"]))).processings
    facts = ("effect_id", "part", "kind", "party", "account", "amount_minor", "captured_minor", "state")
    mine, theirs = (
        sorted(tuple(str(getattr(each, fact)) for fact in facts) for each in side)
        for side in (own.claims["ledger"], ledger.effects)
    )
    assert mine == theirs
    assert len(mine) == 4


# -- lost answers, and others at the same ------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
async def test_a_lost_answer_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    monkeypatch.setattr(saga, "PAUSE_S_MAX", 0.02)
    setattr(world.line, cut, 3)
    assert await codes(world.payments, movement("merchant_fee", 30), movement("clearing", 5)) == ["CAPTURED"] * 2
    assert await world.sales() == -35


async def test_while_nobody_answers_they_are_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saga, "PAUSE_S_MAX", 0.02)
    monkeypatch.setattr(saga, "ANSWER_S", 0.05)
    monkeypatch.setattr("kessai.services.payment.service.in_bulk.ANSWER_WAIT_S", 0.5)
    world.line.cut_before = 10**6
    fees = [movement("merchant_fee", 30), movement("merchant_fee", 40)]
    assert set(await codes(world.payments, *fees)) <= {"PENDING", "UNKNOWN"}
    while set(states := await codes(world.payments, *fees)) != {"UNKNOWN"}:
        assert set(states) <= {"PENDING", "UNKNOWN"}
    world.line.cut_before = 0
    while set(states := await codes(world.payments, *fees)) != {"CAPTURED"}:
        assert set(states) <= {"UNKNOWN"}
    assert await world.sales() == -70
    steps = (await world.payments.get_history(GetHistory(payment_id=fees[0].payment_id))).steps
    assert [each.state for each in steps] == [S.PENDING, S.UNKNOWN, S.CAPTURED]


async def test_calls_at_the_same_time_make_each_movement_once(world: World) -> None:
    fees = [movement("merchant_fee", 2**number) for number in range(12)]
    pages = [fees[:8], fees[4:], fees[::2], fees[::-1]]
    async with another_process(world) as second, another_process(world) as third:
        services = (world.payments, second, third, second)
        told = await asyncio.gather(*(moved(each, page) for each, page in zip(services, pages, strict=True)))
    for page, outcomes in zip(pages, told, strict=True):
        assert outcomes == [(each.payment_id, "CAPTURED", None) for each in page]
    assert await world.sales() == -(2**12 - 1)
