"""Refunds with something in their way: credit that was repaid, accounts that were closed, cards out of order."""

from __future__ import annotations

import pytest

from kessai.foundation.ids import new_hex
from kessai.services.ledger.api import CloseAccount, account_id_of
from kessai.services.payment.api import (
    CancelEscrow,
    CaptureEscrow,
    CreateCharge,
    CreateEscrow,
    FundingSource,
    GetPayment,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    RefundEscrow,
    Repay,
    TopUp,
)
from tests.payment.test_service import code_of
from tests.payment.world import World

CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
CREDIT = FundingSource(source="credit")
FUNDS = FundingSource(source="funds")
MARKET = "mer:market"
S = PaymentState


@pytest.fixture
def world(proven_world: World) -> World:
    """Every world here is proved afterwards."""
    return proven_world


async def charged(world: World, customer: str, amount: int, *sources: FundingSource) -> PaymentRecord:
    """A charge at once."""
    request = CreateCharge(
        customer_id=customer, merchant_id="mer:shop", amount_minor=amount, sources=list(sources), capture=True
    )
    return await world.payments.create_charge(request)


async def parked(world: World, buyer: str, seller: str, amount: int, *sources: FundingSource) -> PaymentRecord:
    """An escrow."""
    request = CreateEscrow(
        customer_id=buyer, marketplace_id=MARKET, seller_id=seller, amount_minor=amount, sources=list(sources)
    )
    return await world.payments.create_escrow(request)


async def debtor(world: World, amount: int, *, repaid: int, funds: int = 0) -> tuple[str, PaymentRecord]:
    """A customer who paid with credit, and has repaid so much of it."""
    customer = await world.customer(funds=repaid + funds)
    await world.credit_line(customer, 500_000)
    payment = await charged(world, customer, amount, CREDIT)
    if repaid:
        await world.payments.repay(Repay(customer_id=customer, amount_minor=repaid))
    return customer, payment


async def close(world: World, owner: str, account_type: str = "funds") -> None:
    """Close an account, which is empty."""
    await world.ledger.close_account(CloseAccount(account_id=account_id_of(owner, account_type)))


async def now_of(world: World, payment: PaymentRecord) -> PaymentRecord:
    """As it is stored."""
    return await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))


def returned(payment: PaymentRecord) -> dict[str, int]:
    """What went back to each source."""
    return {part.source: part.returned_minor for part in payment.funding}


# -- credit that was repaid meanwhile -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repaid", "refund", "owed", "funds"),
    [(0, 400, 600, 0), (300, 400, 300, 0), (300, 1_000, 0, 300), (1_000, 400, 0, 400), (1_000, 1_000, 0, 1_000)],
)
async def test_a_refund_of_credit_lowers_what_is_owed_and_gives_the_rest_to_the_balance(
    world: World, repaid: int, refund: int, owed: int, funds: int
) -> None:
    customer, payment = await debtor(world, 1_000, repaid=repaid)
    done = await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=refund))
    assert (done.state, done.amount_minor, done.refusal_code) == ("SUCCEEDED", refund, None)
    assert await world.balance(customer, "receivable") == (owed, owed)
    assert (await world.balance(customer, "credit"))[0] == -owed
    assert await world.balance("internal:credit", "credit_advances") == (-owed, -owed)
    assert (await world.balance(customer), await world.sales()) == ((funds, funds), 1_000 - refund)
    assert returned(await now_of(world, payment)) == {"credit": refund}


async def test_what_comes_back_lands_above_the_retention_cap(world: World) -> None:
    customer, payment = await debtor(world, 1_000, repaid=1_000)
    await world.payments.top_up(TopUp(customer_id=customer, source="bank_deposit", amount_minor=1_000_000))
    await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    assert await world.balance(customer) == (1_001_000, 1_001_000)


async def test_without_a_balance_it_lands_in_the_next_place(world: World) -> None:
    customer, payment = await debtor(world, 1_000, repaid=1_000)
    await close(world, customer)
    await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    assert await world.balance(customer, "sales") == (1_000, 1_000)


async def test_several_refunds_of_repaid_credit_give_back_what_was_paid(world: World) -> None:
    customer, payment = await debtor(world, 1_000, repaid=700)
    for amount in (200, 300, 500):
        await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=amount))
    assert (await world.balance(customer), await world.balance(customer, "receivable")) == ((700, 700), (0, 0))
    assert await world.balance("internal:credit", "credit_advances") == (0, 0)


async def test_an_escrow_on_repaid_credit_is_given_back_when_it_is_canceled(world: World) -> None:
    buyer, seller = await world.customer(funds=600), await world.customer()
    await world.credit_line(buyer, 1_000)
    payment = await parked(world, buyer, seller, 1_000, CREDIT)
    await world.payments.repay(Repay(customer_id=buyer, amount_minor=600))
    await world.payments.cancel_escrow(CancelEscrow(escrow_id=payment.payment_id))
    assert (await now_of(world, payment)).state is S.CANCELED
    assert (await world.balance(buyer), await world.balance(buyer, "receivable")) == ((600, 600), (0, 0))


@pytest.mark.parametrize(("before", "after"), [(1, 0), (0, 1), (0, 2), (2, 1)])
async def test_a_refund_of_repaid_credit_whose_answers_are_lost_is_made_once(
    world: World, before: int, after: int
) -> None:
    customer, payment = await debtor(world, 1_000, repaid=400)
    world.line.cut_before, world.line.cut_after = before, after
    await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id))
    assert (await world.balance(customer), await world.balance(customer, "receivable")) == ((400, 400), (0, 0))
    assert await world.balance("internal:credit", "credit_advances") == (0, 0)


# -- a card that is not the last source, and an account that is closed ----------------------------------------------


async def test_after_the_cards_part_alone_later_refunds_know_what_each_source_got(world: World) -> None:
    customer = await world.customer(funds=300)
    first = FundingSource(source="card", instrument_id=CARD.instrument_id, max_amount_minor=700)
    payment = await charged(world, customer, 1_000, first, FUNDS)
    await close(world, customer)
    refund = await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=800))
    assert (refund.amount_minor, refund.refusal_code, world.cards.taken) == (500, "account_closed", 200)
    assert returned(await now_of(world, payment)) == {"card": 500, "funds": 0}
    alone = RefundCharge(charge_id=payment.payment_id, amount_minor=300)
    assert await code_of(world.payments.refund_charge(alone)) == "account_closed"
    assert world.cards.taken == 200
    both = await world.payments.refund_charge(RefundCharge(charge_id=payment.payment_id, amount_minor=500))
    assert (both.amount_minor, world.cards.taken) == (200, 0)
    assert returned(await now_of(world, payment)) == {"card": 700, "funds": 0}


async def test_an_escrows_refund_of_the_cards_part_alone_takes_that_part_from_the_seller(world: World) -> None:
    buyer, seller = await world.customer(funds=300), await world.customer()
    payment = await parked(world, buyer, seller, 1_000, FUNDS, CARD)
    await world.payments.capture_escrow(CaptureEscrow(escrow_id=payment.payment_id, fee_minor=101))
    await close(world, buyer)
    refund = await world.payments.refund_escrow(RefundEscrow(escrow_id=payment.payment_id, amount_minor=900))
    assert (refund.amount_minor, refund.refusal_code, world.cards.taken) == (700, "account_closed", 0)
    assert (await world.balance(seller, "sales"))[0] == 899 - (700 - 70)
    assert await world.sales(MARKET) == 101 - 70
    assert (await now_of(world, payment)).refunded_minor == 700


async def test_an_escrow_that_only_the_card_got_back_from_stays_parked_with_the_rest(world: World) -> None:
    buyer, seller = await world.customer(funds=300), await world.customer()
    payment = await parked(world, buyer, seller, 1_000, FUNDS, CARD)
    await close(world, buyer)
    cancel = CancelEscrow(escrow_id=payment.payment_id)
    assert await code_of(world.payments.cancel_escrow(cancel)) == "account_closed"
    left = await now_of(world, payment)
    assert (left.state, returned(left), world.cards.taken) == (S.AUTHORIZED, {"funds": 0, "card": 700}, 0)
    assert await code_of(world.payments.cancel_escrow(cancel)) == "account_closed"
    above = CaptureEscrow(escrow_id=payment.payment_id, amount_minor=301)
    assert await code_of(world.payments.capture_escrow(above)) == "capture_above_authorized"
    paid = await world.payments.capture_escrow(CaptureEscrow(escrow_id=payment.payment_id))
    assert (paid.state, paid.captured_minor, await world.sales(MARKET)) == (S.CAPTURED, 300, 0)
    assert await world.balance(seller, "sales") == (300, 300)


async def test_the_rest_of_an_escrow_that_only_the_card_got_back_from_stays_parked(world: World) -> None:
    buyer, seller = await world.customer(funds=300), await world.customer()
    payment = await parked(world, buyer, seller, 1_000, FUNDS, CARD)
    await close(world, buyer)
    paid = await world.payments.capture_escrow(CaptureEscrow(escrow_id=payment.payment_id, amount_minor=200))
    assert (paid.state, returned(paid), world.cards.taken) == (S.PARTIALLY_CAPTURED, {"funds": 0, "card": 700}, 0)
    last = await world.payments.capture_escrow(CaptureEscrow(escrow_id=payment.payment_id))
    assert (last.state, last.captured_minor, await world.sales(MARKET)) == (S.CAPTURED, 300, 0)
