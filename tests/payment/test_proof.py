"""`kessai verify` over payments of many kinds: an edit of who paid, who was paid, from what or how much is found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.foundation.ids import new_hex
from kessai.services.bank.api import InstructionState
from kessai.services.payment.api import (
    CaptureEscrow,
    CreateCharge,
    CreateEscrow,
    FundingSource,
    RefundCharge,
    TopUp,
    Withdraw,
)
from tests.payment.world import World, opened

CARD = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Payments of several kinds, some of them not at their end."""
    async with opened(database) as running:
        alice, bob = await running.customer(funds=5_000, free_points=100), await running.customer()
        mixed = CreateCharge(
            customer_id=alice,
            merchant_id="mer:shop",
            amount_minor=1_000,
            sources=[FundingSource(source="free_points"), FundingSource(source="funds", max_amount_minor=400), CARD],
            capture=True,
        )
        charge = await running.payments.create_charge(mixed)
        await running.payments.refund_charge(RefundCharge(charge_id=charge.payment_id, amount_minor=100))
        escrow = await running.payments.create_escrow(
            CreateEscrow(
                customer_id=alice,
                marketplace_id="mer:market",
                seller_id=bob,
                amount_minor=500,
                sources=[FundingSource(source="funds")],
            )
        )
        await running.payments.capture_escrow(
            CaptureEscrow(escrow_id=escrow.payment_id, amount_minor=300, fee_minor=30, final=False)
        )
        for state in (InstructionState.RETURNED, InstructionState.SENT):
            account_id = running.bank.account_of(alice)
            payment = await running.payments.withdraw(
                Withdraw(customer_id=alice, bank_account_id=account_id, amount_minor=600)
            )
            running.bank.answers(state)
            await running.payments.hear_from_bank(payment.payment_id)
        await running.payments.top_up(TopUp(customer_id=bob, source="store_payment", amount_minor=700))
        yield running


async def test_nothing_is_found_in_payments_that_took_their_course(world: World) -> None:
    assert await verify(world.database.dsn) == []


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("payment", "payee_id = 'mer:thief' WHERE kind = 'charge'"),
        ("payment", "payee_id = 'cus:thief' WHERE kind = 'top_up' AND state = 'REQUIRES_ACTION'"),
        ("payment", "payer_id = 'cus:victim' WHERE kind = 'charge'"),
        ("payment", "payer_id = 'cus:victim' WHERE kind = 'escrow'"),
        ("payment", "payer_id = 'cus:victim' WHERE kind = 'withdrawal' AND state = 'IN_FLIGHT'"),
        ("payment", "beneficiary_id = 'cus:thief' WHERE kind = 'escrow'"),
        ("payment", "funding = replace(funding, '400', '399') WHERE kind = 'charge'"),
        ("payment", "funding = replace(funding, 'free_points', 'paid_points') WHERE kind = 'charge'"),
        ("payment", "funding = '[]' WHERE kind = 'escrow'"),
        ("payment", "fee_minor = fee_minor + 1 WHERE kind = 'withdrawal'"),
        ("payment", "fee_minor = fee_minor - 1 WHERE kind = 'escrow'"),
        ("payment", "kind = 'escrow' WHERE kind = 'charge'"),
        ("payment", "kind = 'barter' WHERE kind = 'charge'"),
        ("payment", "state = 'CAPTURED' WHERE state = 'IN_FLIGHT'"),
        ("payment", "state = 'CAPTURED' WHERE state = 'RETURNED'"),
        ("payment", "captured_minor = captured_minor - 1 WHERE kind = 'escrow'"),
        ("payment_step", "fee_minor = fee_minor + 1 WHERE fee_minor > 0"),
        ("payment_step", "exchange_id = gen_random_uuid() WHERE exchange_id IS NOT NULL"),
        ("refund", "amount_minor = amount_minor + 1"),
    ],
)
async def test_an_edited_payment_is_found(world: World, table: str, edit: str) -> None:
    connection = await asyncpg.connect(world.database.dsn)
    assert not (await connection.execute(f"UPDATE payment.{table} SET {edit}")).endswith(" 0")
    await connection.close()
    assert any(finding.table.startswith("payment.") for finding in await verify(world.database.dsn))
