"""The hook for encrypted payloads: what the journal holds of requests, results, errors and messages."""

from __future__ import annotations

import base64
from typing import Any, Protocol

from kessai.foundation.errors import PaymentError
from kessai.sdk.workflow.outcome import decode

MARK = b'{"$sealed":"'
SEALED = "sealed: no key here opens it"


class Codec(Protocol):
    """Encrypts what is journalled. Hashes that are compared (ids, arguments) are taken before it."""

    def seal(self, data: bytes) -> bytes:
        """The ciphertext, with whatever `open` needs besides the key."""
        ...

    def open(self, data: bytes) -> bytes:
        """The plaintext; raises when it was tampered with or the key is not there."""
        ...


class Sealed(LookupError):
    """A payload is encrypted, and there is nothing here that opens it."""

    def __init__(self) -> None:
        super().__init__("the payload is encrypted, and this engine has no codec")


class Payloads:
    """Payloads on their way into the journal and back. Plain ones written before a codec was given stay readable.

    With `seals=False` the codec opens what was sealed earlier, and what is new is written as it is.
    """

    __slots__ = ("_codec", "_seals")

    def __init__(self, codec: Codec | None, *, seals: bool = True) -> None:
        self._codec = codec
        self._seals = seals and codec is not None

    @property
    def sealed(self) -> bool:
        """Whether payloads are encrypted."""
        return self._seals

    def seal(self, data: bytes) -> bytes:
        """As it is stored: always JSON."""
        if self._codec is None or not self._seals:
            return data
        return MARK + base64.b64encode(self._codec.seal(data)) + b'"}'

    def open(self, data: bytes) -> bytes:
        """The JSON of the payload itself."""
        if not data.startswith(MARK):
            return data
        if self._codec is None:
            raise Sealed
        return self._codec.open(base64.b64decode(data[len(MARK) : -2]))

    def shown(self, data: bytes) -> str:
        """The payload as an operator reads it: its JSON, or that it is sealed and cannot be opened here."""
        try:
            return self.open(data).decode(errors="replace")
        except (Sealed, PaymentError):  # no key, or not the one it was sealed under
            return SEALED

    def decode(self, data: bytes, kind: Any) -> Any:
        """The payload as the type that the code names."""
        return decode(self.open(data), kind)
