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
    """The child's main function: for `Spawned`. Orders are `Charge`; answers are tallies."""
    uvloop.run(_work(target, pipe))


async def _work(target: Target, pipe: Pipe) -> None:
    load = _Load(target)
    await load.connect()
    try:
        await follow_orders(pipe, load.run)
    finally:
        load.close()


class _Load:
    def __init__(self, target: Target) -> None:
        self._target = target
        place = urlsplit(target.url)
        assert place.hostname is not None
        assert place.port is not None
        self._host, self._port = place.hostname, place.port
        self._wires: list[Wire] = []
        fixed = (
            f"Host: {place.netloc}\r\nAuthorization: Bearer {target.api_key}\r\n"
            "Content-Type: application/json\r\nIdempotency-Key: "
        )
        self._create = f"POST /v1/charges HTTP/1.1\r\n{fixed}"
        self._fixed = fixed

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._target.connections):
            _, wire = await loop.create_connection(Wire, self._host, self._port)
            self._wires.append(wire)

    def close(self) -> None:
        for wire in self._wires:
            wire.close()

    async def run(self, order: Charge) -> tuple[Tally, int]:
        """The stretch's tally, and the sum of the captures that were acknowledged."""
        tally, dice = Tally(), random.Random(order.seed)  # noqa: S311  (a load, not a secret)
        started = time.perf_counter()
        until = started + order.seconds
        captured = await asyncio.gather(*(self._charges(wire, until, dice, tally) for wire in self._wires))
        tally.elapsed_s = time.perf_counter() - started
        return tally, sum(captured)

    async def _charges(self, wire: Wire, until: float, dice: random.Random, tally: Tally) -> int:
        captured = 0
        while time.perf_counter() < until:
            amount = dice.randint(1, AMOUNT_MAX)
            crowd = self._target.crowd
            body = (
                f'{{"customer_id":"{customer(crowd.first + dice.randrange(crowd.count))}",'
                f'"merchant_id":"{merchant(dice.randrange(MERCHANTS))}","amount_minor":{amount},'
                f'"sources":[{{"source":"{CUSTOMER_TYPE}"}}]}}'
            )
            created = await self._timed(wire, self._create, body, tally)
            if created.status != 201:
                tally.refuse(created.code)
                continue
            at = created.body.index(_PAYMENT_ID) + len(_PAYMENT_ID)
            payment_id = created.body[at : at + _PAYMENT_ID_LENGTH].decode()
            done = await self._timed(
                wire, f"POST /v1/charges/{payment_id}/capture HTTP/1.1\r\n{self._fixed}", "{}", tally
            )
            if done.status != 200:
                tally.refuse(done.code)
                continue
            tally.acknowledged += 1
            captured += amount
        return captured

    async def _timed(self, wire: Wire, head: str, body: str, tally: Tally) -> Answer:
        request = f"{head}{uuid4().hex}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        sent = time.perf_counter()
        answer = await wire.ask(request)
        tally.latencies_ms.append((time.perf_counter() - sent) * 1e3)
        return answer


def merchant(number: int) -> str:
    """The id of a numbered merchant."""
    return f"bench/m{number:04d}"
