"""Messages on a connection: each behind its length in two bytes, most significant first.

A length that no message has cannot be passed over, since nobody knows where the next message begins: the connection is
of no more use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from kessai.sdk.iso8583.layout import MESSAGE_BYTES_MAX
from kessai.sdk.iso8583.refusals import FormatError

LENGTH_BYTES: Final = 2
READ_BYTES: Final = 4096
"""How much is read at once; what is not read holds the other side back."""


class Reads(Protocol):
    """A stream to read from, asyncio's or any other: at most so many bytes, none at its end."""

    async def read(self, n: int, /) -> bytes: ...


def frame(data: bytes) -> bytes:
    """A message's bytes with their length before them."""
    assert 0 < len(data) <= MESSAGE_BYTES_MAX
    return len(data).to_bytes(LENGTH_BYTES) + data


class Unframer:
    """Takes bytes as they come and gives messages as they are whole; holds less than one message in between."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def within_a_message(self) -> bool:
        """Whether some of a message has come, and not all of it."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now; raises FormatError `frame_length`, after which it is of no more use."""
        rest, at, found = self._rest + data, 0, list[bytes]()
        while len(rest) - at >= LENGTH_BYTES:
            length = int.from_bytes(rest[at : at + LENGTH_BYTES])
            if not 0 < length <= MESSAGE_BYTES_MAX:
                raise FormatError(None, "frame_length")
            end = at + LENGTH_BYTES + length
            if end > len(rest):
                break
            found.append(rest[at + LENGTH_BYTES : end])
            at = end
        self._rest = rest[at:]
        return found


async def frames(reader: Reads) -> AsyncIterator[bytes]:
    """The messages of a connection, until the other side ends it between two of them.

    Raises FormatError `frame_length`, or `frame_cut` when it ends within one. Those before a wrong length may be lost.
    """
    unframer = Unframer()
    while data := await reader.read(READ_BYTES):
        for each in unframer.feed(data):
            yield each
    if unframer.within_a_message:
        raise FormatError(None, "frame_cut")
