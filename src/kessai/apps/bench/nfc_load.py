"""The load of `bench nfc`: a process of its own with signed-on connections, which taps cards over ISO 8583.

It shares the machine with the server, so it must cost little: each card's 0100 is encoded once, and of every tap only
fields 11 and 37 are written anew; of an answer only fields 11 and 39 are read. It keeps its own account of what it was
told: how many taps were approved, and how much that is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from typing import NamedTuple, TypeAlias, cast

import uvloop

from kessai.apps.bench.figures import Tally
from kessai.apps.bench.mixes import AMOUNT_MAX
from kessai.apps.bench.spawned import Spawned, follow_orders
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import Message, Mti, Network, Pan, Unframer

LAST_ANSWERS_S = 3.0
"""How long answers are waited for after the last tap."""
REFUSED_PAUSE_S = 0.1
"""After a refusal nobody taps again at once."""
SIGN_ON_S = 30.0
ACQUIRER = "10000000001"
_STAN, _RRN = "987654", "198765432101"
"""What stands in a card's message where each tap writes its own."""
_STANS = 1_000_000
_BITMAP_AT, _STAN_AT = 4, 40
"""Of an answer: MTI, eight bytes of bitmap, fields 3, 4 and 7; then 11, 32, 37, 38 if there is one, 39."""
_RESPONSE_AT = _STAN_AT + 6 + 2 + len(ACQUIRER) + 12
_APPROVAL_CODE_BYTE, _APPROVAL_CODE_BIT, _APPROVAL_CODE_LENGTH = _BITMAP_AT + 4, 0x04, 6


class TestCard(NamedTuple):
    """A card of the load's own."""

    number: str
    expiry: str
    """YYMM."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where taps go, and whose."""

    port: int
    connections: int
    cards: Sequence[TestCard]


@dataclass(frozen=True, slots=True)
class AtRate:
    """So many taps a second for `seconds`, whatever the answers do (open loop)."""

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class InTurns:
    """So many terminals for `seconds`, each taps again as soon as it is answered (closed loop)."""

    terminals: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """Have so many connections that are signed on and say nothing; 0 hangs up."""

    connections: int


Order = AtRate | InTurns | Idle


class Heard(NamedTuple):
    """What terminals heard of one stretch."""

    tally: Tally
    """Of approved taps; a latency counts from the instant at which the tap was due."""
    approved_minor: int
    unanswered: int


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._unframer = Unframer()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for each in self._unframer.feed(data):
            self._heard(each)

    def write(self, framed: bytes) -> None:
        """Send a message that has its length before it."""
        assert self._transport is not None
        self._transport.write(framed)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class _Stretch:
    """What is in flight, and what came of it."""

    def __init__(self, again: Callable[[], None] | None) -> None:
        self.tally = Tally()
        self.approved_minor = 0
        self.waiting: dict[bytes, tuple[float, int]] = {}
        """When a tap was due and its amount, by its field 11."""
        self.over = asyncio.Event()
        self.ending = False
        self._again = again

    def heard(self, answer: bytes) -> None:
        """An answer: whose it is, and what it says."""
        told = self.waiting.pop(answer[_STAN_AT : _STAN_AT + 6], None)
        if told is None:
            return
        due, amount = told
        self.tally.latencies_ms.append((time.perf_counter() - due) * 1e3)
        at = _RESPONSE_AT
        if answer[_APPROVAL_CODE_BYTE] & _APPROVAL_CODE_BIT:
            at += _APPROVAL_CODE_LENGTH
        response = answer[at : at + 2]
        if response == b"00":
            self.tally.acknowledged += 1
            self.approved_minor += amount
        else:
            self.tally.refuse(response.decode())
        if self._again is not None and not self.ending:
            if response == b"00":
                self._again()
            else:
                asyncio.get_running_loop().call_later(REFUSED_PAUSE_S, self._again)
        elif self.ending and not self.waiting:
            self.over.set()


class Terminals:
    """Terminals at all cards in turn, over a few connections."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lines: list[_Line] = []
        self._idle: list[_Line] = []
        self._stretch = _Stretch(None)
        self._taps = 0
        self._signed_on = 0
        self._templates = [_template(each) for each in server.cards]

    async def connect(self) -> None:
        """Sign on over every connection."""
        self._lines = await self._connected(self._server.connections)

    async def _connected(self, count: int) -> list[_Line]:
        loop, lines, before = asyncio.get_running_loop(), list[_Line](), self._signed_on
        for _ in range(count):
            _, line = await loop.create_connection(lambda: _Line(self._heard), "127.0.0.1", self._server.port)
            line.write(_framed(Message(mti=Mti.NETWORK, transmitted=_now(), stan="000000", network=Network.SIGN_ON)))
            lines.append(line)
        async with asyncio.timeout(SIGN_ON_S):
            while self._signed_on - before < count:  # noqa: ASYNC110  (no event for so many)
                await asyncio.sleep(0.01)
        return lines

    def close(self) -> None:
        """Hang up."""
        for each in (*self._lines, *self._idle):
            each.close()

    def _heard(self, answer: bytes) -> None:
        if answer.startswith(b"0110"):
            self._stretch.heard(answer)
        else:
            self._signed_on += 1

    async def run(self, order: Order) -> Heard | None:
        """Carry one order out."""
        match order:
            case AtRate(rate, seconds):
                return await self._at_rate(rate, seconds)
            case InTurns(terminals, seconds):
                return await self._in_turns(terminals, seconds)
            case Idle(connections):
                for each in self._idle:
                    each.close()
                self._idle = await self._connected(connections)
                return None

    async def _at_rate(self, rate: float, seconds: float) -> Heard:
        self._stretch = _Stretch(None)
        begun = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            self._tap(due)
        return await self._ended(begun)

    async def _in_turns(self, terminals: int, seconds: float) -> Heard:
        stretch = self._stretch = _Stretch(lambda: None if stretch.ending else self._tap(time.perf_counter()))
        begun = time.perf_counter()
        for _ in range(terminals):
            self._tap(begun)
        await asyncio.sleep(seconds)
        return await self._ended(begun)

    async def _ended(self, begun: float) -> Heard:
        stretch = self._stretch
        stretch.ending = True
        if stretch.waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await stretch.over.wait()
        stretch.tally.elapsed_s = time.perf_counter() - begun
        return Heard(stretch.tally, stretch.approved_minor, len(stretch.waiting))

    def _tap(self, due: float) -> None:
        number = self._taps = self._taps + 1
        (head, middle, tail), amount = self._templates[number % len(self._templates)]
        stan = b"%06d" % (number % _STANS)
        self._stretch.waiting[stan] = (due, amount)
        self._lines[number % len(self._lines)].write(b"%b%b%b%012d%b" % (head, stan, middle, number, tail))


_Template = tuple[tuple[bytes, bytes, bytes], int]


def _template(card: TestCard) -> _Template:
    """A card's 0100 around fields 11 and 37, and its amount."""
    message = _request(card)
    head, _, rest = _framed(message).partition(_STAN.encode())
    middle, _, tail = rest.partition(_RRN.encode())
    assert message.amount is not None
    return (head, middle, tail), message.amount


def _request(card: TestCard) -> Message:
    return Message(
        mti=Mti.AUTHORIZATION,
        pan=Pan(card.number),
        processing_code="000000",
        amount=1 + int(card.number[-4:-1]) % AMOUNT_MAX,
        transmitted=_now(),
        stan=_STAN,
        local_time="120000",
        local_date="0401",
        expiry=card.expiry,
        mcc="5812",
        entry_mode="071",
        condition="00",
        acquirer=ACQUIRER,
        rrn=_RRN,
        terminal="T0000001",
        merchant="SHOP00000000001",
        place=iso8583.name_and_location("KISSA KESSAI", "TOKYO", "JP"),
        currency="392",
    )


def _framed(message: Message) -> bytes:
    return iso8583.frame(iso8583.encode(message))


def _now() -> str:
    return iso8583.transmitted_at(datetime.now(UTC))


Load: TypeAlias = Spawned[Order, Heard | None]


def tapping(server: Server) -> Load:
    """A process that taps."""
    return Spawned(tap_cards, server)


def tap_cards(server: Server, pipe: Pipe) -> None:
    """The child's main function: for `Spawned`. Orders are `Order`; answers are what was heard."""
    uvloop.run(_serve(Terminals(server), pipe))


async def _serve(terminals: Terminals, pipe: Pipe) -> None:
    await terminals.connect()
    try:
        await follow_orders(pipe, terminals.run)
    finally:
        terminals.close()


def codec_us(card: TestCard, rounds: int = 2_000) -> float:
    """Microseconds that a 0100 takes in or out, in the median of its decodings and encodings."""
    data = iso8583.encode(_request(card))
    took = array("d")
    for _ in range(rounds):
        begun = time.perf_counter()
        iso8583.encode(iso8583.decode(data))
        took.append((time.perf_counter() - begun) * 1e6 / 2)
    return sorted(took)[rounds // 2]
