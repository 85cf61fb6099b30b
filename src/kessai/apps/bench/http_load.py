"""The load of `bench charge`: a process of its own with keep-alive connections, each creating and capturing charges.

A lean HTTP/1.1 client on bare asyncio protocols: it shares the machine with the server, so it must cost little.
It keeps its own account of what it was told: the sum of all captures that were acknowledged.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import cast
from urllib.parse import urlsplit
from uuid import uuid4

import uvloop

from kessai.apps.bench.figures import Tally
from kessai.apps.bench.mixes import AMOUNT_MAX, CUSTOMER_TYPE, Crowd, customer
from kessai.apps.bench.spawned import follow_orders

MERCHANTS = 100
_PAYMENT_ID = b'"payment_id":"'
_PAYMENT_ID_LENGTH = 36
_CODE = b'"code":"'


@dataclass(frozen=True, slots=True)
class Target:
    """Where the platform listens, and the key to use."""

    url: str
    api_key: str
    crowd: Crowd
    connections: int
    cards: tuple[tuple[str, str], ...] = ()
    """Customers that have a card, with its id."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Create and capture charges for `seconds`."""

    seconds: float
    seed: int


@dataclass(slots=True)
class Answer:
    """One HTTP response."""

    status: int
    body: bytes

    @property
    def code(self) -> str:
        """The stable code of a problem, or the status where there is none."""
        _, found, rest = self.body.partition(_CODE)
        return rest.partition(b'"')[0].decode() if found else str(self.status)


class Wire(asyncio.Protocol):
    """One keep-alive connection with at most one request on its way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = buffer[:head_end].lower()
        _, _, length = head.partition(b"content-length:")
        end = head_end + 4 + int(length.partition(b"\r\n")[0])
        if len(buffer) < end or self._waiting is None:
            return
        self._buffer = buffer[end:]
        self._waiting.set_result(Answer(int(head[9:12]), buffer[head_end + 4 : end]))

    @property
    def open(self) -> bool:
        """Whether requests can be sent: a server closes what was idle for long."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> Answer:
        """The answer to one prepared request."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def load_charges(target: Target, pipe: Pipe) -> None:
    """The child's main function: for `Spawned`. Orders are `Charge`; answers are a tally and what merchants gained."""
    uvloop.run(serve_load(Load(target), pipe))


async def serve_load(load: Load, pipe: Pipe) -> None:
    """Carry out orders with a load, from its first connection to its last."""
    await load.connect()
    try:
        await follow_orders(pipe, load.run)
    finally:
        load.close()


class Load:
    """Connections that each create and capture wallet charges, one after the other."""

    def __init__(self, target: Target) -> None:
        self.target = target
        place = urlsplit(target.url)
        assert place.hostname is not None
        assert place.port is not None
        self._host, self._port = place.hostname, place.port
        self._wires: list[Wire] = []
        self._fixed = (
            f"Host: {place.netloc}\r\nAuthorization: Bearer {target.api_key}\r\n"
            "Content-Type: application/json\r\nIdempotency-Key: "
        )

    async def connect(self) -> None:
        """Open every connection that is not open."""
        loop = asyncio.get_running_loop()
        self._wires = [wire for wire in self._wires if wire.open]
        while len(self._wires) < self.target.connections:
            _, wire = await loop.create_connection(Wire, self._host, self._port)
            self._wires.append(wire)

    def close(self) -> None:
        """Close every connection."""
        for wire in self._wires:
            wire.close()

    async def run(self, order: Charge) -> tuple[Tally, int]:
        """The stretch's tally, and what the merchants gained by what was acknowledged."""
        await self.connect()
        tally, dice = Tally(), random.Random(order.seed)  # noqa: S311  (a load, not a secret)
        started = time.perf_counter()
        until = started + order.seconds
        gained = await asyncio.gather(*(self._until(wire, until, dice, tally) for wire in self._wires))
        tally.elapsed_s = time.perf_counter() - started
        return tally, sum(gained)

    async def _until(self, wire: Wire, until: float, dice: random.Random, tally: Tally) -> int:
        gained = 0
        while time.perf_counter() < until:
            gained += await self.one(wire, dice, tally)
        return gained

    async def one(self, wire: Wire, dice: random.Random, tally: Tally) -> int:
        """One payment, to its end; gives what merchants gained by it, in minor units."""
        return await self.charge(wire, dice, tally, f'{{"source":"{CUSTOMER_TYPE}"}}', self.somebody(dice))

    async def charge(self, wire: Wire, dice: random.Random, tally: Tally, source: str, payer: str) -> int:
        """A charge from one source, created and captured."""
        amount = dice.randint(AMOUNT_MAX // 2, AMOUNT_MAX)
        body = (
            f'{{"customer_id":"{payer}","merchant_id":"{merchant(dice.randrange(MERCHANTS))}",'
            f'"amount_minor":{amount},"sources":[{source}]}}'
        )
        created = await self.post(wire, "/v1/charges", body, tally)
        if not accepted(created, tally):
            return 0
        payment_id = id_of(created)
        if not accepted(await self.post(wire, f"/v1/charges/{payment_id}/capture", "{}", tally), tally, "CAPTURED"):
            return 0
        tally.acknowledged += 1
        self.captured(payment_id, amount)
        return amount

    def captured(self, payment_id: str, amount_minor: int) -> None:
        """A charge has come to its end."""

    def somebody(self, dice: random.Random) -> str:
        """One of the customers."""
        crowd = self.target.crowd
        return customer(crowd.first + dice.randrange(crowd.count))

    async def post(self, wire: Wire, path: str, body: str, tally: Tally) -> Answer:
        """The answer to one request under a fresh key, its time taken."""
        head = f"POST {path} HTTP/1.1\r\n{self._fixed}{uuid4().hex}\r\nContent-Length: {len(body)}\r\n\r\n"
        sent = time.perf_counter()
        answer = await wire.ask(f"{head}{body}".encode())
        tally.latencies_ms.append((time.perf_counter() - sent) * 1e3)
        return answer


def accepted(answer: Answer, tally: Tally, state: str | None = None) -> bool:
    """Whether it is a result (of a payment in that state); otherwise it is counted as refused."""
    if answer.status not in (200, 201):
        tally.refuse(answer.code)
        return False
    if state is not None and f'"state":"{state}"'.encode() not in answer.body:
        tally.refuse(f"not_{state.lower()}")
        return False
    return True


def id_of(answer: Answer) -> str:
    """The id of the payment that it tells of."""
    at = answer.body.index(_PAYMENT_ID) + len(_PAYMENT_ID)
    return answer.body[at : at + _PAYMENT_ID_LENGTH].decode()


def merchant(number: int) -> str:
    """The id of a numbered merchant."""
    return f"bench/m{number:04d}"
