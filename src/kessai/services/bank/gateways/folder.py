"""`FolderFiles`: a drop folder that we and the bank both see, such as one that an SFTP server serves.

`in/` is ours to write and the bank's to take away (into `taken/`), `out/` the other way round. A file is written under
a name that begins with a dot and then renamed: nobody ever sees half of one. Disks are asked in threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from kessai.foundation.errors import KeyReused, Unavailable, Unknown
from kessai.services.bank.api import FileLine
from kessai.services.bank.gateways.files import (
    ENTRIES_AT_ONCE,
    BankStatement,
    EntriesWords,
    EntryWords,
    FileEntries,
    StatementWords,
    entries_of,
    recall_of,
    statement_of,
    unreadable,
)

T = TypeVar("T")

OURS, OURS_AND_GROUPS = (0o600, 0o700), (0o660, 0o770)
"""Who may read a file, and who may enter a folder and take a file away: names and account numbers are in them."""


class FolderFiles:
    """Files over a drop folder."""

    def __init__(self, folder: Path, *, group: bool = False) -> None:
        """`group`: the folder's group, such as an SFTP server's, may read and take away what we put there."""
        self._modes = OURS_AND_GROUPS if group else OURS
        self._in = folder / "in"
        self._taken = folder / "taken"
        self._out = folder / "out"

    @property
    def configured(self) -> bool:
        """Always."""
        return True

    async def send(self, file_id: str, content: bytes, at: datetime) -> None:
        """Put a file there; one that lies there, or was taken, is left as it is. `at` is nothing to a folder."""
        del at

        def put() -> None:
            digest = hashlib.sha256(content).hexdigest()
            known = self._digest(file_id)
            if known not in (None, digest):
                raise KeyReused
            if known is None:
                self._write(self._in / f"{file_id}.txt", content)

        await _in_thread(put, changes=True)

    async def find(self, file_id: str) -> str | None:
        """The digest of what lies there, or was taken."""
        return await _in_thread(lambda: self._digest(file_id))

    async def entries(self, after: int, at: datetime) -> FileEntries:
        """What the bank has put there beyond a position; `at` is nothing to a folder."""
        del at
        return entries_of(await _in_thread(lambda: self._entries(after)), after)

    async def results(self, file_id: str) -> bytes:
        """The result file of a debit file."""
        return await _in_thread((self._out / f"{file_id}.results.txt").read_bytes)

    async def recall(self, line: FileLine) -> bool:
        """Put a request there; what the bank says of it is an entry, too."""
        words = recall_of(line)

        def put() -> bool:
            name = f"{words.id}.recall.json"
            if not any((folder / name).exists() for folder in (self._in, self._taken)):
                self._write(self._in / name, msgspec.json.encode(words))
            return not (self._out / f"{words.id}.recall-refused.json").exists()

        return await _in_thread(put, changes=True)

    async def statement(self, day: date, at: datetime) -> BankStatement | None:
        """A day of our account, None while it is not there."""
        del at

        def read() -> BankStatement | None:
            file = self._out / f"statement-{day.isoformat()}.json"
            if not file.exists():
                return None
            told = _decoded(file, StatementWords)
            if told.date != day:
                raise unreadable("a statement")
            return statement_of(told)

        return await _in_thread(read)

    async def close(self) -> None:
        """Nothing is open."""

    def _write(self, file: Path, content: bytes) -> None:
        file_mode, folder_mode = self._modes
        if not file.parent.exists():
            file.parent.mkdir(parents=True)
            file.parent.chmod(folder_mode)
        part = file.with_name(f".{file.name}.part")
        with open(part, "wb", opener=_private) as out:  # Path.open takes no opener
            os.fchmod(out.fileno(), file_mode)
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _digest(self, file_id: str) -> str | None:
        for folder in (self._taken, self._in, self._taken):  # it may be taken away while we look
            file = folder / f"{file_id}.txt"
            try:
                return hashlib.sha256(file.read_bytes()).hexdigest()
            except FileNotFoundError:
                continue
        return None

    def _entries(self, after: int) -> list[EntryWords]:
        """Entries beyond a position, of as many files as make a page."""
        found: list[EntryWords] = []
        for file in self._told_after(after):
            found += [each for each in _decoded(file, EntriesWords).entries if each.position > after]
            if len(found) >= ENTRIES_AT_ONCE:
                break
        return found

    def _told_after(self, after: int) -> Iterator[Path]:
        """Files of entries that may tell of something beyond a position; each is named by its first one's."""
        files = sorted(self._out.glob("entries-*.json"))
        firsts = [int(file.stem.partition("-")[2]) for file in files]
        for index, file in enumerate(files):
            if index + 1 == len(files) or firsts[index + 1] > after + 1:
                yield file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _decoded(file: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(f"{file.name}, a file") from error


async def _in_thread(work: Callable[[], T], *, changes: bool = False) -> T:
    """Do it in a thread; a disk that fails is a bank that is away, or, where something is changed, a silent one."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        if changes:
            raise Unknown("bank_folder_failed", "The bank's folder failed.", reason=error.strerror or "") from error
        raise Unavailable("bank_unavailable", "The bank's folder cannot be read.") from error
