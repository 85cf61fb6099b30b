"""Refusals that are final: remembered under the request's id, so that nobody carries it out after they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from kessai.apps.verify import verify
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, NotFound, PaymentError
from kessai.foundation.ids import new_hex
from kessai.services.ledger import api
from kessai.services.ledger.api import Exchange
from kessai.services.ledger.service import LedgerService
from kessai.services.ledger.store.rows import Rows

from .book import Another, Book, action_id, exchange_id
from .rows import picture

PAY = "cus:1/funds 300 > mer:1/unsettled_sales 300"
Ask = Callable[[Book], Awaitable[Exchange]]


def _pay(book: Book) -> Awaitable[Exchange]:
    return book.move(PAY, name="order", remember_refusal=True)


def _capture(book: Book) -> Awaitable[Exchange]:
    request = api.CaptureExchange(exchange_id=exchange_id("held"), action_id=action_id("take"), remember_refusal=True)
    return book.ledger.capture_exchange(request)


def _void(book: Book) -> Awaitable[Exchange]:
    request = api.VoidExchange(exchange_id=exchange_id("held"), action_id=action_id("stop"), remember_refusal=True)
    return book.ledger.void_exchange(request)


def _refund(book: Book) -> Awaitable[Exchange]:
    return book.reverse("gift", reversal="refund", remember_refusal=True)


async def _code(work: Awaitable[Exchange]) -> str:
    try:
        await work
    except PaymentError as refusal:
        return refusal.code
    return ""


@dataclass(frozen=True)
class Case:
    """A request, what makes it impossible, and what makes it possible again."""

    asked: Ask
    code: str
    before: Callable[[Book], Awaitable[object]]
    after: Callable[[Book], Awaitable[object]]


async def _nothing(_: Book) -> None:
    return


async def _let_it_lapse(book: Book) -> None:
    book.clock.advance(days=8)


async def _turn_back(book: Book) -> None:
    book.clock._now -= timedelta(days=8)  # pyright: ignore[reportPrivateUsage]  (a process whose clock is behind)


CASES = {
    "create": Case(
        _pay, "insufficient_funds",
        lambda b: b.move("cus:1/funds 1000 > cus:2/funds 1000"),
        lambda b: b.move("cus:2/funds 1000 > cus:1/funds 1000"),
    ),
    "reverse": Case(
        _refund, "insufficient_funds",
        lambda b: b.move("cus:3/funds 1 > cus:2/funds 1"), lambda b: b.move("cus:2/funds 1 > cus:3/funds 1"),
    ),
    "capture": Case(_capture, "hold_expired", _let_it_lapse, _turn_back),
}  # fmt: skip


@pytest.fixture
async def ready(book: Book) -> Book:
    """¥1,000 for one customer, ¥100 given to another, and a hold."""
    await book.open("cus:1/funds", "cus:2/funds", "cus:3/funds")
    await book.give("cus:1/funds 1100")
    await book.move("cus:1/funds 100 > cus:3/funds 100", name="gift")
    await book.give("cus:1/funds 50")
    await book.hold("cus:1/funds 50 > mer:1/unsettled_sales 50", name="held")
    return book


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_refusal_stays_one_although_nothing_stands_in_its_way_any_more(
    ready: Book, another: Another, database: Database, case: Case
) -> None:
    await case.before(ready)
    assert await _code(case.asked(ready)) == case.code
    await case.after(ready)
    there = await picture(database)
    for book in (ready, await another()):
        assert await _code(case.asked(book)) == case.code
    assert await picture(database) == there
    assert await verify(database.dsn) == []


@dataclass
class Stalled:
    """A ledger that was stopped between deciding its next page and writing it."""

    service: LedgerService
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    def stop_before_writing(self) -> None:
        writer = self.service.recorder.writer
        write = writer.write

        async def stalled(rows: Rows) -> None:
            self.decided.set()
            await self.goes_on.wait()
            await write(rows)

        writer.write = stalled


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_process_that_was_stopped_does_not_carry_out_what_another_has_refused(
    ready: Book, another: Another, database: Database, case: Case
) -> None:
    sleeper = await another()
    assert isinstance(sleeper.ledger, LedgerService)
    stalled = Stalled(sleeper.ledger)
    stalled.stop_before_writing()
    asleep = asyncio.ensure_future(_code(case.asked(sleeper)))
    await stalled.decided.wait()  # it has found nothing to stand in its way
    await case.before(ready)
    assert await _code(case.asked(ready)) == case.code
    await case.after(ready)
    then = [await ready.account(account) for account in ("cus:1/funds", "cus:3/funds")]
    stalled.goes_on.set()
    assert await asleep == case.code
    assert [await ready.account(account) for account in ("cus:1/funds", "cus:3/funds")] == then
    assert await verify(database.dsn) == []


async def test_process_that_was_stopped_answers_for_what_it_has_done_before_the_other_decides(
    ready: Book, another: Another
) -> None:
    other = await another()
    done = await _pay(ready)
    await ready.move("cus:1/funds <=1000 > cus:2/funds <=1000")
    assert await _pay(other) == done


async def test_of_many_at_once_all_are_told_the_same(ready: Book, another: Another, database: Database) -> None:
    other = await another()
    for number in range(8):
        name = f"race-{number}"

        def pay(book: Book, name: str = name) -> Awaitable[Exchange]:
            return book.move("cus:1/funds 700 > cus:2/funds 700", name=name, remember_refusal=True)

        spend = ready.move("cus:1/funds 900 > cus:2/funds 900")
        told = await asyncio.gather(
            spend, *[pay(book) for book in (ready, other) for _ in range(4)], return_exceptions=True
        )
        outcomes = {answer.code if isinstance(answer, PaymentError) else "" for answer in told[1:]}
        assert len(outcomes) == 1
        assert outcomes <= {"", "insufficient_funds"}
        await ready.move("cus:2/funds <=2000 > cus:1/funds <=2000")
        assert {await _code(pay(book)) for book in (ready, other)} == outcomes
    assert await verify(database.dsn) == []


async def test_request_that_was_refused_twice_on_one_page_is_remembered_once(ready: Book) -> None:
    asked = ready.request("cus:2/funds 1 > cus:1/funds 1", name="order", remember_refusal=True)
    other = ready.request("cus:2/funds 2 > cus:1/funds 2", name="order", remember_refusal=True)
    assert await ready.batch(asked, asked, other) == ["insufficient_funds", "insufficient_funds", "exchange_id_reused"]
    assert await ready.batch(asked, other) == ["insufficient_funds", "exchange_id_reused"]


async def test_refused_chain_is_remembered_member_by_member(ready: Book) -> None:
    asked = [
        ready.request("cus:1/funds 1 > cus:2/funds 1", name="one", linked=True, remember_refusal=True),
        ready.request("cus:3/funds 101 > cus:2/funds 101", name="two", remember_refusal=True),
    ]
    refused = ["linked_exchange_failed", "insufficient_funds"]
    assert await ready.batch(*asked) == refused
    await ready.move("cus:1/funds 1 > cus:3/funds 1")
    assert await ready.batch(*asked) == refused


async def test_other_content_under_a_refused_id_is_a_reuse(ready: Book) -> None:
    await CASES["create"].before(ready)
    assert await _code(_pay(ready)) == "insufficient_funds"
    for asked in (
        ready.move("cus:1/funds 1 > cus:2/funds 1", name="order", remember_refusal=True),
        ready.move("cus:1/funds 1 > cus:2/funds 1", name="order"),
        ready.reverse("gift", reversal="order"),
    ):
        with pytest.raises(Conflict) as refusal:
            await asked
        assert refusal.value.code == "exchange_id_reused"


async def test_wish_to_remember_is_no_part_of_what_is_asked_for(ready: Book, another: Another) -> None:
    done = await ready.move(PAY, name="done")
    assert await ready.move(PAY, name="done", remember_refusal=True) == done
    await ready.move("cus:1/funds <=1000 > cus:2/funds <=1000")
    assert await _code(ready.move(PAY, name="order")) == "insufficient_funds"
    assert await _code(_pay(ready)) == "insufficient_funds"
    await ready.move("cus:2/funds 700 > cus:1/funds 700")
    for book in (ready, await another()):
        assert await _code(book.move(PAY, name="order")) == "insufficient_funds"


async def test_idempotency_key_of_a_refused_request_is_told_as_replayed_or_reused(ready: Book) -> None:
    async def with_key(amount: int) -> tuple[str, bool]:
        call = Call(request_key=key)
        token = enter_call(call)
        try:
            asked = ready.move(f"cus:2/funds {amount} > cus:1/funds {amount}", remember_refusal=True)
            return await _code(asked), call.replayed
        finally:
            leave_call(token)

    key = new_hex()
    assert [await with_key(1), await with_key(1)] == [("insufficient_funds", False), ("insufficient_funds", True)]
    assert await with_key(2) == ("idempotency_key_reused", False)


async def test_refused_exchange_is_no_exchange(ready: Book, another: Another) -> None:
    await CASES["create"].before(ready)
    assert await _code(_pay(ready)) == "insufficient_funds"
    await CASES["create"].after(ready)
    for book in (ready, await another()):
        for asked in (book.exchange("order"), book.capture("order"), book.void("order"), book.reverse("order")):
            with pytest.raises(NotFound) as refusal:
                await asked
            assert refusal.value.code == "exchange_not_found"


async def test_reference_of_a_refused_exchange_stays_free(ready: Book) -> None:
    refused = ready.move("cus:2/funds 1 > cus:1/funds 1", name="one", reference="R-1", remember_refusal=True)
    assert await _code(refused) == "insufficient_funds"
    await ready.move("cus:1/funds 1 > cus:2/funds 1", name="two", reference="R-1")
    assert (await ready.exchange("two")).reference == "R-1"


async def test_refusals_of_actions_are_remembered_by_action(ready: Book, database: Database) -> None:
    unknown = api.CaptureExchange(exchange_id=exchange_id("later"), action_id=action_id("early"), remember_refusal=True)
    with pytest.raises(NotFound):
        await ready.ledger.capture_exchange(unknown)
    await ready.hold("cus:1/funds 10 > mer:1/unsettled_sales 10", name="later")
    with pytest.raises(NotFound):
        await ready.ledger.capture_exchange(unknown)
    await ready.capture("later", action="in time")
    await ready.capture("held")
    assert await _code(_void(ready)) == "exchange_not_authorized"
    assert await _code(_void(ready)) == "exchange_not_authorized"
    assert (await ready.exchange("later")).state is api.ExchangeState.CAPTURED
    assert await verify(database.dsn) == []


async def test_remembered_refusal_tells_all_that_the_first_one_told(ready: Book, another: Another) -> None:
    told: list[tuple[type[PaymentError], str, str, dict[str, object]]] = []
    for book in (ready, ready, await another()):
        with pytest.raises(PaymentError) as refusal:
            await book.move("cus:2/funds 1 > cus:1/funds 1", name="order", remember_refusal=True)
        error = refusal.value
        told.append((type(error), error.code, error.message, error.details))
    assert told[0] == told[1] == told[2]
    assert told[0][3] == {"leg": 0}


async def test_refusal_that_is_remembered_is_no_event(ready: Book, database: Database) -> None:
    count = "SELECT coalesce(sum(event_count), 0) FROM ledger.outbox"
    ((before,),) = await database.fetch(None, count)
    await CASES["create"].before(ready)
    assert await _code(_pay(ready)) == "insufficient_funds"
    ((after,),) = await database.fetch(None, count)
    assert after == before + 1  # of what was spent before


async def test_refused_exchange_opens_no_account_although_it_is_remembered(ready: Book) -> None:
    refused = ready.move("cus:2/funds 1 > mer:new/unsettled_sales 1", name="order", remember_refusal=True)
    assert await _code(refused) == "insufficient_funds"
    assert (await ready.ledger.list_accounts(api.ListAccounts(owner="mer:new"))).accounts == []
