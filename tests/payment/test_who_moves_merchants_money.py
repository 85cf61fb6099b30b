"""Merchants' money moves for settlement, or for a key that may: not for a shop's, by whichever verb it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.contract import verbs_of
from kessai.foundation.errors import Forbidden
from kessai.foundation.ids import new_hex
from kessai.services.identity.api import Scope, content_digest
from kessai.services.payment.api import (
    Adjust,
    CancelPayment,
    CreatePayment,
    Direction,
    FundingSource,
    MerchantMovements,
    PaymentState,
    RefundPayment,
    RepayClaim,
)
from kessai.services.payment.domain.kinds import load_kinds
from kessai.services.payment.service import PaymentService
from tests.payment.merchants import codes, movement, sell
from tests.payment.test_service import code_of
from tests.payment.world import World

SHOP = frozenset({Scope.PAYMENT_READ.value, Scope.PAYMENT_WRITE.value})
OPERATOR = SHOP | {Scope.SETTLEMENT_MOVE.value}


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


@contextmanager
def key_with(scopes: frozenset[str]) -> Generator[None]:
    """Calls by an API key, under a fresh Idempotency-Key."""
    token = enter_call(Call(caller=f"key_{new_hex()}", request_key=new_hex(), scopes=scopes))
    try:
        yield
    finally:
        leave_call(token)


def test_the_verbs_for_merchants_own_money_have_a_scope_of_their_own() -> None:
    scopes = {bound.spec.name: bound.spec.scope for bound in verbs_of(MerchantMovements)}
    assert scopes.pop("adjust") == Scope.PAYMENT_WRITE  # which two persons approve
    assert scopes
    assert set(scopes.values()) == {Scope.SETTLEMENT_MOVE}


def test_every_kind_without_a_customer_is_merchants_own() -> None:
    own = {kind.name for kind in load_kinds() if kind.is_merchants_own}
    wanted = {"merchant_fee", "merchant_fee_exempt", "clearing", "shortfall", "claim_offset", "claim_repayment"}
    assert own == wanted | {"transfer_fee", "payout"}


def _by_kind(kind: str) -> CreatePayment:
    return CreatePayment(kind=kind, amount_minor=50, payer_id="mer:shop", payee_id="mer:thief")


async def _gives_a_fee_back(service: PaymentService, fee_id: str) -> object:
    return await service.refund_payment(RefundPayment(payment_id=fee_id, amount_minor=30))


async def _cancels(service: PaymentService, fee_id: str) -> object:
    return await service.cancel_payment(CancelPayment(payment_id=fee_id))


async def _clears(service: PaymentService, _: str) -> object:
    return await service.create_payment(_by_kind("clearing"))


async def _owes(service: PaymentService, _: str) -> object:
    return await service.create_payment(_by_kind("shortfall"))


@pytest.mark.parametrize("ask", [_gives_a_fee_back, _cancels, _clears, _owes])
async def test_a_shops_key_moves_no_merchants_money_by_the_verbs_for_any_kind(
    world: World, ask: Callable[[PaymentService, str], Awaitable[object]]
) -> None:
    await sell(world, 100)
    fee = movement("merchant_fee", 30)
    assert await codes(world.payments, fee) == ["CAPTURED"]
    with key_with(SHOP), pytest.raises(Forbidden) as refused:
        await ask(world.payments, fee.payment_id)
    assert (refused.value.code, refused.value.details) == ("missing_scope", {"scope": "settlement:move"})
    assert await world.sales() == 70


async def test_a_key_that_may_gives_a_fee_back(world: World) -> None:
    await sell(world, 100)
    fee = movement("merchant_fee", 30)
    await codes(world.payments, fee)
    with key_with(OPERATOR):
        await world.payments.refund_payment(RefundPayment(payment_id=fee.payment_id, amount_minor=30))
    assert await world.sales() == 100


async def test_a_debt_is_not_written_off_by_one_person_who_says_that_money_came(world: World) -> None:
    assert await codes(world.payments, movement("shortfall", 500)) == ["CAPTURED"]
    request = RepayClaim(merchant_id="mer:shop", amount_minor=500)
    with key_with(OPERATOR):
        assert await code_of(world.payments.repay_claim(request)) == "approval_required"
        by_kind = CreatePayment(
            kind="claim_repayment",
            amount_minor=500,
            payee_id="mer:shop",
            sources=[FundingSource(source="bank_deposit")],
        )
        assert await code_of(world.payments.create_payment(by_kind)) == "kind_has_own_verb"
    request = replace(request, approval_id=f"apv_{new_hex()}")
    with key_with(OPERATOR):
        assert await code_of(world.payments.repay_claim(request)) == "approval_not_found"
    world.approvals.approved[str(request.approval_id)] = content_digest(request)
    with key_with(OPERATOR):
        assert (
            await code_of(world.payments.repay_claim(replace(request, amount_minor=499))) == "approval_content_differs"
        )
    with key_with(OPERATOR):
        repaid = await world.payments.repay_claim(request)
    assert repaid.state is PaymentState.CAPTURED
    assert (await world.balance("mer:shop", "settled_claims"))[0] == 0


@pytest.mark.parametrize("account_type", ["settled_sales", "settled_claims"])
@pytest.mark.parametrize("direction", list(Direction))
async def test_what_was_settled_is_not_corrected_by_hand(world: World, account_type: str, direction: Direction) -> None:
    request = Adjust(
        owner="mer:shop", account_type=account_type, direction=direction, amount_minor=1, approval_id=f"apv_{new_hex()}"
    )
    assert await code_of(world.payments.adjust(request)) == "account_not_adjustable"
