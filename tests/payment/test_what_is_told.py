"""What is published of payments to whoever settles with merchants: method, corrected account, an escrow's fee."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from kessai.foundation.ids import new_hex
from kessai.services.identity.api import content_digest
from kessai.services.payment.api import (
    Action,
    Adjust,
    CaptureCharge,
    CaptureEscrow,
    CreateEscrow,
    Direction,
    FundingSource,
    GetPayment,
    PaymentRecord,
    PaymentState,
    RefundEscrow,
    TopUp,
)
from kessai.services.payment.api.codes import ChargeCode, ChargeMerchantQr, IssueCode, QrContent
from kessai.services.payment.api.orders import ConfirmOrder, CreateOrder
from kessai.services.payment.domain import fee_given_back, shared_fee
from tests.payment.merchants import another_process, told_of_payments
from tests.payment.world import World

CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


async def by_one_time_code(world: World, customer: str) -> PaymentRecord:
    """The customer shows a code."""
    code = await world.payments.issue_code(IssueCode(customer_id=customer))
    return await world.payments.charge_code(ChargeCode(code=code.code, merchant_id="mer:shop", amount_minor=10))


async def by_merchants_code(world: World, customer: str) -> PaymentRecord:
    """The customer scans the merchant's code."""
    content = QrContent(merchant_id="mer:shop", name="Shop", city="Tokyo")
    made = await world.payments.make_merchant_qr(content)
    request = ChargeMerchantQr(qr=made.qr, customer_id=customer, amount_minor=10)
    return await world.payments.charge_merchant_qr(request)


async def by_order(world: World, customer: str) -> PaymentRecord:
    """The customer confirms a shop's order."""
    order = await world.payments.create_order(
        CreateOrder(
            merchant_id="mer:shop",
            amount_minor=10,
            success_url="https://shop.example/done",
            cancel_url="https://shop.example/back",
        )
    )
    confirmed = await world.payments.confirm_order(ConfirmOrder(order_id=order.order_id, customer_id=customer))
    assert confirmed.payment_id is not None
    return await world.payments.get_payment(GetPayment(payment_id=confirmed.payment_id))


async def directly(world: World, customer: str) -> PaymentRecord:
    """In any other way."""
    return await world.charge(customer, 10)


@pytest.mark.parametrize(
    ("pays", "method"),
    [(by_one_time_code, "code"), (by_merchants_code, "code"), (by_order, "net"), (directly, "direct")],
    ids=lambda each: getattr(each, "__name__", each),
)
async def test_every_step_of_a_charge_tells_how_it_came_about(world: World, pays: Any, method: str) -> None:
    payment: PaymentRecord = await pays(world, await world.customer(funds=100))
    if payment.state is PaymentState.AUTHORIZED:
        async with another_process(world) as other:  # which has it from store
            await other.capture_charge(CaptureCharge(charge_id=payment.payment_id))
    told = [each for each in await told_of_payments(world) if each.payment_id == payment.payment_id]
    assert told[-1].action is Action.CAPTURE
    assert {each.method for each in told} == {method}
    assert (await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))).method == method


async def test_what_is_no_payment_to_a_merchant_has_no_method(world: World) -> None:
    customer = await world.customer()
    request = TopUp(customer_id=customer, source="bank_deposit", amount_minor=5, reference="slip:1")
    assert (await world.payments.top_up(request)).method is None
    (told,) = await told_of_payments(world)
    assert (told.method, told.account_type, told.reference) == (None, None, "slip:1")


async def test_an_adjustment_tells_which_account_it_corrected(world: World) -> None:
    request = Adjust(
        owner="mer:shop",
        account_type="unsettled_sales",
        direction=Direction.IN,
        amount_minor=100,
        approval_id=f"apv_{new_hex()}",
    )
    for direction in Direction:
        asked = replace(request, direction=direction, approval_id=f"apv_{new_hex()}")
        world.approvals.approved[asked.approval_id] = content_digest(asked)
        adjusted = await world.payments.adjust(asked)
        stored = await world.payments.get_payment(GetPayment(payment_id=adjusted.payment_id))
        assert stored.account_type == "unsettled_sales"
    assert [(each.kind, each.account_type) for each in await told_of_payments(world)] == [
        ("adjustment_in", "unsettled_sales"),
        ("adjustment_out", "unsettled_sales"),
    ]


# -- an escrow's fee ----------------------------------------------------------------------------------------------


async def test_an_escrow_tells_what_the_marketplace_keeps_and_gives_back(world: World) -> None:
    buyer, seller = await world.customer(funds=1_000), await world.customer()
    parked = await world.payments.create_escrow(
        CreateEscrow(customer_id=buyer, marketplace_id="mer:market", seller_id=seller, amount_minor=1_000)
    )
    for amount, fee, final in ((400, 41, False), (500, 50, True)):
        await world.payments.capture_escrow(
            CaptureEscrow(escrow_id=parked.payment_id, amount_minor=amount, fee_minor=fee, final=final)
        )
    for amount in (333, 333, 234):
        await world.payments.refund_escrow(RefundEscrow(escrow_id=parked.payment_id, amount_minor=amount))
        told = [each for each in await told_of_payments(world) if each.payment_id == parked.payment_id]
        assert await world.sales("mer:market") == told[-1].fee_total_minor
    assert [(each.action.value, each.fee_minor, each.fee_total_minor) for each in told] == [
        ("authorize", 0, 0),
        ("capture", 41, 41),
        ("capture", 50, 91),
        ("refund", 33, 58),
        ("refund", 34, 24),
        ("refund", 24, 0),
    ]


async def test_an_escrow_of_which_only_the_cards_part_went_back_tells_that_parts_fee(world: World) -> None:
    buyer, seller = await world.customer(funds=400), await world.customer()
    parked = await world.payments.create_escrow(
        CreateEscrow(
            customer_id=buyer,
            marketplace_id="mer:market",
            seller_id=seller,
            amount_minor=1_000,
            sources=[FundingSource(source="funds"), CARD],
        )
    )
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=parked.payment_id, fee_minor=100))
    await world.payments.refund_escrow(RefundEscrow(escrow_id=parked.payment_id, amount_minor=700))
    told = (await told_of_payments(world))[-1]
    assert (told.action, told.fee_minor, told.fee_total_minor) == (Action.REFUND, 70, 30)
    assert await world.sales("mer:market") == 30


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 500), st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(0, 50))
def test_the_fees_that_refunds_give_back_add_up(fee: int, parts: list[int], rest: int) -> None:
    payment = escrow(fee, sum(parts) + rest)
    back = 0
    for refunded in (sum(parts[: number + 1]) for number in range(len(parts))):
        step = fee_given_back(payment, refunded) - back
        assert step == shared_fee(fee, payment.captured_minor, refunded, back) >= 0
        back += step
    assert back <= fee
    assert rest or back == fee


def escrow(fee: int, captured: int) -> PaymentRecord:
    """One that is captured, with so much of a fee."""
    at: Any = None
    return PaymentRecord(
        payment_id="esc_1", kind="escrow", state=PaymentState.CAPTURED, amount_minor=captured, asset="JPY",
        payer_id="cus:1", payee_id="mer:1", captured_minor=captured, refunded_minor=0, funding=[], refusal_code=None,
        reference=None, description=None, metadata={}, exchange_id="exc_1", processing_id="prc_1", created_at=at,
        updated_at=at, expires_at=None, captures=1, refunds=0, version=1, fee_minor=fee, beneficiary_id="cus:2",
    )  # fmt: skip
