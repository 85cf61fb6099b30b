"""The simulated card network over TCP: taps, reversals, advices and repeats, and how its line misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti
from kessai.simulators.cardnetwork import CardNetworkSimulator, Declined, Tap, WireFault
from kessai.simulators.cardnetwork.books import Books
from tests.simulators.issuer import Issuer, issuer

NOW = datetime(2026, 4, 30, 3, 0, 0, tzinfo=UTC)
CARD = "c000000000000001"
TAP = Tap(card=CARD, amount=1_200)


@pytest.fixture
async def network() -> AsyncIterator[CardNetworkSimulator]:
    simulator = CardNetworkSimulator(now=lambda: NOW, answer_within_s=20)
    simulator.books.issuing.issue(2, NOW)
    yield simulator
    await simulator.stop()


@pytest.fixture
async def bank() -> AsyncIterator[Issuer]:
    async with issuer() as it:
        yield it


async def test_it_signs_on_and_a_tap_is_approved_or_declined(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port, connections=3)
    assert [each.network for each in bank.heard] == ["001"] * 3
    told = await network.tap(TAP)
    assert (told.state, told.approved, told.response, told.approval_code) == ("approved", True, "00", "A1B2C3")
    bank.decide = lambda _: "51"
    declined = await network.tap(TAP)
    assert (declined.state, declined.approved, declined.response) == ("declined", False, "51")
    sent = bank.heard[3]
    assert sent.pan is not None
    assert sent.pan.digits == network.books.issuing.pan_of(network.books.issuing.cards[CARD])
    assert iso8583.passes_luhn(sent.pan.digits)
    assert (sent.entry_mode, sent.country, sent.currency, sent.rrn) == ("071", "JP", "392", told.rrn)
    assert sent.key == told.key
    assert await network.terminals.echo() == "00"


async def test_many_requests_are_in_flight_on_one_connection(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port, connections=1)
    bank.decide = lambda message: "00" if (message.amount or 0) % 2 == 0 else "51"
    told = await asyncio.gather(*(network.tap(Tap(card=CARD, amount=each)) for each in range(1, 201)))
    assert [each.approved for each in told] == [each % 2 == 0 for each in range(1, 201)]
    assert network.counts["unmatched"] == 0


async def test_a_tap_without_an_answer_is_reversed_until_that_is_answered(bank: Issuer) -> None:
    network = CardNetworkSimulator(now=lambda: NOW, answer_within_s=0.05)
    network.books.issuing.issue(1, NOW)
    await network.connect("127.0.0.1", bank.port)
    tries = 0

    def silent_at_first(message: Message) -> str | None:
        nonlocal tries
        if message.mti is Mti.AUTHORIZATION:
            return None
        tries += 1
        return None if tries < 3 else "00"

    bank.decide = silent_at_first
    told = await network.tap(TAP)
    assert (told.state, told.approved) == ("given_up", False)
    await network.settled()
    assert told.state == "reversed"
    assert bank.types()[:4] == ["0100", "0420", "0421", "0421"]
    assert set(bank.types()[4:]) <= {"0421"}
    first, *repeats = (each for each in bank.heard if each.mti in iso8583.REVERSALS)
    assert first.original_key == told.key
    assert {each.key for each in repeats} == {first.key}
    await network.stop()


async def test_an_answer_that_comes_too_late_changes_nothing(bank: Issuer) -> None:
    network = CardNetworkSimulator(now=lambda: NOW, answer_within_s=0.05)
    network.books.issuing.issue(1, NOW)
    await network.connect("127.0.0.1", bank.port)
    network.wire_faults.program(WireFault(on="answer", do="delay", mti="0110", delay_ms=100))
    told = await network.tap(TAP)
    await network.settled()
    while not told.late:
        await asyncio.sleep(0.01)
    assert (told.state, told.approved, told.late) == ("reversed", False, 1)
    assert network.counts["late"] == 1
    await network.stop()


async def test_a_reversal_takes_back_a_part_and_then_the_rest(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port)
    told = await network.tap(TAP)
    await network.reverse(told.id, 200)
    assert (told.state, told.reversed, told.stands) == ("approved", 200, 1_000)
    await network.reverse(told.id, advice=True)
    assert (told.state, told.reversed) == ("reversed", 1_200)
    part, rest = bank.heard[-2:]
    assert (part.mti, part.amount, part.replacement_amount) == (Mti.REVERSAL, 1_200, 1_000)
    assert (rest.mti, rest.replacement_amount) == (Mti.REVERSAL_ADVICE, None)
    with pytest.raises(Declined, match="above_what_stands"):
        await network.reverse(told.id, 1)


async def test_a_repeat_hears_whether_it_got_the_stored_answer(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port)
    told = await network.tap(TAP)
    assert await network.terminals.repeat(told.id, "0100") == {"response": "00", "same": True}
    await network.reverse(told.id)
    assert await network.terminals.repeat(told.id, "0400") == {"response": "00", "same": True}
    assert bank.types() == ["0100", "0100", "0400", "0401"]
    bank.stored.clear()
    bank.reversed.clear()
    bank.decide = lambda _: "05"
    assert await network.terminals.repeat(told.id, "0100") == {"response": "05", "same": False}
    with pytest.raises(Declined, match="message_not_found"):
        await network.terminals.repeat(told.id, "0420")


async def test_an_advice_tells_what_the_network_decided(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port)
    first = await network.tap(TAP)
    told = await network.advise(Tap(card=CARD, amount=700, authorization=first.id))
    assert (told.state, told.rrn, told.about) == ("advised", first.rrn, first.id)
    sent = bank.heard[-1]
    assert (sent.mti, sent.response, sent.approval_code) == (Mti.ADVICE, "00", told.approval_code)


@pytest.mark.parametrize("do", ["repeat", "reorder", "split"])
async def test_a_request_is_decided_once_however_it_comes(network: CardNetworkSimulator, bank: Issuer, do: str) -> None:
    await network.connect("127.0.0.1", bank.port, connections=1)
    network.wire_faults.program(WireFault(do=do))  # pyright: ignore[reportArgumentType]  # the parameters are literals
    told = await asyncio.gather(network.tap(TAP), network.tap(TAP))
    assert [each.state for each in told] == ["approved", "approved"]
    assert len(bank.stored) == 2
    keys = [each.key for each in bank.heard if each.mti is Mti.AUTHORIZATION]
    expected = {"repeat": [0, 0, 1], "reorder": [1, 0]}.get(do)
    if expected is not None:
        assert keys == [told[each].key for each in expected]


async def test_a_reversal_can_come_before_its_original(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port)
    network.wire_faults.program(WireFault(do="reversal_first"))
    told = await network.tap(TAP)
    assert bank.types() == ["0420", "0100"]
    assert (told.state, told.response) == ("declined", "94")


@pytest.mark.parametrize(("do", "ends"), [("half", "frame_cut"), ("disconnect", "politely")])
async def test_a_broken_line_comes_back_and_the_tap_is_reversed(bank: Issuer, do: str, ends: str) -> None:
    network = CardNetworkSimulator(now=lambda: NOW, answer_within_s=0.3)
    network.books.issuing.issue(1, NOW)
    await network.connect("127.0.0.1", bank.port, connections=1)
    bank.decide = lambda message: None if message.mti is Mti.AUTHORIZATION else "00"
    network.wire_faults.program(WireFault(do=do, mti="0100"))  # pyright: ignore[reportArgumentType]
    told = await network.tap(TAP)
    await network.settled()
    assert told.state == "reversed"
    assert sum(bank.ended.values()) == 1
    assert set(bank.ended) <= {ends, "broken"}
    assert network.counts["reconnected"] >= 1
    await network.stop()


@pytest.mark.parametrize(("do", "response"), [("spoil", "30"), ("garbage", None)])
async def test_what_cannot_be_read_moves_nothing(bank: Issuer, do: str, response: str | None) -> None:
    network = CardNetworkSimulator(now=lambda: NOW, answer_within_s=20 if response else 0.1)
    network.books.issuing.issue(1, NOW)
    await network.connect("127.0.0.1", bank.port)
    network.wire_faults.program(WireFault(do=do, mti="0100"))  # pyright: ignore[reportArgumentType]
    told = await network.tap(TAP)
    await network.settled()
    assert told.response == response
    assert not told.approved
    assert len(bank.refused) == 1
    await network.stop()


async def test_faults_meet_a_share_of_what_matches(network: CardNetworkSimulator, bank: Issuer) -> None:
    await network.connect("127.0.0.1", bank.port)
    network.wire_faults.draw_from(7)
    network.wire_faults.program(WireFault(do="repeat", times=0, chance=0.3))
    for _ in range(50):
        await network.tap(TAP)
    await network.settled()
    while network.counts["received"] < len(bank.heard):
        await asyncio.sleep(0.01)
    assert 5 <= network.counts["unmatched"] <= 30
    assert len(bank.types()) == 50 + network.counts["unmatched"]


async def test_the_books_survive_a_restart_and_hold_no_numbers(bank: Issuer, tmp_path: Path) -> None:
    path = tmp_path / "cardnetwork.jsonl"
    network = CardNetworkSimulator(path=path, now=lambda: NOW, answer_within_s=20)
    network.books.issuing.issue(1, NOW)
    await network.connect("127.0.0.1", bank.port)
    approved = await network.tap(TAP)
    network.terminals.answer_within_s = 0.05
    network.wire_faults.program(WireFault(do="drop", times=0))
    lost = await network.tap(TAP)
    await network.stop()
    pan = network.books.issuing.pan_of(network.books.issuing.cards[CARD])
    assert pan.encode() not in path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"type":"answ')

    again = CardNetworkSimulator(path=path, now=lambda: NOW, answer_within_s=20)
    assert again.books.authorizations[approved.id] == approved
    assert again.books.authorizations[lost.id].state == "given_up"
    assert again.books.issuing.pan_of(again.books.issuing.cards[CARD]) == pan
    await again.connect("127.0.0.1", bank.port)
    await again.settled()
    assert again.books.authorizations[lost.id].state == "reversed"
    read = Books.read(path)
    assert read is not None
    assert read.authorizations == again.books.authorizations
    await again.stop()


async def test_nobody_listens_and_then_somebody_does(network: CardNetworkSimulator) -> None:
    async with issuer() as gone:
        port = gone.port
    with pytest.raises(TimeoutError):
        await network.terminals.connect("127.0.0.1", port, within_s=0.01)
    tapping = asyncio.create_task(network.tap(TAP))
    it = Issuer()
    server = await asyncio.start_server(it.serve, "127.0.0.1", port)
    assert (await tapping).approved
    await network.disconnect()
    assert it.heard[-1].network == "002"
    server.close()
    await server.wait_closed()
