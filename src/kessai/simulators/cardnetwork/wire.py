"""The connections towards our authorization server: they sign on, say echo, carry many requests at once, and come back.

What is sent goes through the wire's faults. An answer is matched by fields 7 and 11, whichever connection it comes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import OrderedDict
from collections.abc import Callable, Generator
from typing import Final

import structlog

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import FormatError, Message, Mti, Network
from kessai.simulators.cardnetwork.wire_faults import Fault, WireFaults, spoiled

log = structlog.get_logger(__name__)

BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0
ECHO_AFTER_S: Final = 30.0
NETWORK_ANSWER_S: Final = 5.0
REORDER_S: Final = 0.05
REMEMBERED_MAX: Final = 100_000
"""Requests that were given up whose answers are still known when they come."""

COUNTED: Final[tuple[str, ...]] = (
    "written",
    "sent",
    "received",
    "late",
    "unmatched",
    "unreadable",
    "reconnected",
)

Key = tuple[str, str]


class Waiting:
    """A request in flight."""

    __slots__ = ("about", "future")

    def __init__(self, about: str) -> None:
        self.about = about
        self.future: asyncio.Future[tuple[Message, bytes]] = asyncio.get_running_loop().create_future()


class Connection:
    """One connection; `run` keeps it up."""

    def __init__(self, wire: Wire) -> None:
        self.signed_on = False
        self._wire = wire
        self._writer: asyncio.StreamWriter | None = None
        self._held: list[bytes] = []
        self._behind: list[bytes] | None = None
        """What waits while a message is sent byte by byte."""

    async def run(self) -> None:
        """Connect, sign on, listen; again and again until cancelled."""
        pause_s = BACKOFF_MIN_S
        while True:
            with contextlib.suppress(OSError, FormatError, TimeoutError):
                await self._once()
            pause_s = BACKOFF_MIN_S if self.signed_on else min(pause_s * 2, BACKOFF_MAX_S)
            self._closed()
            await asyncio.sleep(pause_s)
            self._wire.counts["reconnected"] += 1

    async def _once(self) -> None:
        wire = self._wire
        reader, self._writer = await asyncio.open_connection(wire.host, wire.port, ssl=wire.tls)
        listening = asyncio.create_task(self._listen(reader))
        echoing = asyncio.create_task(self._sign_on_and_echo())
        try:
            await asyncio.wait((listening, echoing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (listening, echoing):
                task.cancel()
            failed = await asyncio.gather(listening, echoing, return_exceptions=True)
        for error in failed:
            if isinstance(error, Exception):
                raise error

    def _closed(self) -> None:
        self.signed_on = False
        self._wire.changed()
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    async def _sign_on_and_echo(self) -> None:
        answer = await self.ask(Network.SIGN_ON)
        if answer is None or answer.response != "00":
            return
        self.signed_on = True
        self._wire.changed()
        while True:
            await asyncio.sleep(self._wire.echo_after_s)
            if await self.ask(Network.ECHO) is None:
                return

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        async for data in iso8583.frames(reader):
            self._wire.heard(data)

    async def ask(self, network: Network) -> Message | None:
        """A network message on this connection; None without an answer."""
        message = self._wire.network_message(network)
        with self._wire.waiting(message, "") as waiting:
            self.write(iso8583.frame(iso8583.encode(message)))
            with contextlib.suppress(TimeoutError):
                return (await asyncio.wait_for(waiting.future, NETWORK_ANSWER_S))[0]
        return None

    async def leave(self) -> None:
        """Sign off, if it is signed on."""
        if self.signed_on:
            await self.ask(Network.SIGN_OFF)
        self._closed()

    # -- sending ------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes onto the connection, behind what is being split; a connection that is gone swallows them."""
        if self._behind is not None:
            self._behind.append(data)
        else:
            self._push(data)

    def _push(self, data: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)
            self._wire.counts["written"] += 1

    def cut(self) -> None:
        """Break it."""
        if self._writer is not None:
            self._writer.transport.abort()

    async def put(self, data: bytes, fault: Fault | None) -> None:
        """A message with its length, with whatever fault it meets."""
        framed = iso8583.frame(data)
        match fault.do if fault is not None else "":
            case "drop":
                return
            case "delay":
                assert fault is not None
                await asyncio.sleep(fault.delay_ms / 1000)
                self.write(framed)
            case "repeat":
                self.write(framed + framed)
            case "reorder":
                self._hold(framed)
            case "half":
                self.write(framed[: len(framed) // 2])
                await self._gone()
            case "split":
                await self._byte_by_byte(framed)
            case "garbage" | "spoil":
                assert fault is not None
                self.write(iso8583.frame(spoiled(data, fault)))
            case "disconnect":
                self.write(framed)
                await self._gone()
            case _:
                self.write(framed)
                self._let_go()
                await self._flow()

    def _hold(self, framed: bytes) -> None:
        self._held.append(framed)
        asyncio.get_running_loop().call_later(REORDER_S, self._let_go)

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for framed in held:
            self.write(framed)

    async def _byte_by_byte(self, framed: bytes) -> None:
        if self._behind is not None:
            return self._behind.append(framed)
        self._behind = []
        for at in range(len(framed)):
            self._push(framed[at : at + 1])
            await asyncio.sleep(0)
        behind, self._behind = self._behind, None
        return self._push(b"".join(behind))

    async def _gone(self) -> None:
        """Cut once what was written is on its way."""
        await self._flow()
        self.cut()

    async def _flow(self) -> None:
        """Wait while the other side does not read."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                await self._writer.drain()


class Wire:
    """Every connection, and what is in flight over them."""

    def __init__(
        self,
        faults: WireFaults,
        *,
        network_message: Callable[[Network], Message],
        late: Callable[[str], None],
        echo_after_s: float = ECHO_AFTER_S,
    ) -> None:
        self.host, self.port = "", 0
        self.tls: ssl.SSLContext | None = None
        self.echo_after_s = echo_after_s
        self.network_message = network_message
        self.counts: dict[str, int] = dict.fromkeys(COUNTED, 0)
        self.connections: list[Connection] = []
        self._faults = faults
        self._late = late
        self._running: list[asyncio.Task[None]] = []
        self._waiting: dict[Key, list[Waiting]] = {}
        self._given_up: OrderedDict[Key, str] = OrderedDict()
        self._turn = 0
        self._changed = asyncio.Event()

    async def connect(self, host: str, port: int, *, connections: int, tls: ssl.SSLContext | None) -> None:
        """Start keeping connections up; those that there were are cut."""
        await self.disconnect(sign_off=False)
        self.host, self.port, self.tls = host, port, tls
        self.connections = [Connection(self) for _ in range(connections)]
        self._running = [asyncio.create_task(each.run()) for each in self.connections]

    async def disconnect(self, *, sign_off: bool) -> None:
        """Leave."""
        if sign_off:
            await asyncio.gather(*(each.leave() for each in self.connections))
        for each in self.connections:
            each.cut()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self.connections, self._running = [], []

    def changed(self) -> None:
        """A connection was signed on or lost."""
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def signed_on(self) -> list[Connection]:
        """The connections that can carry requests."""
        return [each for each in self.connections if each.signed_on]

    async def until_signed_on(self, count: int = 1) -> None:
        """Wait until so many connections can carry requests."""
        while len(self.signed_on) < count:
            await self._changed.wait()

    # -- requests -----------------------------------------------------------------------------------------------

    async def exchange(
        self, message: Message, *, about: str, answer_within_s: float, fault: Fault | None
    ) -> tuple[Message, bytes] | None:
        """Send a request and wait for its answer; None when there is none in time. `about` is told of a late one."""
        data = iso8583.encode(message)
        with self.waiting(message, about) as waiting, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(answer_within_s):
                await self.until_signed_on()
                self.counts["sent"] += 1
                await self._next().put(data, fault)
                return await waiting.future
        return None

    def _next(self) -> Connection:
        self._turn += 1
        connections = self.signed_on
        return connections[self._turn % len(connections)]

    @contextlib.contextmanager
    def waiting(self, message: Message, about: str) -> Generator[Waiting]:
        """A place among what is in flight."""
        key, waiting = _key(message), Waiting(about)
        self._waiting.setdefault(key, []).append(waiting)
        try:
            yield waiting
        finally:
            still = self._waiting[key]
            still.remove(waiting)
            if not still:
                del self._waiting[key]
            unanswered = waiting.future.cancelled() or not waiting.future.done()
            if unanswered and about:
                self._given_up[key] = about
                if len(self._given_up) > REMEMBERED_MAX:
                    self._given_up.popitem(last=False)

    def heard(self, data: bytes) -> None:
        """An answer came, on any connection."""
        self.counts["received"] += 1
        try:
            message = iso8583.decode(data)
        except FormatError as error:
            self.counts["unreadable"] += 1
            log.warning("cardnetwork_unreadable_answer", field=error.field, code=error.code)
            return
        fault = self._faults.take("answer", message.mti, "")
        if fault is not None and fault.do == "delay":
            asyncio.get_running_loop().call_later(fault.delay_ms / 1000, self._match, message, data)
        elif fault is None:
            self._match(message, data)

    def _match(self, message: Message, data: bytes) -> None:
        key = _key(message)
        for waiting in self._waiting.get(key, ()):
            if not waiting.future.done():
                waiting.future.set_result((message, data))
                return
        about = self._given_up.pop(key, None)
        if about is not None and message.mti is Mti.AUTHORIZATION_ANSWER:
            self.counts["late"] += 1
            self._late(about)
        else:
            self.counts["unmatched"] += 1


def _key(message: Message) -> Key:
    assert message.transmitted is not None
    assert message.stan is not None
    return message.transmitted, message.stan
