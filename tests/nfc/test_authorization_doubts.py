"""No authorization leaves a doubt: each story of the deadline, of repeats and of reversals comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from kessai.foundation.call import current_call
from kessai.foundation.db import Database
from kessai.foundation.errors import Refused, Unavailable, Unknown
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti, Original
from kessai.services.ledger.api import Freeze, FreezeAccount, account_id_of
from kessai.services.payment.api import CapturePayment, RefundPayment
from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.wire_faults import Fault
from tests.nfc.wire_world import WireWorld, opened

PEER = "network"


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


def reversal(original: Message, *, mti: Mti = Mti.REVERSAL_ADVICE, stan: str = "900001", stands: int = 0) -> Message:
    """What takes a request back."""
    assert original.stan is not None
    assert original.transmitted is not None
    assert original.acquirer is not None
    return Message(
        mti=mti,
        pan=original.pan,
        processing_code=original.processing_code,
        amount=original.amount,
        transmitted=original.transmitted,
        stan=stan,
        mcc=original.mcc,
        acquirer=original.acquirer,
        rrn=original.rrn,
        terminal=original.terminal,
        merchant=original.merchant,
        currency=original.currency,
        original=Original(
            mti=original.mti, stan=original.stan, transmitted=original.transmitted, acquirer=original.acquirer
        ),
        replacement_amount=stands or None,
    )


async def ask(world: WireWorld, message: Message) -> Message:
    """A message to the latest process, in this process; its answer."""
    answer = await world.desk.answer(iso8583.encode(message), PEER)
    assert answer is not None
    return iso8583.decode(answer)


async def request(world: WireWorld, card: str, amount: int) -> Message:
    """A 0100 that was made and not sent."""
    made = world.network.books.open(Tap(card=card, amount=amount))
    return world.message(made)


# -- the deadline -------------------------------------------------------------------------------------------------


async def test_when_the_payment_service_hangs_91_leaves_within_the_window_and_nothing_is_held(world: WireWorld) -> None:
    world.another_desk(window={"answer_ms": 300, "journal_ms": 100})
    customer_id, card = await world.holder(funds=5_000)
    hangs = asyncio.Event()
    world.line.before["create_payment"] = hangs.wait  # type: ignore[assignment]
    answer = await ask(world, await request(world, card, 700))
    assert answer.response == "91"
    hangs.set()
    del world.line.before["create_payment"]
    ended = await world.ends(customer_id, "REVERSED")
    assert (ended.response, ended.stands_minor) == ("91", 0)
    assert await world.available(customer_id) == 5_000


async def test_a_late_approval_is_undone(world: WireWorld) -> None:
    world.another_desk(window={"answer_ms": 300, "journal_ms": 100})
    customer_id, card = await world.holder(funds=5_000)
    held, hangs = asyncio.Event(), asyncio.Event()

    async def lose() -> None:
        held.set()
        await hangs.wait()

    world.line.after["create_payment"] = lose
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "91"
    await held.wait()
    del world.line.after["create_payment"]
    hangs.set()
    ended = await world.ends(customer_id, "REVERSED")
    assert (await world.payment(ended)).state == "CANCELED"
    assert await world.available(customer_id) == 5_000
    assert (await ask(world, message)).response == "91"


async def test_an_answer_that_the_payment_service_lost_is_91_and_undone(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)

    async def lose() -> None:
        world.line.after.clear()
        raise Unknown("no_answer", "The answer was lost.")

    world.line.after["create_payment"] = lose
    assert (await ask(world, await request(world, card, 700))).response == "91"
    ended = await world.ends(customer_id, "REVERSED")
    assert (await world.payment(ended)).state == "CANCELED"
    assert await world.available(customer_id) == 5_000


async def test_what_a_dead_process_left_open_is_undone_by_another(world: WireWorld) -> None:
    first = world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    died, never = asyncio.Event(), asyncio.Event()

    async def die() -> None:
        died.set()
        await never.wait()

    world.line.before["create_payment"] = die
    task = asyncio.create_task(first.answer(iso8583.encode(await request(world, card, 700)), PEER))
    await died.wait()
    assert (await world.only(customer_id)).state == "INSTRUCTED"
    world.line.before.clear()
    second = world.another_desk()
    assert await second.repairer.repair(open_for_ms=-1_000) == 1
    ended = await world.ends(customer_id, "REVERSED")
    assert ended.response == "91"
    assert await world.available(customer_id) == 5_000
    never.set()
    answer = await task
    assert answer is not None
    assert iso8583.decode(answer).response != "00"
    assert await world.available(customer_id) == 5_000


# -- repeats ------------------------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_stored_answer_byte_for_byte(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=5_000)
    heard = await world.tap(card, 700)
    again = await world.network.terminals.repeat(heard.id, "0100")
    assert again == {"response": "00", "same": True}
    assert await world.available(customer_id) == 4_300


async def test_repeats_at_the_same_moment_are_one_payment(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    data = iso8583.encode(await request(world, card, 700))
    answers = await asyncio.gather(*(world.desk.answer(data, PEER) for _ in range(5)))
    assert len(set(answers)) == 1
    assert iso8583.decode(answers[0] or b"").response == "00"
    assert await world.available(customer_id) == 4_300


async def test_repeats_in_two_processes_are_one_payment(world: WireWorld) -> None:
    first, second = world.another_desk(), world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    data = iso8583.encode(await request(world, card, 700))
    answers = await asyncio.gather(first.answer(data, PEER), second.answer(data, PEER))
    assert answers[0] == answers[1]
    assert await world.available(customer_id) == 4_300


async def test_other_content_under_the_same_key_is_a_duplicate(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "00"
    assert (await ask(world, replace(message, amount=900))).response == "94"
    assert await world.available(customer_id) == 4_300


# -- reversals ----------------------------------------------------------------------------------------------------


async def test_a_reversal_gives_everything_back(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=5_000)
    heard = await world.tap(card, 700)
    told = await world.network.reverse(heard.id)
    assert told.response == "00"
    ended = await world.ends(customer_id, "REVERSED")
    assert (await world.payment(ended)).state == "CANCELED"
    assert await world.available(customer_id) == 5_000
    again = await world.network.terminals.repeat(heard.id, "0400")
    assert again == {"response": "00", "same": True}


async def test_a_reversal_before_its_original_leaves_a_tombstone_and_the_original_is_declined(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=5_000)
    world.network.wire_faults.program(Fault(do="reversal_first", mti="0100"))
    heard = await world.tap(card, 700)
    assert (heard.response, heard.reversals[0].response) == ("12", "25")
    found = await world.only(customer_id)
    assert (found.kind, found.state, found.payment_id) == ("tombstone", "REVERSED", None)
    assert await world.available(customer_id) == 5_000


async def test_an_answer_lost_on_the_line_is_undone_by_the_reversal(world: WireWorld) -> None:
    await world.serve()
    world.network.terminals.answer_within_s = 0.5
    customer_id, card = await world.holder(funds=5_000)
    world.network.wire_faults.program(Fault(on="answer", do="drop", mti="0110"))
    heard = await world.tap(card, 700)
    assert heard.response is None
    await world.network.settled()
    await world.ends(customer_id, "REVERSED")
    assert await world.available(customer_id) == 5_000


async def test_a_reversal_while_the_original_is_being_decided_wins(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    held, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        world.line.after.clear()
        held.set()
        await go_on.wait()

    world.line.after["create_payment"] = wait
    message = await request(world, card, 700)
    original = asyncio.create_task(ask(world, message))
    await held.wait()
    assert (await ask(world, reversal(message))).response == "00"
    go_on.set()
    assert (await original).response == "12"
    await world.ends(customer_id, "REVERSED")
    assert await world.available(customer_id) == 5_000


async def test_a_partial_reversal_lowers_what_the_clearing_may_claim(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=5_000)
    heard = await world.tap(card, 700)
    told = await world.network.reverse(heard.id, 200)
    assert told.response == "00"
    found = await world.only(customer_id)
    assert (found.state, found.stands_minor, found.amount_minor) == ("APPROVED", 500, 700)
    message = world.message(heard)
    assert (await ask(world, reversal(message, stan="900002", stands=600))).response == "13"
    assert (await ask(world, reversal(message, stan="900003"))).response == "00"
    await world.ends(customer_id, "REVERSED")
    assert await world.available(customer_id) == 5_000


async def test_a_reversal_of_a_partly_captured_one_gives_back_what_was_taken_and_what_is_held(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "00"
    found = await world.only(customer_id)
    assert found.payment_id is not None
    await world.payments.capture_payment(CapturePayment(payment_id=found.payment_id, amount_minor=300, final=False))
    assert (await ask(world, reversal(message))).response == "00"
    ended = await world.ends(customer_id, "REVERSED")
    payment = await world.payment(ended)
    assert (payment.captured_minor, payment.refunded_minor) == (300, 300)
    assert await world.available(customer_id) == 5_000


async def test_what_cannot_be_given_back_today_is_given_back_on_a_day_on_which_it_can(
    world: WireWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal is for good under the key that it was asked under."""
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "00"
    payment = await world.payment(await world.only(customer_id))
    await world.payments.capture_payment(CapturePayment(payment_id=payment.payment_id))
    refund, closed, refused = world.payments.refund_payment, True, set[str | None]()

    async def refuse(request: RefundPayment) -> object:
        key = current_call().request_key
        if closed or key in refused:
            refused.add(key)
            raise Refused("account_closed", "The account is closed.")
        return await refund(request)

    monkeypatch.setattr(world.payments, "refund_payment", refuse)
    assert (await ask(world, reversal(message))).response == "00"
    assert await world.desk.repairer.repair(open_for_ms=-1_000) == 0
    closed = False
    assert await world.desk.repairer.repair(open_for_ms=-1_000) == 0
    assert ((await world.only(customer_id)).open_work, len(refused)) == ("undo", 2)
    world.pass_days(1)
    assert await world.desk.repairer.repair(open_for_ms=-1_000) == 1
    ended = await world.ends(customer_id, "REVERSED")
    assert (await world.payment(ended)).refunded_minor == 700
    assert await world.available(customer_id) == 5_000


async def test_a_reversal_of_another_amount_or_card_moves_nothing(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    _, other = await world.holder(funds=100)
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "00"
    strange = await request(world, other, 1)
    assert (await ask(world, replace(reversal(message), amount=600))).response == "12"
    assert (await ask(world, replace(reversal(message, stan="900005"), pan=strange.pan))).response == "12"
    assert (await world.only(customer_id)).state == "APPROVED"
    assert await world.available(customer_id) == 4_300


async def test_a_reversal_is_answered_though_the_payment_service_is_away_and_done_when_it_is_back(
    world: WireWorld,
) -> None:
    world.another_desk(window={"answer_ms": 2_000, "journal_ms": 1_000})
    customer_id, card = await world.holder(funds=5_000)
    message = await request(world, card, 700)
    assert (await ask(world, message)).response == "00"

    async def away() -> None:
        raise Unavailable("payment_unavailable", "The payment service is away.")

    for verb in ("create_payment", "get_payment", "cancel_payment"):
        world.line.before[verb] = away
    assert (await ask(world, reversal(message))).response == "00"
    assert (await world.only(customer_id)).state == "REVERSING"
    world.line.before.clear()
    await world.desk.repairer.repair(open_for_ms=-1_000)
    await world.ends(customer_id, "REVERSED")
    assert await world.available(customer_id) == 5_000


# -- advices ------------------------------------------------------------------------------------------------------


async def test_an_advice_is_never_declined_and_what_the_wallet_lacks_is_owed(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=400)
    heard = await world.network.advise(Tap(card=card, amount=1_000))
    assert heard.response == "00"
    ended = await world.ends(customer_id, "APPROVED")
    payment = await world.payment(ended)
    assert (payment.kind, payment.state) == ("id_forced", "AUTHORIZED")
    assert {each.source: each.amount_minor for each in payment.funding} == {"funds": 400, "id_claims": 600}
    again = await world.network.terminals.repeat(heard.id, "0120")
    assert again == {"response": "00", "same": True}


async def test_an_advice_on_a_frozen_account_is_owed_in_whole(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=400)
    await world.ledger.freeze_account(FreezeAccount(account_id=account_id_of(customer_id, "funds"), freeze=Freeze.BOTH))
    made = world.network.books.open(Tap(card=card, amount=300), advice=True)
    assert (await ask(world, world.message(made))).response == "00"
    ended = await world.ends(customer_id, "APPROVED")
    payment = await world.payment(ended)
    assert {each.source: each.amount_minor for each in payment.funding} == {"id_claims": 300}


async def test_an_advice_of_nobodys_card_is_kept_as_a_finding(world: WireWorld) -> None:
    world.another_desk()
    made = world.network.books.open(Tap(pan="9990000000000018", expiry="3012", amount=300), advice=True)
    assert (await ask(world, world.message(made))).response == "00"
    rows = await world.database.fetch(None, "SELECT state, refusal_code, work FROM nfc.id_authorization")
    assert [tuple(row) for row in rows] == [("APPROVED", "no_such_card", None)]


async def test_an_advice_under_the_key_of_something_else_is_00_and_a_finding(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)
    tap = await request(world, card, 700)
    assert (await ask(world, tap)).response == "00"
    advice = replace(tap, mti=Mti.ADVICE, approval_code="ADVICE", amount=900)
    for _ in range(2):
        told = await ask(world, advice)
        assert (told.response, told.approval_code, told.amount) == ("00", "ADVICE", 900)
    rows = await world.database.fetch(
        None, "SELECT kind, state, customer_id, ours_minor, theirs_minor FROM nfc.clearing_finding"
    )
    assert [tuple(row) for row in rows] == [("advice_differs", "OPEN", customer_id, 700, 900)]
    assert await world.available(customer_id) == 4_300


# -- standing in --------------------------------------------------------------------------------------------------


async def test_while_the_payment_service_is_down_a_tap_is_declined_by_default(world: WireWorld) -> None:
    world.another_desk()
    customer_id, card = await world.holder(funds=5_000)

    async def down() -> None:
        raise Unavailable("payment_unavailable", "The payment service is down.")

    world.line.before["create_payment"] = down
    assert (await ask(world, await request(world, card, 700))).response == "91"
    found = await world.only(customer_id)
    assert (found.state, found.refusal_code, found.stood_in) == ("DECLINED", "payment_unavailable", False)


async def test_standing_in_approves_up_to_the_floor_and_the_wallet_is_charged_later(world: WireWorld) -> None:
    world.another_desk(stand_in={"policy": "approve", "floor_minor": 1_000})
    customer_id, card = await world.holder(funds=600)

    async def down() -> None:
        raise Unavailable("payment_unavailable", "The payment service is down.")

    world.line.before["create_payment"] = down
    assert (await ask(world, await request(world, card, 1_001))).response == "91"
    world.pass_days(0.01)
    assert (await ask(world, await request(world, card, 900))).response == "00"
    above, within = await world.authorizations(customer_id)
    assert (above.stood_in, within.stood_in, within.open_work) == (False, True, "charge")
    world.line.before.clear()
    await world.desk.repairer.repair(open_for_ms=-1_000)
    _, charged = await world.authorizations(customer_id)
    assert (charged.state, charged.open_work) == ("APPROVED", None)
    payment = await world.payment(charged)
    assert {each.source: each.amount_minor for each in payment.funding} == {"funds": 600, "id_claims": 300}
