"""`FolderIssuer`: a drop folder that we and the issuer both see, such as one that an SFTP server serves.

`in/<id>.request` is ours to write and the issuer's to take away (into `taken/`); `out/<id>.issued` is the issuer's
file, which goes once its cards are in the vault; `out/<id>.refused` is one line that says why there is none. A file is
written under a name that begins with a dot and then renamed: nobody ever sees half of one. Disks are asked in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from kessai.foundation.outbound import NotSent, Unanswered
from kessai.services.nfc.gateways.issuer import Issuance
from kessai.services.nfc.gateways.words import FILE_BYTES_MAX, FILES

T = TypeVar("T")
REASON_LENGTH_MAX = 64
_FILE_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9](?:[ -]?[0-9]){11,}")


class FolderIssuer:
    """An issuer over a drop folder."""

    def __init__(self, folder: Path) -> None:
        self._in = folder / "in"
        self._taken = folder / "taken"
        self._out = folder / "out"

    @property
    def configured(self) -> bool:
        """A folder is an issuer."""
        return True

    async def send(self, file_id: str, content: bytes, now: datetime) -> Issuance:
        """Put a file there; one that lies there, or was taken, is left as it is."""
        del now

        def put() -> Issuance:
            known = self._standing(file_id)
            if known is None:
                _write(self._in / f"{file_id}.request", content)
            return known or Issuance(state="received")

        return await _in_thread(put, changes=True)

    async def find(self, file_id: str, now: datetime) -> Issuance | None:
        """What lies there."""
        del now
        return await _in_thread(lambda: self._standing(file_id))

    async def issued(self, file_id: str, now: datetime) -> bytes | None:
        """The issuer's file."""
        del now
        file = self._out / f"{file_id}.issued"
        return await _in_thread(lambda: _read(file) if file.exists() else None)

    async def lying(self) -> Sequence[str]:
        """Requests whose issued files lie there."""

        def found() -> list[str]:
            return sorted(each.stem for each in self._out.glob("*.issued") if _FILE_ID.fullmatch(each.stem))

        return await _in_thread(found)

    async def remove(self, file_id: str) -> None:
        """Write zeros over the issuer's file, and take it away."""
        file = self._out / f"{file_id}.issued"
        await _in_thread(lambda: _shred(file), changes=True)

    async def close(self) -> None:
        """Nothing is open."""

    def _standing(self, file_id: str) -> Issuance | None:
        if (self._out / f"{file_id}.issued").exists():
            return Issuance(state="issued")
        refused = self._out / f"{file_id}.refused"
        if refused.exists():
            return Issuance(state="refused", code=_reason(_read(refused).decode("ascii")))
        folders = (self._taken, self._in, self._taken)  # it may be taken away while we look
        there = any((folder / f"{file_id}.request").exists() for folder in folders)
        return Issuance(state="received") if there else None


def _read(file: Path) -> bytes:
    """A file of the issuer's; OSError of one that is larger than any may be."""
    with file.open("rb") as there:
        content = there.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise OSError(errno.EFBIG, "larger than a file of the issuer's may be")
    return content


def _reason(text: str) -> str:
    """Why there is no file, without any card's number: it is kept, shown and logged."""
    return _NUMBER.sub("…", text.strip()[:REASON_LENGTH_MAX]) or "refused"


def _shred(file: Path) -> None:
    """Best effort: what a file system keeps of older blocks is its own matter."""
    with contextlib.suppress(FileNotFoundError):
        with file.open("r+b") as there:
            there.write(bytes(os.fstat(there.fileno()).st_size))
            there.flush()
            os.fsync(there.fileno())
        file.unlink()


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def _in_thread(work: Callable[[], T], *, changes: bool = False) -> T:
    """Do it in a thread; a disk that fails is an issuer that is away, or, where something is changed, a silent one."""
    try:
        return await asyncio.to_thread(work)
    except (OSError, UnicodeDecodeError) as error:
        kind = Unanswered if changes else NotSent
        code = "no_answer" if changes else "destination_unreachable"
        raise kind(code, "The issuer's folder failed.", destination=FILES) from error
