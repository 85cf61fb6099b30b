"""A process that dies before or after any commit of a payment's life: another one takes it to the same end, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from kessai.foundation.errors import PaymentError, RequestInProgress, Unavailable, Unknown
from kessai.foundation.ids import new_hex
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.testing import CrashAt
from kessai.services.bank.api import InstructionState
from kessai.services.payment.api import (
    CaptureEscrow,
    CapturePayment,
    CreateCharge,
    CreateEscrow,
    FundingSource,
    GetPayment,
    HeldPayments,
    HoldOutcome,
    HoldPayments,
    MovedMerchants,
    MovementOutcome,
    MoveMerchants,
    PaymentRecord,
    PaymentState,
    RefundCharge,
    RefundEscrow,
    Withdraw,
)
from kessai.services.payment.service import PaymentService
from kessai.services.payment.workflows import notes
from tests.payment.holds import findings, hold
from tests.payment.merchants import movement
from tests.payment.world import World, key

CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
LEASE_S = 0.4
PATIENCE_S = 20.0
Ask = Callable[[str, str, Any], Awaitable[Any]]
"""A name for the request, the verb, and the request."""
Story = Callable[[World, Ask], Awaitable[object]]


async def mixed_charge(world: World, ask: Ask) -> object:
    """Points, balance and card at once; then a part of it goes back."""
    customer = await world.customer(funds=200, free_points=300)
    request = CreateCharge(
        customer_id=customer,
        merchant_id=f"mer:{customer[4:]}",
        amount_minor=1_000,
        sources=[FundingSource(source="free_points"), FundingSource(source="funds"), CARD],
        capture=True,
    )
    charge: PaymentRecord = await ask("charge", "create_charge", request)
    refund = RefundCharge(charge_id=charge.payment_id, amount_minor=600)
    await ask("refund", "refund_charge", refund)
    balances = [(await world.balance(customer, each))[0] for each in ("funds", "free_points")]
    return charge.funding, balances, await world.sales(f"mer:{customer[4:]}"), world.cards.taken


async def refused_charge(world: World, ask: Ask) -> object:
    """The card refuses to be captured, so that everything is undone."""
    customer = await world.customer(funds=200)
    world.cards.fail("capture", *["gateway_refused"] * 50)  # a refusal is one for good
    request = CreateCharge(
        customer_id=customer,
        merchant_id="mer:shop",
        amount_minor=1_000,
        sources=[FundingSource(source="funds"), CARD],
        capture=True,
    )
    told = await ask("charge", "create_charge", request)
    return told, await world.balance(customer), world.cards.held, world.cards.taken


async def escrow(world: World, ask: Ask) -> object:
    """Parked, paid to the seller in part, and the seller's part given back."""
    buyer, seller = await world.customer(funds=400), await world.customer()
    request = CreateEscrow(
        customer_id=buyer,
        marketplace_id=f"mer:{buyer[4:]}",
        seller_id=seller,
        amount_minor=1_000,
        sources=[FundingSource(source="funds"), CARD],
    )
    parked: PaymentRecord = await ask("escrow", "create_escrow", request)
    capture = CaptureEscrow(escrow_id=parked.payment_id, amount_minor=700, fee_minor=70)
    await ask("capture", "capture_escrow", capture)
    await ask("refund", "refund_escrow", RefundEscrow(escrow_id=parked.payment_id))
    balances = await world.balance(buyer), await world.balance(seller, "sales")
    return balances, await world.sales(f"mer:{buyer[4:]}"), world.cards.taken


async def returned_withdrawal(world: World, ask: Ask) -> object:
    """Sent, done, and sent back by the bank."""
    customer = await world.customer(funds=1_000)
    account_id = world.bank.account_of(customer)
    payment: PaymentRecord = await ask(
        "withdrawal",
        "withdraw",
        Withdraw(customer_id=customer, bank_account_id=account_id, amount_minor=500),
    )
    for state in (InstructionState.DONE, InstructionState.RETURNED):
        world.bank.answers(state)
        await ask("", "hear_from_bank", payment.payment_id)
    ended = await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))
    assert ended.state is PaymentState.RETURNED
    return await world.balance(customer), [each.amount_minor for each in world.bank.books.values()]


async def merchants_movements(world: World, ask: Ask) -> object:
    """Two pages of movements that share some: each is made once, and the same ones are refused."""
    merchant = f"mer:{new_hex()}"
    fees = [movement("merchant_fee", 2**number, merchant) for number in range(5)]
    page = [*fees[:4], movement("shortfall", 7, merchant), movement("transfer_fee", 3, merchant)]
    outcomes: list[MovementOutcome] = []
    for name, movements in (("page", page), ("rest", [*fees[2:], *page[4:]])):
        told = await ask(name, "move_merchants", MoveMerchants(movements=movements))
        outcomes += told.outcomes
    owed = await world.balance(merchant, "settled_claims")
    return [(each.state, each.code) for each in outcomes], owed[0], await world.sales(merchant)


async def customers_holds(world: World, ask: Ask) -> object:
    """Two pages of holds that share some: each is held once, and the same ones are refused; then one goes on alone."""
    payers = [await world.customer(funds=100), await world.customer(funds=100, free_points=50)]
    holds = [hold(payer, amount) for payer in payers for amount in (60, 60)]
    outcomes: list[HoldOutcome] = []
    for name, page in (("page", holds[:3]), ("rest", holds[1:])):
        told: HeldPayments = await ask(name, "hold_payments", HoldPayments(kind="id_charge", holds=page))
        outcomes += told.outcomes
    await ask("capture", "capture_payment", CapturePayment(payment_id=holds[2].payment_id))
    balances = [await world.balance(payer) for payer in payers]
    return [(each.state, each.code) for each in outcomes], balances, await world.balance(payers[1], "free_points")


STORIES = (mixed_charge, refused_charge, escrow, returned_withdrawal, merchants_movements, customers_holds)


def process(world: World, crash: CrashAt | None = None) -> PaymentService:
    """A payment service whose leases are short, and which may have to die."""
    service = world.another_process()
    deps = service._deps  # pyright: ignore[reportPrivateUsage]
    service._engine = Engine(  # pyright: ignore[reportPrivateUsage]
        world.database, service="payment", deps=deps, clock=world.clock, lease_s=LEASE_S, hook=crash
    )
    return service


async def told(service: PaymentService, name: str, verb: str, request: Any) -> Any:
    """An answer, or the code of a refusal for good."""
    try:
        with key(name):
            return await getattr(service, verb)(request)
    except PaymentError as error:
        if error.retryable:
            raise
        return error.code


async def played(world: World, story: Story, crash: CrashAt) -> object:
    """The story, begun by a process that dies; whatever it leaves is asked again of another one."""
    doomed, survivor = process(world, crash), process(world)
    world.payments = survivor
    world.cards.__init__()  # books of this story alone
    world.bank.books.clear()
    await doomed.open()
    await survivor.open()

    async def ask(name: str, verb: str, request: Any) -> Any:
        name = name and f"{story.__name__[:4]}{crash.flush}{crash.when[0]}{name}"
        if not crash.crashed:
            asked = asyncio.create_task(told(doomed, name, verb, request))
            while not asked.done() and not crash.crashed:
                await asyncio.sleep(0.01)
            if not crash.crashed:
                return await asked
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
        return await _again(survivor, name, verb, request)

    try:
        return await story(world, ask)
    finally:
        await survivor.close(grace_s=1.0)
        await (doomed._engine.crash() if crash.crashed else doomed.close())  # pyright: ignore[reportPrivateUsage]


async def _again(survivor: PaymentService, name: str, verb: str, request: Any) -> Any:
    """Until there is an answer; a movement that another process works on is not made twice."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                answer = await told(survivor, name, verb, request)
            except (RequestInProgress, Unavailable, Unknown, PaymentError):
                await asyncio.sleep(0.05)
                continue
            if answer is False:  # of what the bank said: somebody else is at it, or it is done
                await asyncio.sleep(LEASE_S * 3)
                await told(survivor, name, verb, request)
            if _is_undecided(answer):
                await asyncio.sleep(0.05)
                continue
            return answer


def _is_undecided(answer: object) -> bool:
    if isinstance(answer, (MovedMerchants, HeldPayments)):
        return any(each.state in (PaymentState.PENDING, PaymentState.UNKNOWN) for each in answer.outcomes)
    return isinstance(answer, PaymentRecord) and answer.state is PaymentState.UNKNOWN


@pytest.mark.parametrize("story", STORIES, ids=lambda each: each.__name__)
async def test_a_crash_at_every_commit_comes_to_the_same_end(
    world: World, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.05)
    await world.payments.close()
    calm = CrashAt(0, "before")
    expected = _comparable(await played(world, story, calm))
    assert calm.flushes >= 2
    boundaries: list[tuple[int, Literal["before", "after"]]] = [
        (number, when) for number in range(1, calm.flushes + 1) for when in ("before", "after")
    ]
    for number, when in boundaries:
        crash = CrashAt(number, when)
        assert _comparable(await played(world, story, crash)) == expected, (number, when)
        assert crash.crashed
    assert await findings(world.database.dsn) == []
    world.payments = world.another_process()
    await world.payments.open()


def _comparable(outcome: object) -> str:
    """An outcome without what differs from run to run."""
    return repr(outcome)
