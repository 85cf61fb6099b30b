"""What `kessai verify` makes of settlement: clean histories are clean, and nothing that was changed or taken hides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest

from kessai.apps.verify.finding import Report
from kessai.apps.verify.settlement import check_settlement
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Connection, Database
from kessai.foundation.ids import new_hex
from kessai.services.bank.api import InstructionState
from kessai.services.merchant.api import FeeUnit
from kessai.services.payment.api import ClearSales, MerchantMovement, MoveMerchants, PayOut, RefundPayment, RepayClaim
from kessai.services.settlement.domain.configuration import read_settlement
from tests.settlement import cycle_world, intake_world
from tests.settlement.intake_world import SHOP, fee_terms

TODAY, TOMORROW = date(2026, 12, 1), date(2026, 12, 2)
OCTOBER = date(2025, 10, 31)
OUTSIDE = "merchants' own money moves because settlement asked for it"


@pytest.fixture
async def sales(database: Database) -> AsyncIterator[intake_world.World]:
    """Sales, fees and days; a world whose pages are small."""
    async with intake_world.opened(database, intake_world.quick()) as running:
        yield running


@pytest.fixture
async def cycles(database: Database) -> AsyncIterator[cycle_world.World]:
    """Cycles whose daily summaries are put there."""
    async with cycle_world.opened(database) as running:
        yield running


async def told(database: Database) -> Report:
    """What verify tells of settlement."""
    report = Report()

    async def work(connection: Connection) -> None:
        rows = await connection.fetch("SELECT schemaname, tablename FROM pg_tables")
        tables = {f"{row['schemaname']}.{row['tablename']}" for row in rows}
        await check_settlement(connection, read_settlement(), report, tables=tables)

    await database.transaction(None, work)
    return report


# -- fees ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", list(FeeUnit))
async def test_sales_refunds_and_their_fees_are_found_to_be_right(sales: intake_world.World, unit: FeeUnit) -> None:
    sales.registry.fees[SHOP] = fee_terms(unit=unit)
    charge, _ = await sales.sell(10_000), await sales.sell(777)
    await sales.issue()
    await sales.settle(TODAY)
    for part in (3_333, 6_667):
        await sales.refund(charge, part)
        await sales.issue()
    await sales.settle(TOMORROW)
    assert (await told(sales.database)).findings == []
    await sales.hear()  # of what the last run gave back
    assert (await told(sales.database)).findings == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE settlement.fee SET tax_minor = 0",
        "UPDATE settlement.fee SET tax_rate_bps = 800",
        "UPDATE settlement.fee SET schedule = replace(schedule, '32400', '10000')",
        "UPDATE settlement.fee SET given_back_minor = 1",
        "UPDATE settlement.fee_base SET fee_minor = 1",
        "UPDATE settlement.fee_base SET refunded_minor = 5000",
        "UPDATE settlement.fee_base SET fee_id = NULL",
        "UPDATE settlement.fee_base SET amount_minor = 9999",
        "UPDATE settlement.fee_base SET schedule = NULL",
        "DELETE FROM settlement.fee_base",
        "UPDATE settlement.fee_base SET state = 'WAITING'",
    ],
)
async def test_a_fee_that_was_changed_is_found(sales: intake_world.World, change: str) -> None:
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    assert (await told(sales.database)).findings == []
    await sales.database.fetch(None, change)
    assert (await told(sales.database)).findings


async def test_a_total_that_is_not_its_parts_is_found(sales: intake_world.World) -> None:
    sales.registry.fees[SHOP] = fee_terms(unit=FeeUnit.DAY)
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    assert (await told(sales.database)).findings == []
    await sales.database.fetch(None, "UPDATE settlement.fee_part SET base_minor = 9000")
    assert {each.table for each in (await told(sales.database)).findings} == {"settlement.fee", "settlement.fee_base"}


# -- merchants' own money -----------------------------------------------------------------------------------------


async def outside(world: cycle_world.World) -> set[str]:
    """Tables in which verify finds what settlement never asked for."""
    return {each.table for each in (await told(world.database)).findings if each.invariant == OUTSIDE}


async def settled(world: cycle_world.World) -> None:
    """A merchant whose cycle was cleared, and which owes something of another one."""
    world.agree("mer:x")
    world.agree("mer:owes")
    await world.sell(date(2025, 10, 10), "mer:x", 10_000)
    await world.sell(date(2025, 10, 10), "mer:owes", -500)
    await world.settle(OCTOBER)


def _move(kind: str, prefix: str, amount: int, **other: Any) -> MoveMerchants:
    payment_id = f"{prefix}_{new_hex()}"
    return MoveMerchants(
        movements=[
            MerchantMovement(payment_id=payment_id, kind=kind, merchant_id="mer:x", amount_minor=amount, **other)
        ]
    )


async def test_what_settlement_moved_itself_is_no_finding(cycles: cycle_world.World) -> None:
    await settled(cycles)
    await cycles.pay(date(2025, 11, 26))
    await cycles.bank_says(InstructionState.DONE)
    assert await outside(cycles) == set()
    assert (await told(cycles.database)).notes == []


@pytest.mark.parametrize("kind", ["clearing", "fee", "payout", "repayment"])
async def test_what_somebody_took_of_a_merchant_is_found(cycles: cycle_world.World, kind: str) -> None:
    await settled(cycles)
    if kind == "clearing":
        request = _move("clearing", "clr", 7_777, counterpart_id="mer:thief")
        assert (await cycles.payments.move_merchants(request)).outcomes[0].code is None
    elif kind == "fee":
        assert (await cycles.payments.move_merchants(_move("merchant_fee", "mfe", 1))).outcomes[0].code is None
    elif kind == "payout":
        account = cycles.bank.account_of("mer:x")
        await cycles.payments.pay_out(PayOut(merchant_id="mer:x", bank_account_id=account, amount_minor=10_000))
    else:
        await cycles.payments.repay_claim(RepayClaim(merchant_id="mer:owes", amount_minor=500))
    assert await outside(cycles) == {"payment.payment"}


async def test_a_fee_that_somebody_gave_back_is_found(sales: intake_world.World) -> None:
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    (fee,) = await sales.rows("SELECT payment_id FROM settlement.fee")
    await sales.payments.refund_payment(RefundPayment(payment_id=fee["payment_id"], amount_minor=1))
    assert OUTSIDE in {each.invariant for each in (await told(sales.database)).findings}


async def test_what_an_operator_moves_of_a_merchant_without_settlement_is_told(cycles: cycle_world.World) -> None:
    token = enter_call(Call(caller="key_sato", request_key=new_hex()))
    try:
        await cycles.payments.clear_sales(ClearSales(merchant_id="mer:alone", amount_minor=300))
    finally:
        leave_call(token)
    report = await told(cycles.database)
    assert [each for each in report.findings if each.invariant == OUTSIDE] == []
    assert report.notes == ["Moved by hand: 1 × clearing of 300 in all, by key_sato."]
