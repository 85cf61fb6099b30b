"""The simulated bank's drop folder: files come in by `in`, what is to be told of them goes out by `out`.

A file is written under a name that begins with a dot and renamed once it is whole, on both sides. What was taken goes
to `taken`. What was told is kept in `.told.json` beside these, so that a client may remove what it has read.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from kessai.simulators.bank.books import Books
from kessai.simulators.bank.file_verbs import FileVerbs, day_of
from kessai.simulators.bank.filing import Filed
from kessai.simulators.bank.lines import Declined

ENTRIES_AT_ONCE = 5_000
GARBAGE = b'\x00\xff{"id": "bt'
_FILE = re.compile(r"([A-Za-z0-9_-]{1,64})\.txt")
_RECALL = re.compile(r"([A-Za-z0-9_-]{1,64}-[0-9]{6})\.recall\.json")


class _Told(msgspec.Struct):
    results: int = 0
    """Entries of the feed that were written."""
    statement: date | None = None
    """The last day that was written."""
    result_files: set[str] = msgspec.field(default_factory=set[str])
    garbled: set[str] = msgspec.field(default_factory=set[str])
    """Files of which garbage was told."""


class DropFolder:
    """One client's folder."""

    def __init__(self, folder: Path, books: Books) -> None:
        self.inbox, self.taken, self.outbox = folder / "in", folder / "taken", folder / "out"
        self._memory = folder / ".told.json"
        self._books = books
        self._verbs = FileVerbs(books)
        for each in (self.inbox, self.taken, self.outbox):
            each.mkdir(parents=True, exist_ok=True)
        kept = self._memory.read_bytes() if self._memory.exists() else b"{}"
        self._told = msgspec.json.decode(kept, type=_Told)

    def sweep(self) -> None:
        """Take what came, and tell what there is to tell."""
        self._books.settle_due()
        for path in sorted(self.inbox.iterdir()):
            if match := _FILE.fullmatch(path.name):
                self._take(path, match[1])
            elif match := _RECALL.fullmatch(path.name):
                self._recall(path, match[1])
        self._books.settle_due()
        self._tell_results()
        self._tell_result_files()
        self._tell_statement()

    def _take(self, path: Path, file_id: str) -> None:
        try:
            filed = self._books.files.take(file_id, path.read_bytes())
        except Declined as no:
            self._write(f"{file_id}.refused.json", msgspec.json.encode({"id": file_id, "code": no.code}))
        else:
            if filed.state == "received":
                return
            self._acknowledge(filed)
        path.replace(self.taken / path.name)

    def _acknowledge(self, filed: Filed) -> None:
        name = f"{filed.id}.ack.json"
        match filed.fate.ack:
            case "none":
                return
            case "garbage" if filed.id not in self._told.garbled:
                self._told.garbled.add(filed.id)
                self._write(name, GARBAGE)
                self._remember()
            case _:
                self._write(name, msgspec.json.encode(filed.told()))

    def _recall(self, path: Path, name: str) -> None:
        try:
            self._verbs.call_back(name, path.read_bytes())
        except (Declined, msgspec.MsgspecError) as no:
            told = {"id": name, "code": no.code if isinstance(no, Declined) else "unreadable"}
            self._write(f"{name}.recall-refused.json", msgspec.json.encode(told))
        path.replace(self.taken / path.name)

    def _tell_results(self) -> None:
        feed, after = self._books.files.feed, self._told.results
        while entries := feed[after : after + ENTRIES_AT_ONCE]:
            told = {"after": after, "entries": entries}
            self._write(f"entries-{after + 1:012d}.json", msgspec.json.encode(told))
            after = self._told.results = after + len(entries)
            self._remember()

    def _tell_result_files(self) -> None:
        for filed in self._books.files.files.values():
            if filed.kind == "debit" and filed.closed and filed.id not in self._told.result_files:
                self._write(f"{filed.id}.results.txt", filed.with_results())
                self._told.result_files.add(filed.id)
                self._remember()

    def _tell_statement(self) -> None:
        """Each day that is over, from the one on which the first file came."""
        first = self._books.files.first_day
        if first is None:
            return
        day = first if self._told.statement is None else self._told.statement + timedelta(days=1)
        while self._books.is_over(day.isoformat()):
            told: dict[str, Any] = day_of(self._books, day.isoformat())
            self._write(f"statement-{day}.json", msgspec.json.encode(told))
            self._told.statement = day
            self._remember()
            day += timedelta(days=1)

    def _write(self, name: str, content: bytes) -> None:
        _rename_into(self.outbox / name, content)

    def _remember(self) -> None:
        _rename_into(self._memory, msgspec.json.encode(self._told))


def _rename_into(path: Path, content: bytes) -> None:
    """The file is there whole or not at all."""
    passing = path.with_name(f".{path.name.lstrip('.')}.tmp")
    passing.write_bytes(content)
    passing.replace(path)
