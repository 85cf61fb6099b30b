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
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.ledger.api import CreateExchange, Leg
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


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM settlement.open_transaction",
        "UPDATE settlement.open_transaction SET business_date = business_date + 1",
        "UPDATE settlement.open_transaction SET transaction_id = gen_random_uuid()",
    ],
)
async def test_a_transaction_that_no_day_would_look_at_is_found(sales: intake_world.World, change: str) -> None:
    await sales.sell(10_000)
    await sales.hear()
    assert (await told(sales.database)).findings == []
    await sales.database.fetch(None, change)
    assert {each.table for each in (await told(sales.database)).findings} == {"settlement.open_transaction"}


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


# -- the ledger -----------------------------------------------------------------------------------------------------

HELD = "what the ledger holds for a merchant is what settlement makes of it"
BY_PAYMENTS = "merchants' own money moves by payments alone"
BUSY = "busy_with = '00000000-0000-0000-0000-000000000001'"


async def by_hand(world: intake_world.World, owner: str, account_type: str, amount: int) -> None:
    """Somebody's own exchange into a merchant's account, or out of it."""
    mine = Leg(owner=owner, account_type=account_type, amount_minor=abs(amount), asset="JPY")
    other = Leg(owner="internal:till", account_type="deposit", amount_minor=abs(amount), asset="JPY")
    sources, targets = ([other], [mine]) if amount > 0 else ([mine], [other])
    await world.ledger.create_exchange(CreateExchange(kind="by_hand", sources=sources, targets=targets))


@pytest.mark.parametrize(
    ("account_type", "amount"), [("unsettled_sales", 700), ("settled_sales", 700), ("settled_claims", -700)]
)
async def test_an_exchange_without_a_payment_is_found_and_hides_nothing(
    sales: intake_world.World, account_type: str, amount: int
) -> None:
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    assert (await told(sales.database)).findings == []
    await by_hand(sales, SHOP, account_type, amount)
    (found,) = (await told(sales.database)).findings
    assert (found.invariant, found.table) == (BY_PAYMENTS, "ledger.exchange")
    assert found.sentence == f"it moved {amount} of {SHOP}/{account_type} without any payment"
    await sales.database.fetch(None, "UPDATE ledger.hot_log SET amount = amount + 1 WHERE amount = 10000")
    assert {each.invariant for each in (await told(sales.database)).findings} == {BY_PAYMENTS, HELD}


async def test_a_reference_of_ones_own_makes_no_payment_of_an_exchange(sales: intake_world.World) -> None:
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    leg = Leg(owner=SHOP, account_type="settled_sales", amount_minor=5, asset="JPY")
    other = Leg(owner="internal:till", account_type="deposit", amount_minor=5, asset="JPY")
    for reference in ("by hand", f"chg_{new_hex()}"):
        request = CreateExchange(kind="by_hand", sources=[other], targets=[leg], reference=reference)
        await sales.ledger.create_exchange(request)
    assert [each.invariant for each in (await told(sales.database)).findings] == [BY_PAYMENTS] * 2


async def test_what_moved_merchants_whom_settlement_does_not_know_is_told(sales: intake_world.World) -> None:
    await sales.sell(10_000)
    await sales.issue()
    await sales.settle(TODAY)
    await by_hand(sales, "mer:stranger", "settled_sales", 700)
    report = await told(sales.database)
    assert report.findings == []
    assert report.notes == ["Moved without a payment: 1 times, of 1 merchants that settlement does not know."]


async def test_what_a_payment_gave_back_is_its_own(cycles: cycle_world.World) -> None:
    await settled(cycles)
    await cycles.pay(date(2025, 11, 26))
    await cycles.bank_says(InstructionState.DONE)
    await cycles.bank_says(InstructionState.RETURNED, FailureCode.ACCOUNT_CLOSED)
    assert await cycles.balance("mer:x", "settled_sales") == 10_000
    found = [each for each in (await told(cycles.database)).findings if each.invariant in (HELD, BY_PAYMENTS)]
    put_there = [each for each in found if "unsettled_sales" in str(each)]
    assert found == put_there


@pytest.mark.parametrize("busy", [BUSY, "state = 'UNKNOWN'", f"captured_minor = 0, {BUSY}"])
async def test_a_payment_under_way_hides_nothing_else_of_its_owner(sales: intake_world.World, busy: str) -> None:
    charge = await sales.sell(10_000)
    await sales.sell(777)
    await sales.issue()
    await sales.settle(TODAY)
    under_way = f"UPDATE payment.payment SET {busy} WHERE encode(uuid_send(payment_id), 'hex') = $1"
    await sales.database.fetch(None, under_way, charge.payment_id[4:])
    held = [each for each in (await told(sales.database)).findings if each.invariant == HELD]
    assert held == []
    await sales.database.fetch(None, "UPDATE ledger.hot_log SET amount = amount + 1 WHERE amount = 777")
    held = [each for each in (await told(sales.database)).findings if each.invariant == HELD]
    assert [each.key for each in held] == [f"{SHOP}/unsettled_sales"]
