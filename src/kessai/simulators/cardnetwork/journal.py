"""The books' file: a line for each step, written before the step is told. A line that a crash cut short is dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from kessai.simulators.cardnetwork.records import Entry

_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)
_ENCODER = msgspec.json.Encoder()


class Journal:
    """Takes up what was written, and writes what happens; without a path nothing is kept."""

    def __init__(self, path: Path | None, apply: Callable[[Entry], None]) -> None:
        self._apply = apply
        self._file: IO[bytes] | None = None
        if path is not None:
            self._take_up(path)

    def _take_up(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        kept = _whole_lines(path.read_bytes())
        for text in kept.splitlines():
            self._apply(_DECODER.decode(text))
        self._file = path.open("r+b")
        self._file.truncate(len(kept))
        self._file.seek(len(kept))

    def write(self, entry: Entry) -> None:
        """Write a step down, and then take it."""
        if self._file is not None:
            self._file.write(_ENCODER.encode(entry) + b"\n")
            self._file.flush()
        self._apply(entry)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()


def entries_of(path: Path) -> list[Entry]:
    """What a file says, whether or not somebody writes to it just now."""
    return [_DECODER.decode(text) for text in _whole_lines(path.read_bytes()).splitlines()]


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
