"""A process dies at every boundary of an authorization's journal and of its calls; another brings it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Unavailable
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message
from kessai.services.nfc.service.authorize import AuthorizationDesk
from kessai.services.payment.api import CapturePayment, ListPayments
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.test_authorization_doubts import reversal
from tests.nfc.wire_world import WireWorld, opened

FUNDS, AMOUNT = 5_000, 700
HELD = ("AUTHORIZED", "PARTIALLY_CAPTURED", "PENDING", "UNKNOWN")
BOUNDARIES_MAX = 40


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


class Death:
    """The process stops for good just before, or just after, the n-th thing that it does."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.passed = 0
        self.struck = asyncio.Event()

    async def pass_by(self) -> None:
        """One boundary."""
        self.passed += 1
        if self.passed == self.at:
            self.struck.set()
        if self.passed >= self.at:
            await asyncio.Event().wait()


class Mortal:
    """The payment service as a process that dies sees it."""

    def __init__(self, line: Any, death: Death) -> None:
        self._line = line
        self._death = death

    def __getattr__(self, verb: str) -> Callable[[Any], Awaitable[Any]]:
        async def call(request: Any) -> Any:
            await self._death.pass_by()
            answer = await getattr(self._line, verb)(request)
            await self._death.pass_by()
            return answer

        return call


def doomed(world: WireWorld, death: Death, **rules: Any) -> AuthorizationDesk:
    """A process that dies."""
    line, world.line = world.line, Mortal(world.line, death)  # type: ignore[assignment]
    desk = world.another_desk(**rules)
    world.line = line
    submit: Any = desk.journal.submit

    async def journalled(command: Any) -> Any:
        await death.pass_by()
        result: Any = await submit(command)
        await death.pass_by()
        return result

    desk.journal.submit = journalled  # type: ignore[method-assign]
    return desk


async def live(desk: AuthorizationDesk, death: Death, data: bytes) -> bool:
    """Give it a message; False when it died of it."""
    answering = asyncio.create_task(desk.answer(data, "network"))
    dying = asyncio.create_task(death.struck.wait())
    await asyncio.wait((answering, dying), return_when=asyncio.FIRST_COMPLETED)
    while not death.struck.is_set() and desk.behind:
        await asyncio.wait((*desk.behind, dying), return_when=asyncio.FIRST_COMPLETED)
    lived = not death.struck.is_set()
    for task in (answering, dying, *desk.behind):
        task.cancel()
    await asyncio.gather(answering, dying, *desk.behind, return_exceptions=True)
    return lived


async def told(desk: AuthorizationDesk, message: Message) -> str | None:
    """What a living process answers."""
    answer = await desk.answer(iso8583.encode(message), "network")
    return None if answer is None else iso8583.decode(answer).response


async def nothing_open(world: WireWorld, customer_id: str) -> None:
    """Repair until nothing is open."""
    async with asyncio.timeout(60):
        while any(each.open_work for each in await world.authorizations(customer_id)):
            await world.desk.repairer.repair(open_for_ms=-1_000)
            await asyncio.sleep(0.02)


Story = Callable[[WireWorld, Death], Awaitable[bool]]


async def a_tap_that_the_network_gives_up(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    lived = await live(doomed(world, death), death, iso8583.encode(message))
    survivor = world.another_desk()
    assert await told(survivor, reversal(message)) in ("00", "25")
    assert await told(survivor, message) in ("00", "12", "91")  # 00 where it was written down: a repeat gets that
    await nothing_open(world, customer_id)
    assert await world.available(customer_id) == FUNDS
    return lived


async def a_tap_that_nobody_asks_for_again(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    lived = await live(doomed(world, death), death, iso8583.encode(message))
    world.another_desk()
    await nothing_open(world, customer_id)
    standing = [each for each in await world.authorizations(customer_id) if each.state == "APPROVED"]
    assert await world.available(customer_id) == FUNDS - AMOUNT * len(standing)
    return lived


async def a_repeat_after_the_death(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    lived = await live(doomed(world, death), death, iso8583.encode(message))
    assert await told(world.another_desk(), message) == "00"
    await nothing_open(world, customer_id)
    assert await world.available(customer_id) == FUNDS - AMOUNT
    return lived


async def a_reversal(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    assert await told(world.another_desk(), message) == "00"
    back = reversal(message)
    lived = await live(doomed(world, death), death, iso8583.encode(back))
    assert await told(world.another_desk(), back) == "00"
    await nothing_open(world, customer_id)
    assert await world.available(customer_id) == FUNDS
    return lived


async def a_reversal_of_a_partly_captured_one(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    assert await told(world.another_desk(), message) == "00"
    payment_id = (await world.only(customer_id)).payment_id
    assert payment_id is not None
    await world.payments.capture_payment(CapturePayment(payment_id=payment_id, amount_minor=300, final=False))
    back = reversal(message)
    lived = await live(doomed(world, death), death, iso8583.encode(back))
    assert await told(world.another_desk(), back) == "00"
    await nothing_open(world, customer_id)
    assert await world.available(customer_id) == FUNDS
    return lived


async def a_reversal_before_its_original(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))
    back = reversal(message)
    lived = await live(doomed(world, death), death, iso8583.encode(back))
    survivor = world.another_desk()
    assert await told(survivor, back) == "25"
    assert await told(survivor, message) == "12"
    assert await world.available(customer_id) == FUNDS
    return lived


async def an_advice_that_the_wallet_cannot_bear(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=200)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT), advice=True))
    lived = await live(doomed(world, death), death, iso8583.encode(message))
    assert await told(world.another_desk(), message) == "00"
    await nothing_open(world, customer_id)
    payment = await world.payment(await world.only(customer_id))
    assert {each.source: each.amount_minor for each in payment.funding} == {"funds": 200, "id_claims": 500}
    made = await world.payments.list_payments(ListPayments(customer_id=customer_id, kind="id_forced"))
    assert [each.state for each in made.payments] == ["AUTHORIZED"]
    return lived


async def a_late_approval(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=FUNDS)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))

    async def late() -> None:
        world.line.after.clear()
        await asyncio.sleep(0.4)

    world.line.after["create_payment"] = late
    lived = await live(
        doomed(world, death, window={"answer_ms": 300, "journal_ms": 100}), death, iso8583.encode(message)
    )
    world.line.after.clear()
    world.another_desk()
    await nothing_open(world, customer_id)
    found = await world.authorizations(customer_id)
    assert [each.state for each in found] in ([], ["REVERSED"])
    assert await world.available(customer_id) == FUNDS
    return lived


async def a_tap_that_was_stood_in_for(world: WireWorld, death: Death) -> bool:
    customer_id, card = await world.holder(funds=200)
    message = world.message(world.network.books.open(Tap(card=card, amount=AMOUNT)))

    async def down() -> None:
        world.line.before.clear()
        raise Unavailable("payment_unavailable", "The payment service is down.")

    world.line.before["create_payment"] = down
    lived = await live(doomed(world, death, stand_in={"policy": "approve"}), death, iso8583.encode(message))
    world.line.before.clear()
    world.another_desk()
    await nothing_open(world, customer_id)
    found = await world.authorizations(customer_id)
    assert len(found) <= 1
    if found and found[0].state == "APPROVED":
        payment = await world.payment(found[0])
        assert {each.source: each.amount_minor for each in payment.funding} == {"funds": 200, "id_claims": 500}
    else:
        assert await world.available(customer_id) == 200
    return lived


STORIES: tuple[Story, ...] = (
    a_tap_that_the_network_gives_up,
    a_tap_that_nobody_asks_for_again,
    a_repeat_after_the_death,
    a_reversal,
    a_reversal_of_a_partly_captured_one,
    a_reversal_before_its_original,
    an_advice_that_the_wallet_cannot_bear,
    a_late_approval,
    a_tap_that_was_stood_in_for,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_a_death_at_every_boundary_comes_to_the_same_end(world: WireWorld, story: Story) -> None:
    for at in range(1, BOUNDARIES_MAX):
        if await story(world, Death(at)):
            assert at > 1, "it passed no boundary at all"
            return
    raise AssertionError("the story has no end")
