"""`kessai verify` over payments: each against its steps, its workflow and the ledger exchange that carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.services.payment.api import CancelCharge, CaptureCharge, RefundCharge
from tests.payment.world import World, opened


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database as the migrations leave it."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Payments in every state that a payment comes to rest in."""
    async with opened(database) as running:
        customer = await running.customer(funds=10_000, free_points=500)
        await running.charge(customer, 300, capture=True)
        await running.charge(customer, 100)
        canceled = await running.charge(customer, 200, "free_points", "funds")
        await running.payments.cancel_charge(CancelCharge(charge_id=canceled.payment_id))
        captured = await running.charge(customer, 700, "free_points", "funds")
        await running.payments.capture_charge(
            CaptureCharge(charge_id=captured.payment_id, amount_minor=400, final=False)
        )
        await running.payments.capture_charge(CaptureCharge(charge_id=captured.payment_id, amount_minor=200))
        await running.payments.refund_charge(RefundCharge(charge_id=captured.payment_id, amount_minor=50))
        yield running


async def test_nothing_is_found_in_payments_that_took_their_course(world: World) -> None:
    assert await verify(world.database.dsn) == []


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("payment", "captured_minor = captured_minor - 1 WHERE captured_minor > refunded_minor"),
        ("payment", "refunded_minor = refunded_minor + 1 WHERE refunded_minor < captured_minor"),
        ("payment", "state = 'CANCELED' WHERE state = 'CAPTURED'"),
        ("payment", "state = 'CAPTURED' WHERE state = 'AUTHORIZED'"),
        ("payment", "state = 'PENDING' WHERE state = 'AUTHORIZED'"),
        ("payment", "version = version + 1"),
        ("payment", "amount_minor = amount_minor + 1"),
        ("payment", "busy_with = gen_random_uuid()"),
        ("payment", "exchange_id = gen_random_uuid()"),
        ("payment", "expires_at = '2001-01-01Z' WHERE state = 'AUTHORIZED'"),
        ("refund", "amount_minor = amount_minor + 1"),
        ("refund", "state = 'REFUSED'"),
        ("refund", "exchange_id = gen_random_uuid()"),
    ],
)
async def test_an_edited_payment_is_found(world: World, table: str, edit: str) -> None:
    connection = await asyncpg.connect(world.database.dsn)
    assert not (await connection.execute(f"UPDATE payment.{table} SET {edit}")).endswith(" 0")
    await connection.close()
    assert f"payment.{table}" in {finding.table for finding in await verify(world.database.dsn)}


@pytest.mark.parametrize("table", ["payment", "payment_step", "refund"])
async def test_a_deleted_payment_is_found(world: World, table: str) -> None:
    connection = await asyncpg.connect(world.database.dsn)
    await connection.execute(f"DELETE FROM payment.{table}")
    await connection.close()
    assert await verify(world.database.dsn) != []


async def test_a_parked_workflow_is_found(world: World) -> None:
    connection = await asyncpg.connect(world.database.dsn)
    await connection.execute(
        "INSERT INTO payment.workflow_open (workflow_id, name, version, digest, request, call, executor_id,"
        " compensating, writes, started_at, parked_error)"
        " VALUES ('w', 'payment.create', 1, '', '', '', 'x', false, 0, '2026-01-01Z', 'its code has changed')"
    )
    await connection.close()
    (finding,) = await verify(world.database.dsn)
    assert (finding.table, finding.key) == ("payment.workflow_open", "w")
