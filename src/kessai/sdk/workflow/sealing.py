"""The hook for encrypted payloads: what the journal holds of requests, results, errors and messages."""

from __future__ import annotations

import base64
from typing import Any, Protocol

from kessai.sdk.workflow.outcome import decode

MARK = b'{"$sealed":"'


class Codec(Protocol):
    """Encrypts what is journalled. Hashes that are compared (ids, arguments) are taken before it."""

    def seal(self, data: bytes) -> bytes:
        """The ciphertext, with whatever `open` needs besides the key."""
        ...

    def open(self, data: bytes) -> bytes:
        """The plaintext; raises when it was tampered with or the key is not there."""
        ...


class Payloads:
    """Payloads on their way into the journal and back. Plain ones written before a codec was given stay readable."""

    __slots__ = ("_codec",)

    def __init__(self, codec: Codec | None) -> None:
        self._codec = codec

    @property
    def sealed(self) -> bool:
        """Whether payloads are encrypted."""
        return self._codec is not None

    def seal(self, data: bytes) -> bytes:
        """As it is stored: always JSON."""
        if self._codec is None:
            return data
        return MARK + base64.b64encode(self._codec.seal(data)) + b'"}'

    def open(self, data: bytes) -> bytes:
        """The JSON of the payload itself."""
        if not data.startswith(MARK):
            return data
        if self._codec is None:
            raise LookupError("the payload is encrypted, and this engine has no codec")
        return self._codec.open(base64.b64decode(data[len(MARK) : -2]))

    def decode(self, data: bytes, kind: Any) -> Any:
        """The payload as the type that the code names."""
        return decode(self.open(data), kind)
