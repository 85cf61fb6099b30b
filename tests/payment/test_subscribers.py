"""A hold that lapses in the ledger lapses its payment, and hearing of it again changes nothing."""

from __future__ import annotations

from kessai.foundation.events import Relay, parked
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.jobs import LedgerJobs
from kessai.services.payment.api import CaptureCharge, GetPayment, PaymentState
from kessai.services.payment.subscribers import lapsed_holds
from tests.payment.world import World


async def test_hold_that_lapsed_in_the_ledger_lapses_its_payment(world: World) -> None:
    customer = await world.customer(funds=1_000)
    charge = await world.charge(customer, 600, capture=False)
    world.pass_days(8)
    jobs = LedgerJobs(world.database, world.clock, world.ledger, load_account_types())
    assert await jobs.expire_exchanges() == 1
    subscription = lapsed_holds(world.database, world.clock, world.payments)

    await Relay(world.database, "ledger").assign()
    while await subscription.deliver():
        pass

    found = await world.payments.get_payment(GetPayment(payment_id=charge.payment_id))
    assert found.state is PaymentState.EXPIRED
    assert await world.balance(customer) == (1_000, 1_000)
    assert await subscription.deliver() == 0
    assert await parked(world.database, "payment") == []


async def test_rest_of_a_hold_captured_in_part_that_lapsed_in_the_ledger_ends_captured(world: World) -> None:
    customer = await world.customer(funds=1_000)
    charge = await world.charge(customer, 600, capture=False)
    await world.payments.capture_charge(CaptureCharge(charge_id=charge.payment_id, amount_minor=200, final=False))
    world.pass_days(8)
    jobs = LedgerJobs(world.database, world.clock, world.ledger, load_account_types())
    assert await jobs.expire_exchanges() == 1

    assert await world.payments.expire_due() == 1

    found = await world.payments.get_payment(GetPayment(payment_id=charge.payment_id))
    assert (found.state, found.captured_minor) == (PaymentState.CAPTURED, 200)
    assert await world.balance(customer) == (800, 800)
    assert await world.payments.expire_due() == 0
