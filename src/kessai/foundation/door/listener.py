"""uvicorn's HTTP protocol, with each answer handed to the socket in one piece.

uvicorn writes the head when the answer starts and the body after it: two system calls, and two wake-ups of the caller.
Here the head waits for the first part of the body. What is streamed goes on as usual after that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

START = "http.response.start"


class DoorProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=DoorProtocol)`."""

    def on_headers_complete(self) -> None:
        """A request has come: its task is made, but has not begun."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.__class__ = _OnePiece  # uvicorn names its own class there, and asks for no other


class _OnePiece(RequestResponseCycle):
    """One request and its answer."""

    _start: Message | None = None

    async def send(self, message: Any) -> None:
        """Keep the head until there is a body; an answer that comes whole is written here."""
        if message["type"] == START and not self.response_started:
            self._start = message
            return
        start, self._start = self._start, None
        if start is None:
            await super().send(message)
        elif self._is_plain(start, message):
            self._write(start["status"], start["headers"], message.get("body", b""))
        else:
            await super().send(cast("Any", start))
            await super().send(message)

    def _is_plain(self, start: Message, message: Message) -> bool:
        """A whole answer of known length, on a connection that stays and can take it now."""
        return (
            not message.get("more_body", False)
            and self._takes_whole()
            and _is_sound(start.get("headers", ()), len(message.get("body", b"")))
        )

    def write_whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write an answer whose headers are sound, its length among them; False when it has to be sent as usual."""
        if self.response_started or self._start is not None or not self._takes_whole():
            return False
        self._write(status, headers, body)
        return True

    def _takes_whole(self) -> bool:
        """A connection that stays, can take an answer now, and wants its body."""
        return not (self.disconnected or self.flow.write_paused) and self.keep_alive and self.scope["method"] != "HEAD"

    def _write(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        head = [STATUS_LINE[status]]
        for name, value in (*self.default_headers, *headers):
            head += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*head, b"\r\n", body)))
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.message_event.set()
        self.on_response()


def _is_sound(headers: Iterable[tuple[bytes, bytes]], length: int) -> bool:
    """Whether headers can be written as they stand: the length is told rightly, and nothing ends a line early."""
    told = False
    for name, value in headers:
        if b"\r" in value or b"\n" in value or b"\0" in value or name in (b"connection", b"transfer-encoding"):
            return False
        told |= name == b"content-length" and value == b"%d" % length
    return told
