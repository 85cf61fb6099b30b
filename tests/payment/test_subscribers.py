"""A hold that lapses in the ledger lapses its payment, and hearing of it again changes nothing."""

from __future__ import annotations

from msgspec.structs import replace

from kessai.foundation.db import role_of
from kessai.foundation.events import Relay, parked
from kessai.foundation.events.outbox import outbox_insert, outbox_row
from kessai.services.bank.api import InstructionChanged, InstructionState
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.ledger.jobs import LedgerJobs
from kessai.services.payment.api import CaptureCharge, GetPayment, PaymentState, TopUp
from kessai.services.payment.subscribers import bank_results, lapsed_holds
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


async def test_what_the_bank_says_goes_on_with_its_payment_once(world: World) -> None:
    customer = await world.customer()
    account_id = world.bank.account_of(customer)
    request = TopUp(customer_id=customer, source="bank_debit", amount_minor=900, instrument_id=account_id)
    payment = await world.payments.top_up(request)
    world.bank.answers(InstructionState.DONE)
    (told,) = world.bank.books.values()
    event = InstructionChanged(
        event_id="1",
        instruction_id=told.instruction_id,
        kind=told.kind,
        state=told.state,
        account_id=account_id,
        owner_kind=told.owner_kind,
        owner_id=customer,
        amount_minor=900,
        failure_code=None,
        bank_reference=None,
        reference=payment.payment_id,
        processing_id="",
        version=2,
        occurred_at=world.clock.now(),
    )
    others = [replace(event, reference="somebody else's"), replace(event, reference=None)]
    row = outbox_row("bank.debit", [event, *others, event], world.clock.now())
    await world.database.fetch(role_of("bank"), outbox_insert("bank"), *([column] for column in row))
    subscription = bank_results(world.database, world.clock, world.payments)
    await Relay(world.database, "bank").assign()
    while await subscription.deliver():
        pass
    found = await world.payments.get_payment(GetPayment(payment_id=payment.payment_id))
    assert (found.state, await world.balance(customer)) == (PaymentState.CAPTURED, (900, 900))
    assert await parked(world.database, "payment") == []
