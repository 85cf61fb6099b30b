"""The line: who is let in, sign-on, many requests in flight, pieces of messages, back-pressure, and whatever comes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from kessai.apps import nfc_server
from kessai.apps.nfc_server import NfcServer, peer, tls_of
from kessai.foundation.db import Database
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti, Network
from kessai.sdk.iso8583.mutations import stream
from kessai.services.nfc.domain.rules import read_rules
from kessai.services.payment.api import ListPayments
from kessai.simulators.cardnetwork.records import Tap
from kessai.simulators.cardnetwork.wire_faults import Fault
from tests.nfc.certificates import Authority
from tests.nfc.wire_world import WireWorld, network_message, opened

WIRE = read_rules().wire
FUZZED = 400
ECHO = iso8583.frame(network_message(Network.ECHO))
SIGN_ON = iso8583.frame(network_message(Network.SIGN_ON))


class Slow:
    """A desk that answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.most = 0
        self.working = 0
        self.go_on = asyncio.Event()

    async def answer(self, data: bytes, peer: str, received_at: float | None = None) -> bytes | None:
        del peer, received_at
        self.begun += 1
        self.working += 1
        self.most = max(self.most, self.working)
        await self.go_on.wait()
        self.working -= 1
        return iso8583.encode(iso8583.decode(data).answer("91"))


@pytest.fixture
async def world(database: Database) -> AsyncIterator[WireWorld]:
    async with opened(database) as running:
        yield running


async def heard(reader: asyncio.StreamReader) -> Message:
    """The next message of a connection."""
    async with asyncio.timeout(20):
        length = int.from_bytes(await reader.readexactly(2))
        return iso8583.decode(await reader.readexactly(length))


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends it, and says nothing more."""
    async with asyncio.timeout(20):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def test_nothing_is_asked_for_before_a_sign_on(world: WireWorld) -> None:
    server = NfcServer(world.another_desk(), WIRE)
    port = await server.start()
    world.servers.append(server)
    customer_id, card = await world.holder(funds=900)
    message = world.message(world.network.books.open(Tap(card=card, amount=100)))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(iso8583.frame(iso8583.encode(message)))
    assert (await heard(reader)).response == "91"
    assert await world.authorizations(customer_id) == []
    writer.write(ECHO + SIGN_ON)
    assert [(await heard(reader)).response for _ in range(2)] == ["00", "00"]
    writer.write(iso8583.frame(iso8583.encode(message)))
    assert (await heard(reader)).response == "00"
    writer.write(iso8583.frame(network_message(Network.SIGN_OFF)) + iso8583.frame(iso8583.encode(message)))
    assert [(await heard(reader)).response for _ in range(2)] == ["00", "91"]
    writer.close()


async def test_a_stranger_is_not_let_in() -> None:
    server = NfcServer(Slow(), WIRE, peers=[peer("network", ["10.1.0.0/16"])])
    port = await server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await ended(reader)
    assert server.counts["refused"] == 1
    writer.close()
    await server.stop()


async def test_many_requests_are_in_flight_and_answered_in_whatever_order(world: WireWorld) -> None:
    await world.serve()
    people = [await world.holder(funds=1_000) for _ in range(8)]
    taps = [world.tap(card, 100) for _ in range(5) for _, card in people]
    outcomes = await asyncio.gather(*taps)
    assert {each.response for each in outcomes} == {"00"}
    assert [await world.available(customer_id) for customer_id, _ in people] == [500] * 8


async def test_messages_in_pieces_and_in_heaps_are_told_apart() -> None:
    desk = Slow()
    desk.go_on.set()
    server = NfcServer(desk, WIRE)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    for byte in SIGN_ON:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0)
    assert (await heard(reader)).response == "00"
    writer.write(ECHO * 50)
    assert {(await heard(reader)).response for _ in range(50)} == {"00"}
    writer.close()
    await server.stop()


async def test_no_more_is_read_while_too_much_is_in_flight() -> None:
    desk, small = Slow(), replace(WIRE, in_flight_max=4)
    server = NfcServer(desk, small)
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    writer.write(SIGN_ON)
    assert (await heard(reader)).response == "00"
    (line,) = server.lines
    one = iso8583.frame(iso8583.encode(_advice()))
    writer.write(one * 2_000)
    async with asyncio.timeout(20):
        while desk.begun < 4 or line.reading:
            await asyncio.sleep(0.01)
    assert desk.begun == 4
    desk.go_on.set()
    assert {(await heard(reader)).response for _ in range(2_000)} == {"91"}
    assert desk.most == 4
    writer.close()
    await server.stop()


async def test_a_server_that_stops_answers_what_it_has_read() -> None:
    desk = Slow()
    server = NfcServer(desk, replace(WIRE, in_flight_max=2))
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    writer.write(SIGN_ON)
    assert (await heard(reader)).response == "00"
    writer.write(iso8583.frame(iso8583.encode(_advice())) * 5)
    async with asyncio.timeout(20):
        while server.counts["received"] < 3:
            await asyncio.sleep(0.01)
    stopping = asyncio.create_task(server.stop(grace_s=20))
    await asyncio.sleep(0)
    desk.go_on.set()
    assert [(await heard(reader)).response for _ in range(5)] == ["91"] * 5
    assert await ended(reader)
    await stopping
    writer.close()


async def test_a_length_that_no_message_has_ends_the_connection_and_no_other() -> None:
    desk = Slow()
    server = NfcServer(desk, WIRE)
    port = await server.start()
    bad, bad_writer = await asyncio.open_connection("127.0.0.1", port)
    good, good_writer = await asyncio.open_connection("127.0.0.1", port)
    bad_writer.write(b"\xff\xff" + b"x" * 100)
    assert await ended(bad)
    good_writer.write(SIGN_ON)
    assert (await heard(good)).response == "00"
    for each in (bad_writer, good_writer):
        each.close()
    await server.stop()


async def test_what_goes_silent_or_does_not_sign_on_is_closed() -> None:
    server = NfcServer(Slow(), replace(WIRE, unsigned_s=0.1, silent_s=0.1))
    port = await server.start()
    mute, mute_writer = await asyncio.open_connection("127.0.0.1", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(SIGN_ON)
    assert (await heard(reader)).response == "00"
    assert await ended(mute)
    assert await ended(reader)
    assert server.counts["closed_silent"] == 2
    for each in (mute_writer, writer):
        each.close()
    await server.stop()


async def test_a_connection_that_takes_no_answers_does_not_stay_when_it_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nfc_server, "SWEEP_S", 0.05)
    server = NfcServer(Slow(), replace(WIRE, unsigned_s=0.1, silent_s=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", await server.start())
    while not server.lines:
        await asyncio.sleep(0.01)
    (line,) = server.lines
    transport = line._transport  # pyright: ignore[reportPrivateUsage]
    assert transport is not None
    transport.write(b"0" * 50_000_000)  # more than the system takes for one that reads nothing
    async with asyncio.timeout(20):
        while server.lines:
            await asyncio.sleep(0.01)
    assert server.counts["closed_silent"] == 1
    writer.close()
    del reader
    await server.stop()


async def test_format_errors_are_answered_30_and_move_nothing(world: WireWorld) -> None:
    await world.serve()
    customer_id, card = await world.holder(funds=900)
    world.network.wire_faults.program(Fault(do="spoil", mti="0100"))
    assert (await world.tap(card, 100)).response == "30"
    assert await world.authorizations(customer_id) == []
    assert (await world.tap(card, 100)).response == "00"


async def test_a_connection_that_breaks_leaves_no_doubt(world: WireWorld) -> None:
    server = await world.serve()
    world.network.terminals.answer_within_s = 1.0
    customer_id, card = await world.holder(funds=900)
    for do in ("half", "disconnect", "garbage"):
        world.network.wire_faults.program(Fault(do=do, mti="0100"))  # type: ignore[arg-type]
        assert (await world.tap(card, 100)).response in (None, "30")
    await world.network.settled()
    async with asyncio.timeout(30):
        while any(each.open_work for each in await world.authorizations(customer_id)):
            await asyncio.sleep(0.02)
    assert {each.state for each in await world.authorizations(customer_id)} == {"REVERSED"}
    assert await world.available(customer_id) == 900
    assert server.counts["received"] > 0


async def test_damaged_messages_do_no_harm_and_move_no_money(world: WireWorld) -> None:
    server = await world.serve()
    customer_id, card = await world.holder(funds=900)
    following = stream(7)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(SIGN_ON)
    assert (await heard(reader)).response == "00"
    for _ in range(FUZZED):
        data = following()
        if 0 < len(data) <= iso8583.MESSAGE_BYTES_MAX:
            writer.write(iso8583.frame(data))
    writer.write(iso8583.frame(network_message(Network.SIGN_ON, 999_999)))
    answer = await heard(reader)
    while (answer.mti, answer.stan) != (Mti.NETWORK_ANSWER, "999999"):
        answer = await heard(reader)
    async with asyncio.timeout(60):
        while any(line.in_flight for line in server.lines):
            await asyncio.sleep(0.02)
    assert await world.available(customer_id) == 900
    assert (await world.payments.list_payments(ListPayments(kind="id_charge"))).payments == []
    assert (await world.tap(card, 100)).response == "00"
    writer.close()


async def test_mutual_tls_lets_in_only_whom_the_authority_signed(tmp_path: Path) -> None:
    authority = Authority("authority")
    ours, theirs = authority.certificate(tmp_path, "ours"), authority.certificate(tmp_path, "theirs")
    tls = tls_of(*ours, authority.file(tmp_path))
    server = NfcServer(Slow(), WIRE, peers=[peer("network", subjects=["theirs"])], tls=tls)
    port = await server.start()

    async def signed_on(context: ssl.SSLContext) -> str | None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(SIGN_ON)
            return (await heard(reader)).response
        finally:
            writer.close()

    context = ssl.create_default_context(cafile=authority.file(tmp_path))
    context.check_hostname = False
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await signed_on(context)
    context.load_cert_chain(*theirs)
    assert await signed_on(context) == "00"
    context.load_cert_chain(*ours)
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await signed_on(context)
    await server.stop()


def _advice() -> Message:
    """A 0120 of nobody's card."""
    return Message(
        mti=Mti.ADVICE,
        pan=iso8583.Pan("9990000000000018"),
        processing_code="000000",
        amount=100,
        transmitted="0430030000",
        stan="000001",
        local_time="120000",
        local_date="0430",
        mcc="5812",
        entry_mode="071",
        condition="00",
        acquirer="10000000001",
        rrn="612012000001",
        terminal="T0000001",
        merchant="SHOP00000000001",
        place=iso8583.name_and_location("KISSA", "TOKYO", "JP"),
        currency="392",
    )
