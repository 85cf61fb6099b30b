"""A small world for the bank's tests: the real service, and a bank of its own that can be told to misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import msgspec

from kessai.foundation.clock import SandboxClock
from kessai.foundation.db import Database
from kessai.foundation.errors import PaymentError, Unavailable
from kessai.foundation.events import Event, Relay
from kessai.foundation.ids import new_id
from kessai.foundation.outbound import Destination
from kessai.foundation.vault import Vault, new_vault_key, read_vault_keys
from kessai.sdk.workflow.journal import FlushHook
from kessai.services.bank.api import (
    BankAccount,
    DebitIn,
    GetInstruction,
    GetInstructionHistory,
    Instruction,
    InstructionState,
    OwnerKind,
    RegisterBankAccount,
    TransferOut,
)
from kessai.services.bank.domain import FileTerms, Patience
from kessai.services.bank.gateways import BankFiles, HttpBank, HttpFiles, files_destination
from kessai.services.bank.gateways.persons import Persons
from kessai.services.bank.service import BankService
from kessai.simulators.bank import KEY, BankSimulator
from kessai.simulators.bank.books import CLIENT_BALANCE

S = InstructionState
NUMBER, HOLDER = "1234567", "ヤマダ タロウ"
KEY_TEXT = new_vault_key()
PATIENCE_S = 30.0
LEASE_S = 1.0


def registration(**other: object) -> RegisterBankAccount:
    """A customer's bank account that can be debited."""
    plain: dict[str, object] = {
        "owner_kind": OwnerKind.CUSTOMER,
        "owner_id": "cus:1",
        "bank_code": "0005",
        "branch_code": "001",
        "account_number": NUMBER,
        "holder_name": HOLDER,
        "debits": True,
    }
    return msgspec.convert(plain | other, RegisterBankAccount)


class World:
    """One bank, any number of processes of the service on one database."""

    def __init__(self, database: Database, clock: SandboxClock, simulator: BankSimulator) -> None:
        self.database = database
        self.clock = clock
        self.simulator = simulator
        self.vault = Vault(read_vault_keys(KEY_TEXT))
        self.bank = self.another_process()

    def another_process(
        self,
        *,
        vault: Vault | None = None,
        crash: FlushHook | None = None,
        patience: Patience | None = None,
        files: BankFiles | None = None,
        terms: FileTerms | None = None,
        persons: Persons | None = None,
    ) -> BankService:
        """A bank service that shares nothing with the first but the database and the bank."""
        way = Destination(
            name="bank",
            base_url=self.simulator.url,
            headers={"authorization": f"Bearer {KEY}"},
            timeout_s=0.6,
            breaker_failures=1000,
        )
        return BankService(
            self.database,
            self.clock,
            HttpBank(way),
            vault or self.vault,
            patience,
            files=files or HttpFiles(replace(files_destination(way), timeout_s=way.timeout_s)),
            terms=terms,
            persons=persons,
            lease_s=LEASE_S,
            hook=crash,
        )

    async def account(self, **other: object) -> BankAccount:
        """A registered account; asked for again, as a customer would, while a slow machine's bank does not answer."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    return await self.bank.register_account(registration(**other))
                except Unavailable:
                    await asyncio.sleep(0.1)

    async def transfer(self, account: BankAccount, amount: int = 1_000) -> Instruction:
        """A transfer to it."""
        request = TransferOut(account_id=account.account_id, amount_minor=amount, instruction_id=new_id("btr"))
        return await self.bank.transfer(request)

    async def debit(self, account: BankAccount, amount: int = 1_000) -> Instruction:
        """A debit from it."""
        request = DebitIn(account_id=account.account_id, amount_minor=amount, instruction_id=new_id("bdb"))
        return await self.bank.debit(request)

    async def now(self, instruction: Instruction) -> Instruction:
        """The instruction as it is known here now."""
        return await self.bank.get_instruction(GetInstruction(instruction_id=instruction.instruction_id))

    async def until(self, instruction: Instruction, *states: InstructionState) -> Instruction:
        """The instruction once it is in one of the states; the feed is read meanwhile."""
        async with asyncio.timeout(PATIENCE_S):
            while (found := await self.now(instruction)).state not in states:
                await self.listen()
                await asyncio.sleep(0.02)
        return found

    async def listen(self) -> None:
        """Read the bank's feed, if it can be read just now."""
        try:
            await self.bank.collect()
        except PaymentError as error:
            if not error.retryable:
                raise

    async def states(self, instruction: Instruction) -> list[InstructionState]:
        """Every state that it went through."""
        request = GetInstructionHistory(instruction_id=instruction.instruction_id)
        return [step.state for step in (await self.bank.get_history(request)).steps]

    async def events(self) -> list[Event]:
        """Everything published so far about instructions."""
        relay = Relay(self.database, "bank")
        await relay.open()
        query = "SELECT count(*) FROM bank.outbox WHERE position IS NULL"
        async with asyncio.timeout(PATIENCE_S):
            while (await self.database.fetch(None, query))[0][0]:
                await asyncio.sleep(0.02)
        await relay.close()
        rows = await self.database.fetch(
            None,
            "SELECT position, topic, payload, recorded_at FROM bank.outbox WHERE topic LIKE 'bank.%' ORDER BY position",
        )
        return [
            Event("bank", row["position"], n, row["topic"], bytes(raw), row["recorded_at"])
            for row in rows
            for n, raw in enumerate(msgspec.json.decode(row["payload"], type=list[msgspec.Raw]))
        ]

    def pass_days(self, days: float) -> None:
        """Let business time go by."""
        self.clock.advance(timedelta(days=days))

    async def require_agreement(self) -> None:
        """Our instructions and the bank's statement agree, and the bank has neither lost nor made money."""
        assert await self.bank.reconcile() == []
        self.require_kept()

    def require_kept(self) -> None:
        """The bank has neither lost nor made money."""
        books = self.simulator.books
        assert books.total == CLIENT_BALANCE + books.brought_in
        assert books.client_balance == CLIENT_BALANCE + sum(line.amount for line in books.statement())


@asynccontextmanager
async def opened(database: Database) -> AsyncGenerator[World]:
    """A world that is running."""
    clock = SandboxClock()
    simulator = BankSimulator(now=clock.now)
    await simulator.start()
    world = World(database, clock, simulator)
    await world.bank.open()
    try:
        yield world
    finally:
        await world.bank.close(grace_s=0.1)
        await simulator.stop()


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)
