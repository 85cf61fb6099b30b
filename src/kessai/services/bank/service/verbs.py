"""The bank service: one async method a verb. Check, decide, journal; a workflow then tells the bank.

Names and numbers are opened only where they are handed to the bank, and are in no error and no log.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from kessai.foundation.calendar import is_business_day
from kessai.foundation.call import current_call
from kessai.foundation.clock import TOKYO, Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, KeyReused, NotFound, Refused, Unavailable, Unknown
from kessai.foundation.events import wake
from kessai.foundation.ids import bare, new_id, require_id
from kessai.foundation.lease import LEASE_S
from kessai.foundation.vault import Vault
from kessai.sdk.processing.api import EffectSource, EffectsPage, ListEffects
from kessai.sdk.workflow import Conflicted, Counts, Engine, Handle, Parked
from kessai.sdk.workflow.journal import FlushHook
from kessai.services.bank import store
from kessai.services.bank.api import (
    AbortInstruction,
    BankAccount,
    DebitIn,
    GetInstruction,
    GetInstructionHistory,
    InquireInstruction,
    Instruction,
    InstructionHistory,
    InstructionPage,
    InstructionState,
    InstructionStep,
    ListInstructions,
    TransferOut,
)
from kessai.services.bank.domain import (
    Asked,
    Difference,
    Doubt,
    Entry,
    FilesDoubt,
    FileTerms,
    Patience,
    compare,
    latest,
    load_terms,
    moved,
    new_instruction,
    same_order,
)
from kessai.services.bank.effects import PARTNER, BankEffects, PartnerBank
from kessai.services.bank.gateways import BankConnection, BankFiles, NoFiles
from kessai.services.bank.gateways.persons import Persons
from kessai.services.bank.service.accounts import AccountDesk, away, derived, no_account
from kessai.services.bank.service.files import FileDesk
from kessai.services.bank.service.payees import PayeeDesk
from kessai.services.bank.service.statements import StatementDesk
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows import (
    Deps,
    Noted,
    Order,
    Overtaken,
    collect_files,
    instruct,
    load,
    prevent,
    settle,
)

log = structlog.get_logger(__name__)

OVERTAKEN_MAX = 8
PAGE = 200
UNANSWERED = (InstructionState.ACCEPTED, InstructionState.UNKNOWN)
OPEN_STATES = (*UNANSWERED, InstructionState.SENT)


class BankService(AccountDesk, FileDesk, PayeeDesk, StatementDesk):
    """銀行接続. Any number of processes may run one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        bank: BankConnection,
        vault: Vault,
        patience: Patience | None = None,
        *,
        files: BankFiles | None = None,
        terms: FileTerms | None = None,
        persons: Persons | None = None,
        lease_s: float = LEASE_S,
        hook: FlushHook | None = None,
        **engine: Any,
    ) -> None:
        """`files`: the way for files, none by default; `terms`: what was agreed about them (`config/bank.toml`).

        `persons`: who knows which keys one person may hold; without it any two keys are two persons'.
        """
        self._persons = persons
        self._database = database
        self._clock = clock
        self._vault = vault
        self._patience = patience or Patience()
        self._deps = Deps(database, clock, bank, vault, files or NoFiles(), terms or load_terms())
        self.effects = BankEffects(database)
        """What the service tells of itself to the Processing Tracer."""
        self.outside: dict[str, EffectSource] = {PARTNER: PartnerBank(self.effects, bank)}
        """Parties outside for which it answers there."""
        self.instructed = asyncio.Event()
        """Set when this process gives the bank something to do: its results are soon to be read."""
        self._position: int | None = None
        """How far this process knows the feed to be read: while nothing comes, nothing is asked of the database."""
        self._engine = Engine(
            database, service="bank", deps=self._deps, clock=clock, lease_s=lease_s, hook=hook, **engine
        )

    async def open(self) -> None:
        """Take up instructions that an earlier run left open."""
        await self._engine.open()

    async def close(self, *, grace_s: float = 1.0) -> None:
        """Let what is just being told to the bank end within `grace_s`; what is left another process takes up."""
        await self._engine.close(grace_s=grace_s)
        await self._deps.bank.close()
        await self._deps.files.close()

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, nothing is let go. For tests."""
        await self._engine.crash()
        await self._deps.bank.close()
        await self._deps.files.close()

    @property
    def engine(self) -> Engine[Deps]:
        """This process's executor, for operators."""
        return self._engine

    @property
    def workflows(self) -> Counts:
        """What this process's workflows came to."""
        return self._engine.counts

    @property
    def open_workflows(self) -> int:
        """Instructions that this process is telling the bank now."""
        return self._engine.open_runs

    async def parked_workflows(self) -> list[Parked]:
        """Workflows that wait for an operator."""
        return await self._engine.parked()

    async def unpark(self, workflow_id: str) -> bool:
        """Let a parked workflow go on; False when there is none of that id."""
        return await self._engine.unpark(workflow_id)

    # -- instructions -------------------------------------------------------------------------------------------

    async def transfer(self, request: TransferOut, /) -> Instruction:
        """Send money to a bank account (振込); answers once it is journalled."""
        return await self._instruct(request, request.instruction_id or f"btr_{derived('transfer')}")

    async def debit(self, request: DebitIn, /) -> Instruction:
        """Take money from a bank account (口座振替); answers once it is journalled."""
        return await self._instruct(request, request.instruction_id or f"bdb_{derived('debit')}")

    async def abort(self, request: AbortInstruction, /) -> Instruction:
        """Make sure that what was not journalled never will be; gives how it stands."""
        account = (await self._account(request.account_id)).account
        after = await prevent(self._deps, self._new(request, request.instruction_id, account), current_call().caller)
        if not same_order(after, request):
            raise KeyReused
        return after

    async def get_instruction(self, request: GetInstruction, /) -> Instruction:
        """A transfer or debit as it is known here."""
        return await self._instruction(request.instruction_id)

    async def get_history(self, request: GetInstructionHistory, /) -> InstructionHistory:
        """Every step of a transfer or debit, with its time."""
        instruction = await self._instruction(request.instruction_id)
        first = InstructionStep(
            sequence=0, state=InstructionState.ACCEPTED, failure_code=None, recorded_at=instruction.created_at
        )
        steps = await store.steps_of(self._database, request.instruction_id)
        return InstructionHistory(instruction_id=request.instruction_id, steps=[first, *steps])

    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The transfers and debits of some processings."""
        return await self.effects.list_effects(request)

    async def list_instructions(self, request: ListInstructions, /) -> InstructionPage:
        """An owner's transfers and debits, newest first."""
        before = store.NEWEST if request.cursor is None else _position(request.cursor)
        found = await store.instructions_of_owner(
            self._database, request.owner_kind, request.owner_id, request.kind, before, request.limit + 1
        )
        page, more = found[: request.limit], len(found) > request.limit
        return InstructionPage(instructions=page, next_cursor=_cursor(page[-1]) if more else None)

    async def inquire(self, request: InquireInstruction, /) -> Instruction:
        """Ask the bank about a transfer or debit now, and give what is known afterwards."""
        await self._instruction(request.instruction_id)
        try:
            return await self._inquired(request.instruction_id)
        except (Unavailable, Unknown) as error:
            raise away() from error

    async def repair(self) -> int:
        """Ask the bank about every instruction that has stood too long without an end, or of which its feed told what
        could not be read; gives how many have moved on. Raises Unavailable while the bank cannot be asked at all."""
        until = self._clock.now() - timedelta(seconds=self._patience.repair_after_s)
        moved, after = 0, store.OLDEST
        while page := await store.in_doubt(self._database, until, after, PAGE):
            for each in page:
                moved += bool(await self._repaired(each))
            after = (page[-1].updated_at, bare(page[-1].instruction_id))
        place = (store.FIRST, "", 0)
        while unread := await store.unread_instructions(self._database, place, PAGE):
            for each, position in unread:
                found = await self._repaired(each)
                moved += bool(found)
                if found is not None:
                    await store.forget_unread(self._database, each, position)
            last, position = unread[-1]
            place = (bare(last.instruction_id), last.kind.value, position)
        return moved

    async def _repaired(self, instruction: Instruction) -> bool | None:
        """Whether it has moved on; None: the bank gave no answer about this one, which stands in no other's way."""
        try:
            return (await self._inquired(instruction.instruction_id)).version > instruction.version
        except Unavailable:
            raise
        except Exception:
            log.exception("instruction_not_repaired", instruction_id=instruction.instruction_id)
            return None

    async def doubt(self) -> Doubt:
        """What the bank has still to answer; an alarm when that takes longer than it may."""
        found = await store.doubt(self._database, self._clock.now())
        if found.oldest_s > self._patience.converge_within_s:
            log.error("bank_outcome_open_too_long", instructions=found.instructions, oldest_s=found.oldest_s)
        return found

    async def files_doubt(self) -> FilesDoubt:
        """What of files whose day has come has no end yet; an alarm when that is too many days ago."""
        now = self._clock.now()
        found = await file_store.files_in_doubt(self._database, now)
        overdue_before = self._deps.terms.overdue_before(now.astimezone(TOKYO).date())
        if found.oldest_on is not None and found.oldest_on < overdue_before:
            oldest_on = found.oldest_on.isoformat()
            log.error("bank_file_lines_open_too_long", instructions=found.instructions, oldest_on=oldest_on)
        return found

    async def collect(self) -> int:
        """Read the bank's feed of results to its end; gives how many entries were new."""
        heard, overtaken = 0, 0
        while self._deps.bank.configured and overtaken < OVERTAKEN_MAX:
            was = self._position
            if was is None:
                was = await self._database.transaction(store.ROLE, store.feed_position)
            found = await self._deps.bank.results(was, self._clock.now())
            if found.position == was:
                self._position = was
                break
            self._position = None
            try:
                await settle(self._deps, latest(found.results), feed=(was, found.position), unread=found.unread)
            except Overtaken:
                overtaken += 1  # another process has read on, or an instruction was just changed: look again
            else:
                heard, overtaken = heard + len(found.results), 0
        return heard

    async def reconcile(self) -> list[Difference]:
        """Our instructions beside the bank's statement, to the yen; what the bank has not answered yet is left out."""
        await self.collect()
        theirs = await self._deps.bank.statement()
        ours: list[Entry] = []
        doubtful: set[str] = set()
        after = (store.FIRST, "")
        while page := await store.moved_amounts(self._database, after, PAGE):
            for each in page:
                about = each.bank_reference if each.by_file and each.bank_reference else each.instruction_id
                if each.state in OPEN_STATES if each.by_file else each.state in UNANSWERED:
                    doubtful.add(about)
                ours.append(Entry(about, moved(each.kind, each.state, each.amount_minor)))
            after = (bare(page[-1].instruction_id), page[-1].kind.value)
        return compare(
            (each for each in ours if each.instruction_id not in doubtful),
            (each for each in theirs if each.instruction_id not in doubtful),
        )

    # -- parts --------------------------------------------------------------------------------------------------

    async def _instruct(self, request: TransferOut | DebitIn, instruction_id: str) -> Instruction:
        if (known := await self._repeated(request, instruction_id)) is not None:
            return known
        instruction = self._new(request, instruction_id, await self._usable(request))
        if instruction.transfer_on is not None:
            return await self._wait(request, instruction)
        try:
            handle = await self._start(instruction, request)
        except Conflicted:  # it was aborted meanwhile
            return await load(self._database, instruction_id)
        self.instructed.set()
        # Once it is journalled nothing is read: a database that is away now says nothing of what was done.
        return instruction if not handle.replayed else await load(self._database, instruction_id)

    async def _wait(self, request: TransferOut | DebitIn, instruction: Instruction) -> Instruction:
        """Journal an instruction that goes with a file; nothing is told to the bank before that."""

        async def write(connection: Connection) -> bool:
            return await file_store.insert_waiting(connection, instruction, current_call().caller)

        if not await self._database.transaction(store.ROLE, write):  # it came twice at once, or was aborted meanwhile
            known = await self._repeated(request, instruction.instruction_id)
            assert known is not None
            return known
        wake(self._database, store.SCHEMA.service)
        return instruction

    def _new(self, request: Asked, instruction_id: str, account: BankAccount) -> Instruction:
        processing_id = current_call().processing_id or new_id("prc")
        now = self._clock.now()
        made = new_instruction(request, instruction_id, account, processing_id=processing_id, now=now)
        asked = None if isinstance(request, AbortInstruction) else request.transfer_on
        if asked is None:
            return made
        if not is_business_day(asked):
            raise Refused("not_a_business_day", "Banks are closed on this day.", transfer_on=asked.isoformat())
        return replace(made, asked_on=asked, transfer_on=self._deps.terms.day_for(made.kind, asked, now))

    async def _start(self, instruction: Instruction, request: TransferOut | DebitIn) -> Handle[Noted]:
        """Journal it; this process alone knows, until it tells the bank, that it surely has not done so yet."""
        instruction_id, untold = instruction.instruction_id, self._deps.untold
        if self._engine.run_of(instruction_id) is None:
            untold.add(instruction_id)
        try:
            handle = await self._engine.start(
                instruct,
                Order(instruction_id=instruction_id),
                workflow_id=instruction_id,
                writes=[store.insertion(instruction, current_call().caller)],
                content=(request.account_id, request.amount_minor, request.reference),
            )
        except BaseException:
            untold.discard(instruction_id)
            raise
        if self._engine.run_of(instruction_id) is None:
            untold.discard(instruction_id)  # it is another process's, or over
        return handle

    async def _repeated(self, request: TransferOut | DebitIn, instruction_id: str) -> Instruction | None:
        """What was made of the same request before; KeyReused when its id came with other content."""
        known = await self._find(instruction_id)
        if known is None:
            return None
        if not same_order(known, request):
            raise KeyReused
        current_call().replayed = True
        return known

    async def _usable(self, request: TransferOut | DebitIn) -> BankAccount:
        account = (await self._account(request.account_id)).account
        if request.owner_id not in (None, account.owner_id):
            raise no_account(request.account_id)
        if account.removed_at is not None:
            raise Refused("bank_account_removed", "This bank account was removed.", account_id=account.account_id)
        if account.frozen_at is not None:
            raise Refused(
                "bank_account_frozen", "Too many instructions in a row failed on it.", account_id=account.account_id
            )
        if isinstance(request, DebitIn) and not account.debits:
            raise Refused(
                "debits_not_agreed", "This bank account has no mandate for debits.", account_id=account.account_id
            )
        return account

    async def _inquired(self, instruction_id: str) -> Instruction:
        if (await load(self._database, instruction_id)).transfer_on is not None:
            await collect_files(self._deps)
            return await load(self._database, instruction_id)
        report = await self._deps.bank.inquire(store.kind_of(instruction_id), instruction_id)
        if report is None:  # the bank has not seen it: its workflow will send it
            return await load(self._database, instruction_id)
        (after,) = await settle(self._deps, {instruction_id: report})
        return after

    async def _instruction(self, instruction_id: str) -> Instruction:
        if (found := await self._find(instruction_id)) is None:
            raise NotFound("instruction_not_found", "There is no such instruction.", instruction_id=instruction_id)
        return found

    async def _find(self, instruction_id: str) -> Instruction | None:
        found = await self._database.transaction(
            store.ROLE, lambda connection: store.load_instructions(connection, [instruction_id])
        )
        return found[0] if found else None


def _cursor(instruction: Instruction) -> str:
    text = f"{instruction.created_at.isoformat()} {instruction.instruction_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        at, identifier = base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")
        prefix = identifier[:3] if identifier[:3] in ("btr", "bdb") else "btr"
        return datetime.fromisoformat(at).astimezone(UTC), bare(require_id(identifier, prefix, "cursor"))
    except (ValueError, OverflowError, Invalid):
        raise Invalid("bad_cursor", "This cursor does not come from a page of this list.", field="$.cursor") from None
