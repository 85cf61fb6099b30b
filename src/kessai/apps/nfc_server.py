"""The authorization server: ISO 8583 over TCP, towards the card network's processor.

A connection is of a peer that is known by its address or its certificate; it signs on before it asks for anything, and
may have many requests in flight, which are answered as they are decided. While too many are, or while its answers are
not taken, nothing more is read from it. What a length before a message cannot be ends the connection, and says so in
the log. An idle connection costs no task and no timer of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Protocol, cast

import structlog

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import ANSWERS, FormatError, Message, Mti, Network, Response, Unframer
from kessai.services.nfc.domain.rules import Wire

log = structlog.get_logger(__name__)

BACKLOG = 512
SWEEP_S = 1.0
LOOPBACK = ("127.0.0.0/8", "::1/128")


class Authorizes(Protocol):
    """Who answers what comes over the line."""

    async def answer(self, data: bytes, peer: str, received_at: float | None = None) -> bytes | None:
        """The answer's bytes, within the window; None: nothing is answered."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who may connect: from one of these networks, and where TLS asks for certificates, as one of these."""

    name: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    subjects: tuple[str, ...] = ()
    """Common names of client certificates; empty: any that the authority signed."""


def peer(name: str, networks: Iterable[str] = LOOPBACK, subjects: Sequence[str] = ()) -> Peer:
    """A peer by its networks, such as `10.1.0.0/16`; raises ValueError."""
    return Peer(name, tuple(ip_network(each) for each in networks), tuple(subjects))


def tls_of(certificate: str, key: str, client_authority: str | None = None) -> ssl.SSLContext:
    """TLS with our certificate; with `client_authority` clients need a certificate that it signed (mutual TLS)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_authority is not None:
        context.load_verify_locations(client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class NfcServer:
    """Listens, and keeps its connections."""

    def __init__(
        self, desk: Authorizes, wire: Wire, *, peers: Sequence[Peer] = (), tls: ssl.SSLContext | None = None
    ) -> None:
        """`peers`: none: only this machine, as `network`."""
        self.desk = desk
        self.wire = wire
        self.counts = Counter[str]()
        """`connections`, `refused`, `received`, `answered`, `unreadable`, `not_signed_on`, `closed_silent`."""
        self.lines: set[Line] = set()
        self.port = 0
        """Where it listens, once it was started."""
        self._peers = tuple(peers) or (peer("network"),)
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, sock: socket.socket | None = None) -> int:
        """Listen, on a bound socket where one is given; gives the port."""
        loop = asyncio.get_running_loop()
        where: dict[str, Any] = {"host": host, "port": port} if sock is None else {"sock": sock}
        self._server = await loop.create_server(lambda: Line(self), ssl=self._tls, backlog=BACKLOG, **where)
        self._sweeper = asyncio.create_task(self._sweep())
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self, *, grace_s: float = 2.0) -> None:
        """Take no more, answer within `grace_s` what was taken, and close."""
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for line in list(self.lines):
            line.leave()
        until = asyncio.get_running_loop().time() + grace_s
        while working := [task for line in self.lines for task in line.in_flight]:
            left_s = until - asyncio.get_running_loop().time()
            if left_s <= 0:
                log.warning("id_stopped_with_work_underway", requests=len(working))
                break
            await asyncio.wait(working, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        for line in list(self.lines):
            line.close("server_stops")

    @property
    def listening(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None and self._server.is_serving()

    @property
    def signed_on(self) -> list[str]:
        """The peers of which a connection has signed on, by name."""
        return sorted({line.peer for line in self.lines if line.signed_on})

    def peer_of(self, transport: asyncio.BaseTransport) -> str | None:
        """Who is at the other end; None: nobody that is known."""
        place = transport.get_extra_info("peername")
        if not place:
            return None
        address = ip_address(str(place[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        subject = _subject_of(transport)
        for each in self._peers:
            inside = any((mapped or address) in network for network in each.networks)
            if inside and (not each.subjects or subject in each.subjects):
                return each.name
        return None

    async def _sweep(self) -> None:
        """Close what has not signed on, and what has gone silent."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for line in list(self.lines):
                limit_s = self.wire.silent_s if line.signed_on else self.wire.unsigned_s
                if line.in_flight or now - line.heard_at <= limit_s:
                    continue
                if line.closing:
                    line.abort()
                else:
                    self.counts["closed_silent"] += 1
                    line.close("silent")


def _subject_of(transport: asyncio.BaseTransport) -> str | None:
    certificate = cast("dict[str, Any] | None", transport.get_extra_info("peercert"))
    if not certificate:
        return None
    names = (pair for part in certificate.get("subject", ()) for pair in part)
    return next((value for name, value in names if name == "commonName"), None)


class Line(asyncio.Protocol):
    """One connection."""

    __slots__ = (
        "_held",
        "_leaving",
        "_pending",
        "_server",
        "_transport",
        "_unframer",
        "heard_at",
        "in_flight",
        "peer",
        "signed_on",
    )

    def __init__(self, server: NfcServer) -> None:
        self.peer = ""
        self.signed_on = False
        self.heard_at = 0.0
        """Of the loop's time: when something last came."""
        self.in_flight: set[asyncio.Task[None]] = set()
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._unframer = Unframer()
        self._pending: deque[tuple[bytes, float]] = deque()
        self._held = False
        """Its answers are not taken: nothing is read until they are."""
        self._leaving = False
        """The server stops: nothing more is read."""

    @property
    def reading(self) -> bool:
        """Whether what comes is taken."""
        return self._transport is not None and self._transport.is_reading()

    @property
    def closing(self) -> bool:
        """Whether it was closed, and is there for as long as what was written has not left."""
        return self._transport is not None and self._transport.is_closing()

    # -- the transport's side -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, if it is known and there is room."""
        self._transport = cast("asyncio.Transport", transport)
        self.heard_at = asyncio.get_running_loop().time()
        known = self._server.peer_of(transport)
        full = len(self._server.lines) >= self._server.wire.connections_max
        if known is None or full:
            self._server.counts["refused"] += 1
            reason = "no_room" if full else "peer_unknown"
            log.warning("id_connection_refused", address=_address(transport), reason=reason)
            self._transport.abort()
            return
        self.peer = known
        self._server.lines.add(self)
        self._server.counts["connections"] += 1
        log.info("id_connected", peer=known, address=_address(transport))

    def data_received(self, data: bytes) -> None:
        """Take messages as they are whole; one that cannot be told from the next ends the connection."""
        if not self.peer or self._transport is None or self._transport.is_closing():
            return
        self.heard_at = now = asyncio.get_running_loop().time()
        try:
            found = self._unframer.feed(data)
        except FormatError as error:
            self._server.counts["unreadable"] += 1
            self.close(error.code)
            return
        self._pending.extend((each, now) for each in found)
        self._work()

    def eof_received(self) -> bool | None:
        """The other side has said its last."""
        if self._unframer.within_a_message:
            self._server.counts["unreadable"] += 1
            self.close("frame_cut")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """What is in flight is decided all the same; its answers are stored, and told when they are asked for again."""
        if self.peer:
            self._server.lines.discard(self)
            log.info("id_disconnected", peer=self.peer, in_flight=len(self.in_flight), error=exc and str(exc))
        self._pending.clear()
        self._transport = None

    def pause_writing(self) -> None:
        """The other side does not take its answers."""
        self._held = True
        self._flow()

    def resume_writing(self) -> None:
        """It does again."""
        self._held = False
        self._work()

    # -- messages -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """Begin as many as may be in flight."""
        most = self._server.wire.in_flight_max
        while self._pending and not self._held and len(self.in_flight) < most:
            data, at = self._pending.popleft()
            self._server.counts["received"] += 1
            if self.signed_on and data[:4] != b"0800":
                task = asyncio.ensure_future(self._ask(data, at))
                self.in_flight.add(task)
                task.add_done_callback(self._answered)
            else:
                self._line_matter(data)
        self._flow()

    async def _ask(self, data: bytes, at: float) -> None:
        answer = await self._server.desk.answer(data, self.peer, at)
        if answer is not None:
            self._write(answer)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.in_flight.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("id_answer_failed", peer=self.peer, exc_info=error)
        if self._pending:
            self._work()
        else:
            self._flow()

    def _flow(self) -> None:
        """Read, or leave what comes with the other side."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        crowded = bool(self._pending) or len(self.in_flight) >= self._server.wire.in_flight_max
        full = self._held or self._leaving or crowded
        if full and transport.is_reading():
            transport.pause_reading()
        elif not full and not transport.is_reading():
            transport.resume_reading()

    def _line_matter(self, data: bytes) -> None:
        """Sign-on, sign-off, echo; and whatever comes before a sign-on, which is not let through."""
        try:
            message = iso8583.decode(data)
        except FormatError as error:
            self._server.counts["unreadable"] += 1
            log.warning("id_message_unreadable", peer=self.peer, field=error.field, code=error.code)
            answer = iso8583.refuse(data)
            if answer is not None:
                self._write(answer)
            return
        if message.mti is Mti.NETWORK:
            self._network(message)
        elif message.mti in ANSWERS:
            self._server.counts["not_signed_on"] += 1
            log.warning("id_not_signed_on", peer=self.peer, mti=message.mti.value)
            self._write(iso8583.encode(message.answer(Response.ISSUER_UNAVAILABLE)))

    def _network(self, message: Message) -> None:
        if message.network is not Network.ECHO:
            self.signed_on = message.network is Network.SIGN_ON
            log.info("id_signed_on" if self.signed_on else "id_signed_off", peer=self.peer)
        self._write(iso8583.encode(message.answer(Response.APPROVED)))

    def _write(self, answer: bytes) -> None:
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(iso8583.frame(answer))
            self._server.counts["answered"] += 1

    # -- the end ------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Read nothing more; what was read is answered."""
        self._leaving = True
        self._flow()

    def close(self, reason: str) -> None:
        """End it, after what was written has left."""
        if self._transport is not None and not self._transport.is_closing():
            log.warning("id_connection_closed", peer=self.peer, reason=reason)
            self._transport.close()

    def abort(self) -> None:
        """End it at once: what was written is not taken."""
        if self._transport is not None:
            self._transport.abort()


def _address(transport: asyncio.BaseTransport) -> str:
    place = transport.get_extra_info("peername")
    return str(place[0]) if place else "unknown"
