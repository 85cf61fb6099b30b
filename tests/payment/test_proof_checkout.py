"""`kessai verify` over codes and orders: whatever is edited of who used, confirmed or asked for what is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from kessai.apps.verify import verify
from kessai.foundation.db import Database
from kessai.services.payment.api import FundingSource
from kessai.services.payment.api.codes import ChargeCode, IssueCode, RevokeCode
from kessai.services.payment.api.orders import CancelOrder, ConfirmOrder, CreateOrder, NetOrder
from tests.payment.world import World, opened

FUNDS = [FundingSource(source="funds")]


async def ordered(world: World, amount: int, reference: str | None = None) -> NetOrder:
    """A shop's order."""
    request = CreateOrder(
        merchant_id="mer:shop", amount_minor=amount, success_url="https://shop.example/a",
        cancel_url="https://shop.example/b", reference=reference,
    )  # fmt: skip
    return await world.payments.create_order(request)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """Codes that were used, are good, and were revoked; orders that are open, paid, canceled and too late."""
    async with opened(database) as running:
        alice, bob = await running.customer(funds=5_000), await running.customer(funds=5_000)
        for customer in (alice, bob):
            code = await running.payments.issue_code(IssueCode(customer_id=customer, sources=FUNDS))
            await running.payments.charge_code(
                ChargeCode(code=code.code, merchant_id="mer:shop", amount_minor=300, capture=True)
            )
        await running.payments.issue_code(IssueCode(customer_id=alice, sources=FUNDS))
        unwanted = await running.payments.issue_code(IssueCode(customer_id=bob, sources=FUNDS))
        await running.payments.revoke_code(RevokeCode(code_id=unwanted.code_id))
        paid, canceled = await ordered(running, 700, reference="cart-7"), await ordered(running, 800)
        confirm = ConfirmOrder(order_id=paid.order_id, customer_id=alice, sources=FUNDS)
        await running.payments.confirm_order(confirm)
        await running.payments.cancel_order(CancelOrder(order_id=canceled.order_id))
        await ordered(running, 900)
        running.clock.advance(timedelta(minutes=31))
        await running.payments.expire_orders()
        await ordered(running, 1_000)
        second = await ordered(running, 1_100)
        await running.payments.confirm_order(ConfirmOrder(order_id=second.order_id, customer_id=bob, sources=FUNDS))
        yield running


async def test_nothing_is_found_in_codes_and_orders_that_took_their_course(world: World) -> None:
    assert await verify(world.database.dsn) == []
    states = await world.database.fetch(None, "SELECT state FROM payment.net_order ORDER BY state")
    assert [row["state"] for row in states] == ["BOUND", "CANCELED", "EXPIRED", "OPEN", "OPEN"]


ONE = "payment_id = (SELECT min(payment_id::text)::uuid FROM payment.one_time_code WHERE payment_id IS NOT NULL)"
PAYMENT = "(SELECT payment_id FROM payment.payment WHERE kind = 'top_up' LIMIT 1)"


@pytest.mark.parametrize(
    ("table", "edit"),
    [
        ("one_time_code", "customer_id = 'cus:thief' WHERE used_at IS NOT NULL"),
        ("one_time_code", "payment_id = gen_random_uuid() WHERE used_at IS NOT NULL"),
        ("one_time_code", f"{ONE} WHERE payment_id IS NOT NULL"),
        ("one_time_code", f"payment_id = {PAYMENT} WHERE used_at IS NOT NULL"),
        ("one_time_code", "used_at = used_at + interval '1 second' WHERE used_at IS NOT NULL"),
        ("one_time_code", "revoked_at = used_at WHERE used_at IS NOT NULL"),
        ("one_time_code", "expires_at = used_at WHERE used_at IS NOT NULL"),
        ("one_time_code", "issued_at = used_at + interval '1 second' WHERE used_at IS NOT NULL"),
        ("one_time_code", f"used_at = issued_at, payment_id = {PAYMENT} WHERE revoked_at IS NOT NULL"),
        ("net_order", "merchant_id = 'mer:thief'"),
        ("net_order", "customer_id = 'cus:thief' WHERE payment_id IS NOT NULL"),
        ("net_order", "reference = 'other' WHERE reference IS NOT NULL"),
        ("net_order", "asked = replace(asked, '700', '701') WHERE asked LIKE '%:700,%'"),
        ("net_order", "asked = 'x' WHERE state = 'BOUND'"),
        ("net_order", "content_sha256 = sha256(content_sha256)"),
        ("net_order", "payment_id = NULL WHERE state = 'OPEN' AND payment_id IS NOT NULL"),
        ("net_order", f"payment_id = {PAYMENT} WHERE payment_id IS NOT NULL"),
        ("net_order", f"payment_id = {PAYMENT} WHERE state = 'CANCELED'"),
        ("net_order", "state = 'OPEN' WHERE state = 'BOUND'"),
        ("net_order", "state = 'CANCELED' WHERE state = 'BOUND'"),
        ("net_order", "state = 'OPEN' WHERE state = 'EXPIRED'"),
        ("net_order", "version = version + 1"),
        ("net_order", "expires_at = expires_at - interval '1 day', created_at = created_at - interval '1 day'"),
        ("net_order_step", "sequence = sequence + 1 WHERE action = 'confirm'"),
        ("net_order_step", "state = 'EXPIRED' WHERE action = 'cancel'"),
        ("net_order_step", "payment_id = gen_random_uuid() WHERE action = 'confirm'"),
        ("net_order_step", "order_id = gen_random_uuid() WHERE action = 'expire'"),
        ("payment", "amount_minor = 1 WHERE reference = 'cart-7'"),
    ],
)
async def test_an_edited_code_or_order_is_found(world: World, table: str, edit: str) -> None:
    connection = await asyncpg.connect(world.database.dsn)
    assert not (await connection.execute(f"UPDATE payment.{table} SET {edit}")).endswith(" 0")
    await connection.close()
    found = await verify(world.database.dsn)
    assert any(each.table.startswith(("payment.one_time_code", "payment.net_order")) for each in found)
