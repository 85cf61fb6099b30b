"""What a payment costs in commits: a wallet charge two of the journal and one of the ledger, as little as can be."""

from __future__ import annotations

from datetime import timedelta

from kessai.foundation.db import role_of
from kessai.services.payment.api import CaptureCharge, CreateCharge, GetPayment, PaymentState, Transfer
from tests.payment.world import World


async def commits(world: World) -> tuple[int, int]:
    """Flushes of the journal and of the ledger so far."""
    (row,) = await world.database.fetch(role_of("ledger"), "SELECT count(*) AS flushes FROM ledger.flush")
    return world.payments.journal_flushes, row["flushes"]


async def test_a_wallet_charge_takes_two_journal_flushes_and_one_of_the_ledger(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=10)
    await world.charge(customer, 1, capture=True)
    requests = [
        CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=10, capture=True),
        CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=10),
    ]
    made: list[str] = []
    for request in requests:
        journal, ledger = await commits(world)
        made.append((await world.payments.create_charge(request)).payment_id)
        assert await commits(world) == (journal + 2, ledger + 1)
    journal, ledger = await commits(world)
    await world.payments.capture_charge(CaptureCharge(charge_id=made[-1]))
    assert await commits(world) == (journal + 2, ledger + 1)


async def test_limits_cost_no_commit_of_their_own(world: World) -> None:
    alice, bob = await world.customer(funds=1_000), await world.customer()
    journal, ledger = await commits(world)
    await world.payments.transfer(Transfer(customer_id=alice, recipient_id=bob, amount_minor=10))
    assert await commits(world) == (journal + 2, ledger + 1)


async def test_changes_of_a_charge_enter_none_of_its_indexes_anew(world: World) -> None:
    customer = await world.customer(funds=1_000)
    for _ in range(5):
        created = await world.payments.create_charge(
            CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=10)
        )
        await world.payments.capture_charge(CaptureCharge(charge_id=created.payment_id))
    query = """
        SELECT string_agg(pg_get_indexdef(indexrelid), ' ') AS indexes FROM pg_index
        WHERE indrelid = 'payment.payment'::regclass
    """
    (row,) = await world.database.fetch(None, query)
    changed = ("state", "version", "busy_with", "captured_minor", "updated_at", "funding", "captures")
    assert [column for column in changed if column in row["indexes"]] == []


async def test_dates_of_payments_that_have_ended_go_once_they_are_past(world: World) -> None:
    customer = await world.customer(funds=1_000)
    request = CreateCharge(customer_id=customer, merchant_id="mer:shop", amount_minor=10)
    captured, held = [(await world.payments.create_charge(request)).payment_id for _ in range(2)]
    await world.payments.capture_charge(CaptureCharge(charge_id=captured))
    count = "SELECT count(*) AS dates FROM payment.payment_due"
    assert await world.payments.expire_due() == 0
    assert (await world.database.fetch(role_of("payment"), count))[0]["dates"] == 2
    world.clock.advance(timedelta(days=365))
    assert await world.payments.expire_due() == 1
    assert (await world.payments.get_payment(GetPayment(payment_id=held))).state is PaymentState.EXPIRED
    assert (await world.database.fetch(role_of("payment"), count))[0]["dates"] == 0
