"""The same request again: the same answer, and nothing moves twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kessai.apps.verify import verify
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Database
from kessai.foundation.errors import KeyReused, PaymentError
from kessai.foundation.ids import new_hex
from kessai.services.ledger.api import Exchange, Freeze
from kessai.services.ledger.service import LedgerService

from .book import Another, Book
from .rows import picture

PAY = "cus:1/funds 300 > mer:1/unsettled_sales 300"
Again = Callable[[Book], Awaitable[Exchange]]

AGAIN: dict[str, Again] = {
    "create": lambda b: b.move(PAY, name="second", reference="R-2", metadata={"a": "b"}),
    "authorize": lambda b: b.hold(PAY, name="third"),
    "capture": lambda b: b.capture("order", 100, final=False, action="part"),
    "final-capture": lambda b: b.capture("order", action="rest"),
    "void": lambda b: b.void("order", action="stop"),
    "reverse": lambda b: b.reverse("paid", 50, reversal="refund"),
}


@pytest.fixture
async def ready(book: Book) -> Book:
    """One held and one paid exchange."""
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 5000")
    await book.hold(PAY, name="order")
    await book.move(PAY, name="paid")
    return book


@pytest.mark.parametrize("verb", AGAIN)
async def test_repetition_gives_the_same_answer_and_writes_nothing(ready: Book, database: Database, verb: str) -> None:
    first = await AGAIN[verb](ready)
    before = await picture(database)
    assert await AGAIN[verb](ready) == first
    assert await picture(database) == before


@pytest.mark.parametrize("verb", AGAIN)
async def test_repetition_in_another_process_gives_the_same_answer(ready: Book, another: Another, verb: str) -> None:
    first = await AGAIN[verb](ready)
    other = await another()
    assert await AGAIN[verb](other) == first
    assert await AGAIN[verb](ready) == first


@pytest.mark.parametrize("verb", AGAIN)
async def test_answer_is_the_one_given_then_although_more_happened_since(
    ready: Book, another: Another, verb: str
) -> None:
    first = await AGAIN[verb](ready)
    ready.clock.advance(days=1)
    await ready.reverse("paid", 10)
    await ready.move(PAY)
    if verb == "create":
        await ready.reverse("second", 100)
    if verb == "authorize":
        await ready.capture("third", 100)
    if verb == "capture":
        await ready.capture("order")
        await ready.reverse("order", 50)
    assert await AGAIN[verb](ready) == first
    assert await AGAIN[verb](await another()) == first


@pytest.mark.parametrize("forgotten", [False, True], ids=["same-process", "other-process"])
async def test_repetition_that_would_be_refused_by_now_gives_the_same_answer(
    ready: Book,
    another: Another,
    forgotten: bool,
) -> None:
    await ready.open("cus:2/funds")
    first = await ready.move("cus:1/funds 4000 > cus:2/funds 4000", name="second", reference="R-2")
    back = await ready.reverse("second", 1_000, reversal="back")
    await ready.freeze("cus:1/funds", Freeze.BOTH)
    asked = await another() if forgotten else ready
    assert await asked.move("cus:1/funds 4000 > cus:2/funds 4000", name="second", reference="R-2") == first
    await ready.move("cus:2/funds 3000 > mer:1/unsettled_sales 3000")
    assert await asked.reverse("second", 1_000, reversal="back") == back


@pytest.mark.parametrize("verb", AGAIN)
async def test_many_at_once_are_done_once(ready: Book, another: Another, database: Database, verb: str) -> None:
    other = await another()
    before = await picture(database)
    answers = await asyncio.gather(*[AGAIN[verb](book) for book in (ready, other) for _ in range(8)])
    assert all(answer == answers[0] for answer in answers)
    after = await picture(database)
    table = "exchange_action" if verb in {"capture", "final-capture", "void"} else "exchange"
    assert after[table][0] == before[table][0] + 1
    assert after["account_log"][0] == before["account_log"][0] + 1  # the customer's; the shop's account is log-only


async def test_of_two_contents_under_one_id_at_once_exactly_one_is_done(ready: Book, another: Another) -> None:
    other = await another()
    answers = await asyncio.gather(
        *[
            book.move(f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}", name="race")
            for book in (ready, other)
            for amount in (1, 2)
        ],
        return_exceptions=True,
    )
    done = {answer.legs[0].amount_minor for answer in answers if isinstance(answer, Exchange)}
    refused = [answer for answer in answers if isinstance(answer, PaymentError)]
    assert len(done) == 1
    assert [error.code for error in refused] == ["exchange_id_reused", "exchange_id_reused"]
    await ready.shows("cus:1/funds", balance=4_700 + done.pop())


async def test_of_two_exchanges_with_one_reference_at_once_exactly_one_is_done(ready: Book, another: Another) -> None:
    other = await another()
    answers = await asyncio.gather(
        *[book.move(PAY, reference="RACE") for book in (ready, other) for _ in range(3)], return_exceptions=True
    )
    assert sum(isinstance(answer, Exchange) for answer in answers) == 1
    assert {answer.code for answer in answers if isinstance(answer, PaymentError)} == {"reference_reused"}
    await ready.shows("cus:1/funds", balance=4_400)


async def _with_key(book: Book, key: str, work: Again) -> tuple[Exchange, bool]:
    call = Call(request_key=key)
    token = enter_call(call)
    try:
        return await work(book), call.replayed
    finally:
        leave_call(token)


async def test_idempotency_key_of_the_call_makes_the_request_idempotent(ready: Book) -> None:
    key = new_hex()
    first, replayed = await _with_key(ready, key, lambda b: b.move(PAY))
    assert not replayed
    again, replayed = await _with_key(ready, key, lambda b: b.move(PAY))
    assert (again, replayed) == (first, True)
    await ready.shows("cus:1/funds", balance=4_400)


async def test_idempotency_key_with_other_content_is_refused(ready: Book) -> None:
    key = new_hex()
    await _with_key(ready, key, lambda b: b.move(PAY))
    with pytest.raises(KeyReused):
        await _with_key(ready, key, lambda b: b.move("cus:1/funds 1 > mer:1/unsettled_sales 1"))


async def test_idempotency_key_of_a_capture_works_alike(ready: Book) -> None:
    key = new_hex()
    first, _ = await _with_key(ready, key, lambda b: b.capture("order", 100, final=False))
    again, replayed = await _with_key(ready, key, lambda b: b.capture("order", 100, final=False))
    assert (again, replayed) == (first, True)
    with pytest.raises(KeyReused):
        await _with_key(ready, key, lambda b: b.capture("order", 101, final=False))


async def test_idempotency_key_of_a_batch_works_alike(ready: Book) -> None:
    key = new_hex()

    async def pay(book: Book, amount: int) -> list[str]:
        call = Call(request_key=key)
        token = enter_call(call)
        try:
            request = book.request(f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}")
            return await book.batch(request, request)
        finally:
            leave_call(token)

    assert await pay(ready, 10) == ["done", "done"]
    assert await pay(ready, 10) == ["done", "done"]
    await ready.shows("cus:1/funds", balance=4_680)
    with pytest.raises(KeyReused):
        await pay(ready, 11)


async def _code(work: Awaitable[object]) -> str:
    try:
        await work
    except PaymentError as refusal:
        return refusal.code
    return "done"


REFUSED_BY_KEY: dict[str, tuple[Again, str, Again]] = {
    "create": (
        lambda b: b.move("cus:2/funds 300 > mer:1/unsettled_sales 300"),
        "insufficient_funds",
        lambda b: b.move("cus:2/funds 301 > mer:1/unsettled_sales 301"),
    ),
    "authorize": (
        lambda b: b.hold("cus:2/funds 300 > mer:1/unsettled_sales 300"),
        "insufficient_funds",
        lambda b: b.move("cus:2/funds 300 > mer:1/unsettled_sales 300"),
    ),
    "capture": (
        lambda b: b.capture("later"), "exchange_not_found", lambda b: b.capture("later", 1),
    ),
    "reverse": (
        lambda b: b.reverse("gift", 40), "insufficient_funds", lambda b: b.reverse("gift", 30),
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", REFUSED_BY_KEY)
async def test_what_a_key_was_refused_stays_its_answer(
    ready: Book, another: Another, database: Database, verb: str
) -> None:
    asked, code, other = REFUSED_BY_KEY[verb]
    key = new_hex()
    await ready.open("cus:2/funds")
    await ready.give("cus:2/funds 50")
    await ready.move("cus:2/funds 50 > cus:1/funds 50")
    await ready.move("cus:1/funds 50 > cus:2/funds 50", name="gift")
    await ready.move("cus:2/funds 50 > cus:1/funds 50")
    assert await _code(_with_key(ready, key, asked)) == code
    await ready.give("cus:2/funds 5000")
    await ready.hold(PAY, name="later")
    there = await picture(database)
    for book in (ready, await another()):
        assert await _code(_with_key(book, key, asked)) == code
        assert await _code(_with_key(book, key, other)) == "idempotency_key_reused"
    assert await picture(database) == there
    assert await _code(_with_key(ready, new_hex(), asked)) == "done"
    assert await verify(database.dsn) == []


async def test_batch_partly_refused_is_replayed_word_for_word(ready: Book, database: Database) -> None:
    key = new_hex()

    async def send() -> tuple[list[str], bool]:
        call = Call(request_key=key)
        token = enter_call(call)
        try:
            refused = ready.request("cus:2/funds 5 > mer:1/unsettled_sales 5")
            return await ready.batch(refused, ready.request("bank/deposit 9 > cus:1/funds 9")), call.replayed
        finally:
            leave_call(token)

    assert await send() == (["account_not_found", "done"], False)
    await ready.open("cus:2/funds")
    await ready.give("cus:2/funds 100")
    there = await picture(database)
    assert await send() == (["account_not_found", "done"], True)
    assert await picture(database) == there


async def test_id_of_the_callers_own_may_be_tried_again_after_a_refusal(ready: Book) -> None:
    key = new_hex()

    def pay(book: Book) -> Awaitable[Exchange]:
        return book.move("cus:2/funds 5 > mer:1/unsettled_sales 5", name="own")

    await ready.open("cus:2/funds")
    assert await _code(_with_key(ready, key, pay)) == "insufficient_funds"
    await ready.give("cus:2/funds 5")
    assert await _code(_with_key(ready, key, pay)) == "done"


async def _as_client(book: Book, key: str, work: Again) -> str:
    token = enter_call(Call(caller="key_1", request_key=key))
    try:
        return await _code(work(book))
    finally:
        leave_call(token)


def _several(*names: str | None, amount: int = 5) -> Again:
    async def send(book: Book) -> Exchange:
        text = f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}"
        assert set(await book.batch(*(book.request(text, name=name) for name in names))) == {"done"}
        return await book.exchange("paid")

    return send


OTHER_CONTENT: dict[str, tuple[Again, Again]] = {
    "create": (lambda b: b.move(PAY, name="one"), lambda b: b.move(PAY, name="two")),
    "reverse": (lambda b: b.reverse("paid", 5, reversal="one"), lambda b: b.reverse("paid", 5, reversal="two")),
    "reverse-of-another": (lambda b: b.reverse("paid", 5), lambda b: b.reverse("more", 5)),
    "capture-of-another": (lambda b: b.capture("order", 5), lambda b: b.capture("more", 5)),
    "capture": (lambda b: b.capture("order", 5, action="one"), lambda b: b.capture("more", 5, action="two")),
    "void-of-another": (lambda b: b.void("order"), lambda b: b.void("more")),
    "batch": (_several("one", "two"), _several("three", "four")),
    "longer-batch": (_several(None, None), _several(None, None, None)),
    "mixed-batch": (_several("one", None), _several("one", None, amount=6)),
}


@pytest.mark.parametrize("verb", OTHER_CONTENT)
async def test_clients_key_means_one_content_whatever_ids_it_names(
    ready: Book, another: Another, database: Database, verb: str
) -> None:
    key, (first, second) = new_hex(), OTHER_CONTENT[verb]
    await ready.hold(PAY, name="more")
    assert await _as_client(ready, key, first) == "done"
    there = await picture(database)
    for book in (ready, await another()):
        assert await _as_client(book, key, second) == "idempotency_key_reused"
        assert await _as_client(book, key, first) == "done"
    assert await picture(database) == there
    assert await verify(database.dsn) == []


async def test_clients_key_of_two_contents_at_once_means_one_of_them(
    ready: Book, another: Another, database: Database
) -> None:
    key, other = new_hex(), await another()
    told = await asyncio.gather(
        *(
            _as_client(book, key, lambda b, name=name: b.move(PAY, name=name))
            for book in (ready, other)
            for name in ("a", "b", "c")
        )
    )
    before = await ready.balance("cus:1/funds")
    assert sorted(told) == ["done"] * 2 + ["idempotency_key_reused"] * 4
    assert before == 4_400


async def test_batch_over_several_pages_has_one_key(ready: Book) -> None:
    key = new_hex()
    many = _several(*[None] * 1_500, amount=1)
    for _ in range(2):
        assert await _as_client(ready, key, many) == "done"
    await ready.shows("cus:1/funds", balance=3_200)


async def test_a_repetition_is_answered_without_a_page_that_fails_first(ready: Book) -> None:
    assert isinstance(ready.ledger, LedgerService)
    recorder = ready.ledger.recorder
    first = await ready.move(PAY, name="again")
    captured = await ready.capture("order", 100, final=False, action="again")
    before = recorder.conflicts
    for _ in range(3):
        assert await ready.move(PAY, name="again") == first
        assert await ready.capture("order", 100, final=False, action="again") == captured
    assert recorder.conflicts == before
    await ready.shows("cus:1/funds", balance=4_300)


async def test_repetitions_and_new_requests_share_a_page(ready: Book) -> None:
    first = await ready.move(PAY, name="again")
    answers = await asyncio.gather(
        *[ready.move(PAY, name="again" if number % 2 else f"new-{number}") for number in range(10)]
    )
    assert [answer == first for answer in answers] == [bool(number % 2) for number in range(10)]
    await ready.shows("cus:1/funds", balance=4_700 - 6 * 300)
