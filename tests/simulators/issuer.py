"""An issuer in a few lines: it lets a processor sign on, and answers as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable

from kessai.sdk import iso8583
from kessai.sdk.iso8583 import FormatError, Message, Mti

Decide = Callable[[Message], str | None]
"""The response to a request; None is no answer."""


def approve(_: Message) -> str | None:
    return "00"


class Issuer:
    """What came, by type, and what was said of it."""

    def __init__(self) -> None:
        self.decide: Decide = approve
        self.heard: list[Message] = []
        self.refused: list[str] = []
        """Codes of what could not be read."""
        self.stored: dict[str, bytes] = {}
        self.reversed: set[str] = set()
        self.port = 0
        self.ended: Counter[str] = Counter()
        """How connections ended."""
        self._writers: set[asyncio.StreamWriter] = set()

    def types(self) -> list[str]:
        """The types of what came but for network messages."""
        return [each.mti.value for each in self.heard if each.mti is not Mti.NETWORK]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            async for data in iso8583.frames(reader):
                if answer := self._answer(data):
                    writer.write(iso8583.frame(answer))
            self.ended["politely"] += 1
        except FormatError as error:
            self.ended[error.code] += 1
        except OSError:
            self.ended["broken"] += 1
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, data: bytes) -> bytes | None:
        try:
            message = iso8583.decode(data)
        except FormatError as error:
            self.refused.append(error.code)
            return iso8583.refuse(data)
        self.heard.append(message)
        if message.mti is Mti.NETWORK:
            return iso8583.encode(message.answer("00"))
        if message.key in self.stored:
            return self.stored[message.key]
        if message.mti in iso8583.REVERSALS:
            self.reversed.add(message.original_key)
        response = "94" if message.key in self.reversed else self.decide(message)
        if response is None:
            return None
        code = "A1B2C3" if message.mti is Mti.AUTHORIZATION and response == "00" else None
        self.stored[message.key] = iso8583.encode(message.answer(response, approval_code=code))
        return self.stored[message.key]

    def hang_up(self) -> None:
        for each in list(self._writers):
            each.transport.abort()


@contextlib.asynccontextmanager
async def issuer() -> AsyncGenerator[Issuer]:
    """One that listens on loopback."""
    it = Issuer()
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.port = server.sockets[0].getsockname()[1]
    try:
        yield it
    finally:
        server.close()
        it.hang_up()
        await server.wait_closed()
