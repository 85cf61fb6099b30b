"""The simulated bank's drop folder: what is put in, what comes out, and when each is whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kessai.sdk import zengin
from kessai.simulators.bank import BankSimulator, FileFate
from tests.simulators.bank_files import DAY, OPEN, Hours, account, debits, payments, require_kept

FIRST, SECOND = "1000001", "1000002"
PATIENCE_S = 30.0


class Folder:
    """A bank with a drop folder, and the client's side of it."""

    def __init__(self, path: Path) -> None:
        self.hours = Hours()
        self.path = path
        self.bank = self.another()
        for number in (FIRST, SECOND):
            self.bank.books.check(account(number))
            self.bank.books.agree(number, account(number))

    def another(self) -> BankSimulator:
        """The bank, after a restart."""
        return BankSimulator(path=self.path / "bank.jsonl", folder=self.path / "drop", now=self.hours)

    def put(self, name: str, content: bytes) -> None:
        """Write a file under another name first."""
        passing = self.path / "drop" / "in" / f".{name}.part"
        passing.write_bytes(content)
        passing.rename(passing.with_name(name))

    def names(self, where: str = "out") -> list[str]:
        """What is there."""
        return sorted(each.name for each in (self.path / "drop" / where).iterdir())

    def json(self, name: str) -> Any:
        """What the bank has put out."""
        return json.loads((self.path / "drop" / "out" / name).read_bytes())

    def remove(self, name: str) -> None:
        """The client has read it."""
        (self.path / "drop" / "out" / name).unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder(tmp_path)
    yield opened
    opened.bank.books.close()


def test_a_file_is_taken_acknowledged_and_told_of(folder: Folder) -> None:
    folder.put("a.txt", payments(FIRST, "7777777"))
    folder.bank.sweep()
    assert (folder.names("in"), folder.names("taken")) == ([], ["a.txt"])
    assert folder.names() == ["a.ack.json", "entries-000000000001.json"]
    assert (folder.json("a.ack.json")["state"], folder.json("a.ack.json")["total"]) == ("accepted", 2_001)
    folder.hours.at = OPEN
    folder.bank.sweep()
    told = folder.json("entries-000000000004.json")
    assert [(each["line"], each["state"]) for each in told["entries"]] == [(1, "done"), (2, "failed")]
    folder.hours.to(date(2026, 5, 1), 0)
    folder.bank.sweep()
    assert [each for each in folder.names() if each.startswith("statement")] == [
        "statement-2026-04-28.json",
        "statement-2026-04-29.json",
        "statement-2026-04-30.json",
    ]
    day = folder.json("statement-2026-04-30.json")
    assert day["opening"] - day["closing"] == 1_000
    assert folder.json("statement-2026-04-29.json")["closing"] == day["opening"]
    require_kept(folder.bank.books)


def test_a_file_that_is_still_being_written_is_left_alone(folder: Folder) -> None:
    (folder.path / "drop" / "in" / ".a.txt.part").write_bytes(payments(FIRST)[:100])
    folder.bank.sweep()
    assert (folder.names("in"), folder.names()) == ([".a.txt.part"], [])


def test_what_the_client_has_removed_does_not_come_again(folder: Folder) -> None:
    folder.put("a.txt", payments(FIRST))
    folder.bank.sweep()
    for name in folder.names():
        folder.remove(name)
    folder.bank.sweep()
    folder.bank.books.close()
    folder.bank = folder.another()
    folder.bank.sweep()
    assert folder.names() == []


def test_the_same_file_put_in_again_is_acknowledged_again_and_done_once(folder: Folder) -> None:
    folder.put("a.txt", payments(FIRST))
    folder.bank.sweep()
    folder.remove("a.ack.json")
    folder.put("a.txt", payments(FIRST))
    folder.put("b.txt", payments(FIRST))
    folder.bank.sweep()
    assert folder.json("a.ack.json")["state"] == "accepted"
    assert folder.json("b.ack.json")["duplicate_of"] == "a"
    folder.put("a.txt", payments(SECOND))
    folder.bank.sweep()
    assert folder.json("a.refused.json") == {"id": "a", "code": "id_reused"}
    folder.hours.at = OPEN
    folder.bank.sweep()
    assert [each.id for each in folder.bank.books.statement()] == ["a-000001"]


def test_an_acknowledgement_may_be_late_missing_or_garbage(folder: Folder) -> None:
    folder.bank.books.files.foresee_file(FileFate(about="late", after_s=60))
    folder.bank.books.files.foresee_file(FileFate(about="none", ack="none"))
    folder.bank.books.files.foresee_file(FileFate(about="garbage", ack="garbage"))
    for number, name in enumerate(("late", "none", "garbage"), start=1):
        folder.put(f"{name}.txt", payments(FIRST, amount=number))
    folder.bank.sweep()
    assert (folder.names("in"), folder.names()) == (["late.txt"], ["entries-000000000001.json", "garbage.ack.json"])
    with pytest.raises(ValueError, match="Expecting value"):
        folder.json("garbage.ack.json")
    folder.put("garbage.txt", payments(FIRST, amount=3))
    folder.hours.pass_(minutes=1)
    folder.bank.sweep()
    assert folder.json("garbage.ack.json")["state"] == folder.json("late.ack.json")["state"] == "accepted"
    assert folder.names("in") == []


def test_a_debit_file_comes_back_in_the_folder(folder: Folder) -> None:
    folder.put("d.txt", debits(FIRST, "7777777"))
    folder.bank.sweep()
    folder.hours.at = OPEN
    folder.bank.sweep()
    file = zengin.read((folder.path / "drop" / "out" / "d.results.txt").read_bytes(), near=DAY)
    assert [each.result for each in file.lines] == [0, 2]


def test_a_line_is_called_back_in_the_folder(folder: Folder) -> None:
    folder.put("a.txt", payments(FIRST))
    folder.bank.sweep()
    meant = {"id": "a-000001", "customer_code_1": "0000000001", "customer_code_2": "0000000000", "amount": 1_000}
    folder.put("a-000001.recall.json", json.dumps(meant).encode())
    folder.put("a-000009.recall.json", b"what?")
    folder.bank.sweep()
    assert folder.json("a-000009.recall-refused.json")["code"] == "line_not_found"
    assert [each["state"] for each in folder.json("entries-000000000003.json")["entries"]] == ["recalled"]
    assert folder.names("in") == []


def test_a_bank_that_is_down_leaves_the_folder_alone(folder: Folder) -> None:
    folder.bank.faults.down = True
    folder.put("a.txt", payments(FIRST))
    folder.bank.sweep()
    assert (folder.names("in"), folder.names()) == (["a.txt"], [])


async def test_it_looks_into_the_folder_by_itself_until_it_goes_away(folder: Folder) -> None:
    await folder.bank.start()
    folder.put("a.txt", payments(FIRST))
    async with asyncio.timeout(PATIENCE_S):
        while "a.ack.json" not in folder.names():
            await asyncio.sleep(0.01)
    await folder.bank.stop()
    folder.put("b.txt", payments(SECOND))
    assert folder.names("in") == ["b.txt"]
