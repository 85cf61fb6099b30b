"""The platform is stopped while somebody outside does not answer."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.config import Settings
from kessai.foundation.errors import PaymentError
from kessai.services.cardgateway.api import RegisterCard
from kessai.services.payment.api import CreateCharge, FundingSource, ListPayments, PaymentRecord, PaymentState
from kessai.simulators.cardgateway import CardGatewaySimulator
from kessai.simulators.faults import PRESETS

CUSTOMER = "cus:1"


@pytest.fixture
async def gateway() -> AsyncIterator[CardGatewaySimulator]:
    """A card gateway outside."""
    simulator = CardGatewaySimulator()
    await simulator.start()
    yield simulator
    await simulator.stop()


async def _charge(platform: Platform, card_id: str) -> PaymentRecord:
    token = enter_call(Call(caller="key_test", request_key=uuid.uuid4().hex))
    try:
        source = FundingSource(source="card", instrument_id=card_id)
        request = CreateCharge(customer_id=CUSTOMER, merchant_id="merchant:1", amount_minor=700, sources=[source])
        return await platform.payment.create_charge(request)
    finally:
        leave_call(token)


async def _only_payment(platform: Platform) -> PaymentRecord:
    (payment,) = (await platform.payment.list_payments(ListPayments(customer_id=CUSTOMER))).payments
    return payment


async def test_a_stop_does_not_wait_for_a_gateway_that_hangs_and_the_next_start_goes_on(
    database_url: str, gateway: CardGatewaySimulator
) -> None:
    settings = Settings(card_gateway_url=gateway.url)
    await prepare(database_url, settings)
    first = Platform(database_url, settings)
    await first.open()
    card = await first.cardgateway.register_card(RegisterCard(customer_id=CUSTOMER, form_token="tok_visa"))
    gateway.faults.program(replace(PRESETS["hang"], times=0))
    asked = asyncio.create_task(_charge(first, card.card_id))
    while all(each.verb != "authorize" for each in gateway.requests):
        await asyncio.sleep(0.01)
    await first.close(grace_s=0.0)
    with pytest.raises(PaymentError) as error:
        await asked
    assert error.value.retryable
    gateway.faults.clear()
    second = Platform(database_url, settings)
    await second.open()
    while (payment := await _only_payment(second)).state in (PaymentState.PENDING, PaymentState.UNKNOWN):
        await asyncio.sleep(0.05)
    assert payment.state is PaymentState.AUTHORIZED
    await second.close()
