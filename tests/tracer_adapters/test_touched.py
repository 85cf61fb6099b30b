"""Each flush with effects tells which processings it touched, in one outbox row, and nothing else does."""

from __future__ import annotations

import msgspec

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.ids import new_hex, new_id
from kessai.sdk.processing.announce import touched_events
from kessai.sdk.processing.api import ProcessingTouched
from kessai.services.ledger.api import CreateExchange, Leg
from kessai.services.payment.api import CaptureCharge, PaymentRecord
from tests.faults.matrix.cases import Case
from tests.faults.matrix.conftest import NewLane
from tests.faults.matrix.play import play
from tests.faults.matrix.stories import STORIES
from tests.payment.world import World, opened

decode = msgspec.json.Decoder(list[ProcessingTouched]).decode


async def touched(database: Database, service: str) -> list[list[ProcessingTouched]]:
    """By outbox row, in order."""
    rows = await database.fetch(
        None, f"SELECT payload FROM {service}.outbox WHERE topic = 'processing.touched' ORDER BY outbox_id"
    )
    return [decode(row["payload"]) for row in rows]


async def ids(database: Database, service: str) -> set[str]:
    """Every processing that a service told of."""
    return {each for row in await touched(database, service) for told in row for each in told.processing_ids}


def test_a_flush_tells_what_began_with_it_apart() -> None:
    events = touched_events({"prc_1": True, "prc_2": False, "prc_3": True})
    told = [msgspec.json.decode(each, type=ProcessingTouched) for each in events]
    assert [(each.processing_ids, each.entry) for each in told] == [(["prc_1", "prc_3"], True), (["prc_2"], False)]


async def _charged(world: World, processing_id: str | None) -> PaymentRecord:
    customer = await world.customer(funds=1_000)
    token = enter_call(Call(caller="key_shop", processing_id=processing_id, request_key=new_hex()))
    try:
        return await world.charge(customer, 1_000, capture=False)
    finally:
        leave_call(token)


async def test_a_payment_begins_its_own_processing_unless_it_joins_one(database: Database) -> None:
    async with opened(database) as world:
        own = await _charged(world, None)
        await _charged(world, "prc_of_another")
        entered = {
            (each, told.entry)
            for row in await touched(database, "payment")
            for told in row
            for each in told.processing_ids
        }
    assert {(own.processing_id, True), (own.processing_id, False), ("prc_of_another", False)} <= entered
    assert ("prc_of_another", True) not in entered


async def test_later_actions_belong_to_the_payments_own_processing(database: Database) -> None:
    async with opened(database) as world:
        payment = await _charged(world, None)
        token = enter_call(Call(caller="key_shop", processing_id="prc_of_another", request_key=new_hex()))
        try:
            await world.payments.capture_charge(CaptureCharge(charge_id=payment.payment_id))
        finally:
            leave_call(token)
        assert "prc_of_another" not in await ids(database, "payment") | await ids(database, "ledger")
        rows = await database.fetch(None, "SELECT DISTINCT processing_id, caller FROM ledger.exchange_action")
        assert [tuple(row) for row in rows] == [(payment.processing_id, "payment")]


async def test_the_ledger_tells_nothing_of_what_has_no_processing(database: Database) -> None:
    async with opened(database) as world:
        leg = Leg(owner="internal:campaign", account_type="point_cost", amount_minor=5, asset="JPY")
        target = Leg(owner=f"cus:{new_hex()}", account_type="free_points", amount_minor=5, asset="JPY")
        await world.ledger.create_exchange(
            CreateExchange(exchange_id=new_id("exc"), sources=[leg], targets=[target], kind="grant")
        )
        assert await touched(database, "ledger") == []


async def test_everybody_who_acts_tells_and_is_called_by_name(new_lane: NewLane) -> None:
    lane = await new_lane()
    for name in ("charge_after_3d_secure", "withdrawal", "escrow_canceled"):
        await play(lane, Case(story=STORIES[name]))
    rows = await lane.database.fetch(None, "SELECT processing_id FROM payment.payment")
    made = {row["processing_id"] for row in rows}
    assert await ids(lane.database, "payment") == made == await ids(lane.database, "ledger")
    assert len(await ids(lane.database, "cardgateway")) == 2
    assert len(await ids(lane.database, "bank")) == 1
    for table in (
        "ledger.exchange",
        "cardgateway.card_authorization",
        "cardgateway.card_operation",
        "bank.instruction",
    ):
        callers = await lane.database.fetch(
            None, f"SELECT DISTINCT caller FROM {table} WHERE processing_id = ANY ($1::text[])", list(made)
        )
        assert [row["caller"] for row in callers] == ["payment"], table
