"""Damaged messages over real connections to the real server, and what must come of each: an answer or a line in the
log, and value that moves for a right one alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from msgspec.structs import replace

import kessai.apps.nfc_server as listener
import kessai.services.nfc.service.authorize as authorizing
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import FormatError, Message, Mti, Network, Unframer, mutations
from kessai.services.nfc.api import PrepaidCard
from tests.nfc.test_authorization_doubts import reversal
from tests.nfc.whole_world import WholeWorld
from tests.nfc.wire_world import network_message

AT_ONCE = 100
"""Messages of one connection before its answers are waited for."""
PATIENCE_S = 300.0
"""Past it something hangs."""
CARDS = 4
REQUESTS = (Mti.AUTHORIZATION, Mti.ADVICE, *iso8583.REVERSALS)


class CountedLog:
    """What is logged, by event."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def __getattr__(self, level: str) -> Any:
        def note(event: str, **_: object) -> None:
            self.told[event] += 1

        return note


@dataclass(slots=True)
class Tally:
    """What was sent, and what came of it."""

    sent: int = 0
    answered: int = 0
    broken_lines: int = 0
    keys: set[str] = field(default_factory=set[str])
    """Of right requests that the line let through: what alone may be journalled."""
    log: CountedLog = field(default_factory=CountedLog)


class WireFuzz:
    """Terminals of a network gone mad. One connection after the other, each with many messages in flight."""

    def __init__(self, world: WholeWorld, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.tally = Tally()
        self._noise = mutations.stream(seed)
        self._cards: list[PrepaidCard] = []

    async def run(self, messages: int) -> Tally:
        """Send so many; raises TimeoutError when anything is waited for too long, AssertionError when one is lost."""
        before = listener.log, authorizing.log
        listener.log = authorizing.log = self.tally.log  # type: ignore[assignment]  # a log that counts
        try:
            self._cards = [(await self.world.holder(funds=200_000))[1] for _ in range(CARDS)]
            while self.tally.sent < messages:
                await self._connection(min(AT_ONCE, messages - self.tally.sent))
                self.world.pass_time(seconds=30)
            await self.world.rest()
        finally:
            listener.log, authorizing.log = before
        return self.tally

    # -- a connection ---------------------------------------------------------------------------------------------

    async def _connection(self, messages: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.world.servers[-1].port)
        signed, expected, closed = self.random.random() < 0.95, 0, self._closings()
        if signed:
            writer.write(iso8583.frame(network_message(Network.SIGN_ON)))
            expected += 1
        for data in await self._drawn(messages):
            answers, signed = self._expected(data, signed=signed)
            expected += answers
            writer.write(iso8583.frame(data))
        self.tally.sent += messages
        async with asyncio.timeout(PATIENCE_S):
            await writer.drain()
            await self._answers(reader, expected)
            await self._end(reader, writer, closed)

    async def _answers(self, reader: asyncio.StreamReader, expected: int) -> None:
        unframer, found = Unframer(), 0
        while found < expected:
            data = await reader.read(65_536)
            assert data, f"the line was closed after {found} of {expected} answers"
            for answer in unframer.feed(data):
                assert iso8583.decode(answer).pan is None
                found += 1
        assert found == expected
        assert not unframer.within_a_message
        self.tally.answered += found

    async def _end(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, closed: int) -> None:
        """Leave as one should; or with half a message, or a length that none has, which ends the line and is logged."""
        how = self.random.choice(("leave", "half", "length"))
        if how == "half":
            whole = iso8583.frame(self._noise() or b"x")
            writer.write(whole[: self.random.randint(1, len(whole) - 1)])
            writer.write_eof()
        elif how == "length":
            writer.write(self.random.choice((b"\x00\x00", b"\xff\xff")) + self.random.randbytes(40))
        if how != "leave":
            assert await reader.read() == b""
            self.tally.broken_lines += 1
            while self._closings() <= closed:
                await asyncio.sleep(0.005)
        writer.close()

    def _closings(self) -> int:
        return self.tally.log.told["id_connection_closed"]

    # -- messages -------------------------------------------------------------------------------------------------

    async def _drawn(self, messages: int) -> list[bytes]:
        right = [await self._right() for _ in range(max(2, messages // 10))]
        return [self._one(right) for _ in range(messages)]

    def _one(self, right: list[bytes]) -> bytes:
        chance = self.random.random()
        if chance < 0.4:
            data = self._noise()
        else:
            data = self.random.choice(right)
            data = data if chance < 0.5 else mutations.damaged(self.random, data, self.random.choice(right))
        return data[: iso8583.MESSAGE_BYTES_MAX] or b"0"

    async def _right(self) -> bytes:
        """A request of a real card."""
        message = await self.world.request(self.random.choice(self._cards), self.random.randint(1, 3_000))
        kind = self.random.random()
        if kind < 0.15:
            message = reversal(message, stan=f"{self.random.randrange(10**6):06d}")
        elif kind < 0.25:
            message = replace(message, mti=Mti.ADVICE, approval_code="A00001", response="00")
            message = (
                message
                if _is_right(message)
                else replace(message, mti=Mti.AUTHORIZATION, approval_code=None, response=None)
            )
        return iso8583.encode(message)

    def _expected(self, data: bytes, *, signed: bool) -> tuple[int, bool]:
        """How many answers a message gets, and whether the line is signed on after it."""
        through = signed and data[:4] != b"0800"
        try:
            message = iso8583.decode(data)
        except FormatError:
            return int(iso8583.refuse(data) is not None), signed
        if through:
            self._note(message)
            return int(message.mti in REQUESTS), signed
        if message.mti is Mti.NETWORK and message.network is not Network.ECHO:
            signed = message.network is Network.SIGN_ON
        return int(message.mti in iso8583.ANSWERS), signed

    def _note(self, message: Message) -> None:
        if message.mti in (Mti.AUTHORIZATION, Mti.ADVICE):
            self.tally.keys.add(message.key)
        elif message.mti in iso8583.REVERSALS:
            self.tally.keys.add(message.original_key)


def _is_right(message: Message) -> bool:
    try:
        iso8583.encode(message)
    except FormatError:
        return False
    return True
