"""Files when the bank does not answer, and when processes die: nothing is sent twice, nothing is in two files."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kessai.foundation.db import Database
from kessai.foundation.ids import derived_hex
from kessai.sdk.jobs import start
from kessai.sdk.workflow import Engine
from kessai.sdk.workflow.journal import FlushHook
from kessai.sdk.workflow.testing import crashes_everywhere
from kessai.services.bank.api import BankAccount, BankFile, Instruction, TransferOut
from kessai.services.bank.api import FileState as F
from kessai.services.bank.api import InstructionState as S
from kessai.services.bank.domain import load_terms
from kessai.services.bank.gateways import FolderFiles, NoFiles
from kessai.services.bank.service import BankService
from kessai.services.bank.workflows import FileOrder, send_file, sending
from kessai.simulators.bank import BankSimulator
from kessai.simulators.faults import PRESETS
from tests.bank.filing import FRIDAY, JOBS, MONDAY, PERSONS, THURSDAY, TUESDAY, FilesWorld
from tests.bank.world import World


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(sending, "PAUSE_S", 0.05)
    monkeypatch.setattr(sending, "PAUSE_S_MAX", 0.2)


@pytest.mark.parametrize("fault", PRESETS)
async def test_whatever_happens_to_the_handing_over_the_bank_has_the_file_once(filing: FilesWorld, fault: str) -> None:
    waiting = await filing.transfer(await filing.world.account())
    filing.simulator.faults.program(replace(PRESETS[fault], verb="file"))
    file = await filing.send()
    assert list(filing.simulator.books.files.files) == [file.file_id]
    await filing.hear(TUESDAY)
    assert (await filing.world.now(waiting)).state is S.DONE
    assert [line.amount for line in filing.simulator.books.statement()] == [-1_000]


async def test_a_lost_reply_is_inquired_and_the_file_is_not_sent_again(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.simulator.faults.program(replace(PRESETS["drop_after"], verb="file"))
    await filing.send()
    assert filing.asked("file", "inquire_file") == ["file", "inquire_file"]


async def test_a_file_that_never_arrived_is_sent_again_under_its_id(filing: FilesWorld) -> None:
    await filing.transfer(await filing.world.account())
    filing.simulator.faults.program(replace(PRESETS["drop_before"], verb="file"))
    await filing.send()
    assert filing.asked("file", "inquire_file") == ["file", "inquire_file", "file"]


@pytest.mark.parametrize("verb", ["file_entries", "file_results", "statement_day"])
@pytest.mark.parametrize("fault", ["drop_before", "garbage_after", "fail_after", "twice"])
async def test_whatever_happens_to_what_is_read_nothing_is_missed(filing: FilesWorld, verb: str, fault: str) -> None:
    back = await filing.debit(await filing.world.account())
    await filing.send()
    filing.simulator.faults.program(replace(PRESETS[fault], verb=verb, times=2))
    await filing.hear(THURSDAY)
    if verb == "file_results" and (await filing.world.now(back)).state is not S.DONE:
        await filing.hear(THURSDAY)
    assert (await filing.world.now(back)).state is S.DONE
    filing.be(FRIDAY, "07:00")
    found = await filing.statement(THURSDAY)
    assert (found.agrees, found.moved_minor) == (True, 1_000)


async def test_a_bank_that_is_away_holds_up_nothing_but_the_file(filing: FilesWorld) -> None:
    account = await filing.world.account()
    await filing.transfer(account)
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    await filing.simulator.go_away()
    for person in PERSONS:
        await filing.approve(file, by=person)
    await filing.until(file, F.SENDING)
    assert (await filing.transfer(account)).state is S.ACCEPTED
    await filing.simulator.start()
    assert (await filing.until(file, F.SENT)).lines == 1


class _Refusing(NoFiles):
    """A bank that says of a file, while it is being handed over, that it does not take it; and then is silent."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.sent: list[str] = []

    async def send(self, file_id: str, content: bytes, at: datetime) -> None:
        self.sent.append(file_id)
        refused = "UPDATE bank.transfer_file SET state = 'REFUSED', version = version + 1 WHERE file_id = $1::uuid"
        await self.database.fetch(None, refused, file_id[4:])
        await super().send(file_id, content, at)

    async def find(self, file_id: str) -> str | None:
        return None


async def test_a_file_that_was_refused_while_it_was_handed_over_is_not_sent_again(filing: FilesWorld) -> None:
    files = _Refusing(filing.world.database)
    await filing.world.bank.close()
    filing.world.bank = filing.world.another_process(files=files)
    await filing.world.bank.open()
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    for person in PERSONS:
        await filing.approve(file, by=person)
    handle = await filing.bank.engine.attach(send_file, file.file_id)
    assert handle is not None
    assert (await handle.result()).state is F.REFUSED
    assert files.sent == [file.file_id]


# -- crashes ----------------------------------------------------------------------------------------------------


class Stories:
    """Processes that die: each with a short lease, on the same database."""

    def __init__(self, filing: FilesWorld, folder: Path | None = None) -> None:
        self.filing = filing
        self.world: World = filing.world
        self.folder = folder
        self.opened: list[BankService] = []

    async def open_engine(self, hook: FlushHook | None) -> Engine[Any]:
        files = None if self.folder is None else FolderFiles(self.folder)
        bank = self.world.another_process(crash=hook, files=files)
        await bank.open()
        self.opened.append(bank)
        return bank.engine

    async def instruct(self, account: BankAccount, name: str) -> Instruction:
        request = TransferOut(
            account_id=account.account_id,
            amount_minor=1_000,
            instruction_id=f"btr_{derived_hex(name)}",
            transfer_on=TUESDAY,
        )
        return await self.filing.bank.transfer(request)

    async def close(self) -> None:
        for each in self.opened:
            await each.close(grace_s=0)


async def test_a_crash_at_every_boundary_of_the_making_leaves_each_instruction_in_one_file(filing: FilesWorld) -> None:
    account, stories = await filing.world.account(), Stories(filing)
    made: dict[str, Instruction] = {}

    async def scenario(engine: Engine[Any], name: str) -> bool:
        if name not in made:
            made[name] = await stories.instruct(account, name)
            waiting = "UPDATE bank.instruction SET transfer_on = $2 WHERE instruction_id = $1::uuid AND file_id IS NULL"
            await filing.world.database.fetch(None, waiting, made[name].instruction_id[4:], TUESDAY)
        started = await start(filing.world.database, engine, JOBS["bank.send"], MONDAY)
        await started.handle.result()
        return (await filing.world.now(made[name])).file_id is not None

    filing.be(MONDAY, "15:05")
    async for outcome in crashes_everywhere(stories.open_engine, scenario):
        assert outcome.result, outcome
    await stories.close()
    files = await filing.files()
    lines = [line.instruction_id for file in files for line in await filing.lines(file.file_id)]
    assert sorted(lines) == sorted(each.instruction_id for each in made.values())
    assert sum(file.lines for file in files) == len(made)


async def _approved(filing: FilesWorld, stories: Stories, account: BankAccount, name: str) -> BankFile:
    """A file of one instruction that is approved, and that nobody has begun to send."""
    instruction = await stories.instruct(account, name)
    waiting = "UPDATE bank.instruction SET transfer_on = $2 WHERE instruction_id = $1::uuid AND file_id IS NULL"
    await filing.world.database.fetch(None, waiting, instruction.instruction_id[4:], TUESDAY)
    await filing.run("bank.send", MONDAY)
    file_id = (await filing.world.now(instruction)).file_id
    assert file_id is not None
    approve = "UPDATE bank.transfer_file SET state = 'APPROVED', approvals = 2 WHERE file_id = $1::uuid"
    await filing.world.database.fetch(None, approve, file_id[4:])
    lines = "UPDATE bank.file_line SET state = 'APPROVED' WHERE file_id = $1::uuid"
    await filing.world.database.fetch(None, lines, file_id[4:])
    return await filing.file(file_id)


@pytest.mark.parametrize("way", ["http", "folder"])
async def test_a_crash_at_every_boundary_of_the_sending_sends_each_file_once(
    filing: FilesWorld, tmp_path: Path, way: str
) -> None:
    folder = tmp_path / "drop" if way == "folder" else None
    account, stories = await filing.world.account(), Stories(filing, folder)
    simulator = BankSimulator(folder=folder, now=filing.clock.now) if folder else filing.simulator
    if folder is not None:  # the first process adopts what the others leave, too
        await filing.world.bank.close()
        filing.world.bank = filing.world.another_process(files=FolderFiles(folder))
        await filing.world.bank.open()
    files: dict[str, BankFile] = {}

    async def scenario(engine: Engine[Any], name: str) -> str:
        if name not in files:
            files[name] = await _approved(filing, stories, account, name)
        file = files[name]
        order = FileOrder(file_id=file.file_id, content_sha256=file.content_sha256)
        handle = await engine.start(send_file, order, workflow_id=file.file_id)
        noted = await handle.result()
        simulator.sweep()  # before the next life of the process, the bank takes away what lies there
        return noted.state

    filing.be(MONDAY, "15:05")
    async for outcome in crashes_everywhere(stories.open_engine, scenario):
        assert outcome.result == F.SENT, outcome
    await stories.close()
    assert sorted(simulator.books.files.files) == sorted(each.file_id for each in files.values())
    if folder is not None:
        assert list((folder / "in").iterdir()) == []
        assert len(list((folder / "taken").iterdir())) == len(files)
    for each in files.values():
        assert [line.state for line in await filing.lines(each.file_id)] == ["SENT"]


# -- the drop folder --------------------------------------------------------------------------------------------


async def test_the_whole_way_over_a_drop_folder(database: Database, filing: FilesWorld, tmp_path: Path) -> None:
    del database
    simulator = BankSimulator(folder=tmp_path, now=filing.clock.now)
    account = await filing.world.account()
    for deposit in filing.simulator.books.deposits.values():
        simulator.books.open_account(deposit.account)
    simulator.books.agree(account.account_id, next(iter(simulator.books.deposits.values())).account)
    await filing.world.bank.close()
    filing.world.bank = filing.world.another_process(files=FolderFiles(tmp_path))
    await filing.world.bank.open()
    out, back = await filing.transfer(account, 700), await filing.debit(account, 300)
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    for file in await filing.files():
        for person in PERSONS:
            await filing.approve(file, by=person)
        await filing.until(file, F.SENT)
    assert not [each.name for each in (tmp_path / "in").iterdir() if each.name.startswith(".")]
    simulator.sweep()
    assert back.transfer_on is not None
    for day in (TUESDAY, back.transfer_on):
        filing.be(day, "12:00")
        simulator.sweep()
        await filing.hear(day)
    assert {(await filing.world.now(each)).state for each in (out, back)} == {S.DONE}
    assert (await filing.statement(MONDAY)).agrees
    found = await filing.statement(TUESDAY)
    assert (found.agrees, found.moved_minor) == (True, -700)
    simulator.books.close()


async def test_terms_that_need_no_approval_send_at_once(filing: FilesWorld) -> None:
    terms = load_terms()
    terms = replace(terms, approvals=replace(terms.approvals, needed=0))
    await filing.world.bank.close()
    filing.world.bank = filing.world.another_process(terms=terms)
    await filing.world.bank.open()
    await filing.transfer(await filing.world.account())
    filing.be(MONDAY, "15:05")
    await filing.run("bank.send", MONDAY)
    (file,) = await filing.files()
    await filing.until(file, F.SENT)
    assert [line.state for line in await filing.lines(file.file_id)] == ["SENT"]
