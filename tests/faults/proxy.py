"""A proxy before PostgreSQL that can fail statements as the server would, or strike at a commit.

It understands just enough of the wire protocol (version 3): messages from the client are gathered up to their sync
point, shown to a policy, and forwarded, or answered in the server's place with an ErrorResponse. After such an error
inside a transaction nothing but ROLLBACK passes, as with a real server, and the transaction is really rolled back.
"""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

_WRITE = re.compile(r"^(\s|--[^\n]*\n)*(insert|update|delete|with|copy)\b", re.IGNORECASE)
_CHANGES = re.compile(r"\b(insert\s+into|update|delete\s+from|copy)\b", re.IGNORECASE)
_COMMIT = re.compile(r"^\s*commit\b", re.IGNORECASE)
_ROLLBACK = re.compile(r"^\s*(rollback|abort)\b", re.IGNORECASE)


class Verdict(Enum):
    """What becomes of one statement."""

    PASS = auto()
    DISK_FULL = auto()
    """ERROR 53100: nothing is written."""
    BEFORE = auto()
    """`Proxy.at_boundary` is called, and the statement never reaches the server."""
    AFTER = auto()
    """The server carries it out, `Proxy.at_boundary` is called, and the answer never reaches the client."""


@dataclass(frozen=True)
class Statement:
    """One statement on its way to the server."""

    text: str
    in_transaction: bool
    earlier: tuple[str, ...] = ()
    """What the transaction has written so far."""

    @property
    def writes(self) -> bool:
        """Whether it changes rows."""
        return bool(_WRITE.match(self.text) and _CHANGES.search(self.text))

    @property
    def commits(self) -> bool:
        """Whether something becomes durable by it."""
        return bool(self.made_durable)

    @property
    def made_durable(self) -> tuple[str, ...]:
        """The writes that last once this statement is done."""
        if _COMMIT.match(self.text):
            return self.earlier
        return (self.text,) if self.writes and not self.in_transaction else ()


Policy = Callable[[Statement], Verdict]


def pass_all(_: Statement) -> Verdict:
    """No fault."""
    return Verdict.PASS


async def _nothing() -> None:
    return


class Proxy:
    """Listens on a TCP port of its own in front of a server that is reached by its socket."""

    def __init__(self, upstream_dsn: str) -> None:
        place = urlsplit(upstream_dsn)
        query = parse_qs(place.query)
        self._socket = f"{unquote(query['host'][0])}/.s.PGSQL.{query['port'][0]}"
        self._database = place.path.lstrip("/")
        self._login = place.username or "postgres"
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.policy: Policy = pass_all
        self.at_boundary: Callable[[], Awaitable[None]] = _nothing

    @property
    def dsn(self) -> str:
        """The database, as seen through here."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._login}@127.0.0.1:{port}/{self._database}?sslmode=disable"

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task, writer in list(self._sessions.items()):
            writer.close()  # its reader sees the end, and the session ends by itself
            await task

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions[task] = writer
        try:
            server_reader, server_writer = await asyncio.open_unix_connection(self._socket)
            try:
                await _Session(self, reader, writer, server_reader, server_writer).run()
            finally:
                server_writer.close()
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one of the two hung up; so does the other
        finally:
            writer.close()
            self._sessions.pop(task, None)


@dataclass
class _Session:
    """One client's connection."""

    proxy: Proxy
    client_reader: asyncio.StreamReader
    client: asyncio.StreamWriter
    server_reader: asyncio.StreamReader
    server: asyncio.StreamWriter

    def __post_init__(self) -> None:
        self._prepared: dict[str, str] = {}
        self._status = b"I"
        self._failed = False
        self._idle = asyncio.Event()
        self._muted = False
        self._writes: tuple[str, ...] = ()

    async def run(self) -> None:
        (length,) = struct.unpack("!I", await self.client_reader.readexactly(4))
        self.server.write(struct.pack("!I", length) + await self.client_reader.readexactly(length - 4))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._from_server())
            tasks.create_task(self._from_client())

    async def _from_server(self) -> None:
        while True:
            kind, body = await _message(self.server_reader)
            if not self._muted:
                self.client.write(_packed(kind, body))
            if kind == b"Z":
                self._status = body
                self._idle.set()

    async def _from_client(self) -> None:
        unit: list[tuple[bytes, bytes]] = []
        while True:
            kind, body = await _message(self.client_reader)
            unit.append((kind, body))
            if kind in b"SQHXdcf":
                await self._carry(unit)
                unit = []

    async def _carry(self, unit: list[tuple[bytes, bytes]]) -> None:
        text = self._text(unit)
        if text is None:
            self._forward(unit)
            return
        if self._failed and not _ROLLBACK.match(text):
            self._refuse("25P02", "current transaction is aborted")
            return
        statement = Statement(text, self._status != b"I", self._writes)
        verdict = self.proxy.policy(statement)
        if verdict is Verdict.DISK_FULL:
            self._refuse("53100", "could not extend file: No space left on device")
            return
        self._failed = False
        self._note(statement)
        if verdict is Verdict.BEFORE:
            await self.proxy.at_boundary()
            raise ConnectionResetError
        self._idle.clear()
        self._muted = verdict is Verdict.AFTER
        self._forward(unit)
        if verdict is Verdict.AFTER:
            await self._idle.wait()
            await self.proxy.at_boundary()
            raise ConnectionResetError

    def _note(self, statement: Statement) -> None:
        if _COMMIT.match(statement.text) or _ROLLBACK.match(statement.text) or not statement.in_transaction:
            self._writes = ()
        elif statement.writes:
            self._writes = (*self._writes, statement.text)

    def _text(self, unit: list[tuple[bytes, bytes]]) -> str | None:
        """The statement that this unit executes, if it executes one."""
        text: str | None = None
        for kind, body in unit:
            match kind:
                case b"Q":
                    return body.rstrip(b"\0").decode()
                case b"P":
                    name, query, _ = body.split(b"\0", 2)
                    self._prepared[name.decode()] = query.decode()
                case b"B":
                    text = self._prepared.get(body.split(b"\0", 2)[1].decode(), "")
                case _:
                    pass
        return text

    def _forward(self, unit: list[tuple[bytes, bytes]]) -> None:
        self.server.write(b"".join(_packed(kind, body) for kind, body in unit))

    def _refuse(self, code: str, message: str) -> None:
        fields = (("S", "ERROR"), ("V", "ERROR"), ("C", code), ("M", message))
        body = b"".join(f"{name}{value}\0".encode() for name, value in fields) + b"\0"
        self._failed = self._status != b"I"
        self.client.write(_packed(b"E", body) + _packed(b"Z", b"E" if self._failed else b"I"))


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], await reader.readexactly(length - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body
