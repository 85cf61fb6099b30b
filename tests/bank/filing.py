"""A world with files: accounts, instructions of a day, the dated jobs, two persons who approve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.clock import TOKYO
from kessai.foundation.db import Database
from kessai.foundation.ids import new_id
from kessai.sdk.jobs import JobRun, finish, start
from kessai.services.bank.api import (
    ApproveFile,
    BankAccount,
    BankFile,
    DebitIn,
    FileLine,
    FileState,
    GetFile,
    GetStatementDay,
    Instruction,
    ListFileLines,
    ListFiles,
    StatementDay,
    TransferOut,
)
from kessai.services.bank.jobs import BANK_JOBS
from kessai.services.bank.service import BankService
from tests.bank.world import PATIENCE_S, World
from tests.bank.world import opened as opened_world

JOBS = {each.name: each for each in BANK_JOBS}
MONDAY = date(2030, 4, 8)
"""The day on which the stories begin: an ordinary week of business days."""
TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = (MONDAY + timedelta(days=n) for n in range(1, 5))
NEXT_MONDAY = MONDAY + timedelta(days=7)
PERSONS = ("key_sato", "key_suzuki")


class FilesWorld:
    """What a story with files does, in a few words."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.simulator = world.simulator

    @property
    def bank(self) -> BankService:
        """The first process."""
        return self.world.bank

    def be(self, day: date, hour: str = "10:00") -> None:
        """Let it be that hour of a day in Tokyo; never back."""
        at = datetime.combine(day, time.fromisoformat(hour), TOKYO)
        assert at >= self.clock.now()
        self.clock.restore(self.clock.offset, at)

    async def transfer(self, account: BankAccount, amount: int = 1_000, on: date = TUESDAY) -> Instruction:
        """A transfer that goes with the file of a day."""
        request = TransferOut(
            account_id=account.account_id, amount_minor=amount, instruction_id=new_id("btr"), transfer_on=on
        )
        return await self.bank.transfer(request)

    async def debit(self, account: BankAccount, amount: int = 1_000, on: date = THURSDAY) -> Instruction:
        """A debit that goes with the file of a day."""
        request = DebitIn(
            account_id=account.account_id, amount_minor=amount, instruction_id=new_id("bdb"), transfer_on=on
        )
        return await self.bank.debit(request)

    async def run(self, name: str, day: date, *, dry_run: bool = False, bank: BankService | None = None) -> JobRun:
        """A run of a dated job, to its end."""
        bank = bank or self.bank
        started = await start(self.world.database, bank.engine, JOBS[name], day, dry_run=dry_run)
        return await finish(self.world.database, bank.engine, started)

    async def files(self) -> list[BankFile]:
        """Every file, the oldest first."""
        return (await self.bank.list_files(ListFiles())).files[::-1]

    async def file(self, file_id: str) -> BankFile:
        """A file as it is now."""
        return await self.bank.get_file(GetFile(file_id=file_id))

    async def lines(self, file_id: str) -> list[FileLine]:
        """Its lines."""
        return (await self.bank.list_file_lines(ListFileLines(file_id=file_id))).lines

    async def approve(self, file: BankFile, *, by: str, sha256: str | None = None) -> BankFile:
        """One person's approval."""
        token = enter_call(Call(caller=by))
        try:
            request = ApproveFile(file_id=file.file_id, content_sha256=sha256 or file.content_sha256)
            return await self.bank.approve_file(request)
        finally:
            leave_call(token)

    async def send(self, day: date = MONDAY) -> BankFile:
        """Make the files of the day's cut-off, approve them, and wait until the bank has them; gives the last one."""
        self.be(day, "15:05")
        await self.run("bank.send", day)
        file = None
        for file in [each for each in await self.files() if each.state is FileState.MADE]:
            for person in PERSONS:
                await self.approve(file, by=person)
            file = await self.until(file, FileState.SENT)
        assert file is not None
        return file

    async def until(self, file: BankFile, *states: FileState) -> BankFile:
        """The file once it is in one of the states; nothing is read of the bank meanwhile."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.file(file.file_id)).state not in states:
                await asyncio.sleep(0.02)
        return found

    async def hear(self, day: date, hour: str = "14:00") -> JobRun:
        """Read what the bank tells, at an hour of a day."""
        self.be(day, hour)
        return await self.run("bank.results", day)

    async def statement(self, day: date) -> StatementDay:
        """Import a day, and give what came of it."""
        await self.run("bank.statement", day)
        return await self.bank.get_statement_day(GetStatementDay(day=day))

    def asked(self, *verbs: str) -> list[str]:
        """What the bank was asked for, of these, in order."""
        return [each.verb for each in self.simulator.requests if each.verb in verbs]


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[FilesWorld]:
    """A world with files on a Monday morning."""
    async with opened_world(database) as world:
        files = FilesWorld(world)
        files.be(MONDAY, "09:30")
        yield files
