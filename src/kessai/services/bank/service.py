"""The bank service: one async method a verb. Check, decide, journal; a workflow then tells the bank.

Names and numbers are opened only where they are handed to the bank, and are in no error and no log.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, Invalid, KeyReused, NotFound, PaymentError, Refused, Unavailable, Unknown
from kessai.foundation.ids import bare, derived_hex, new_hex, new_id, require_id
from kessai.foundation.lease import LEASE_S
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Counts, Engine, Parked
from kessai.sdk.workflow.journal import FlushHook
from kessai.services.bank import store
from kessai.services.bank.api import (
    BankAccount,
    BankAccounts,
    DebitIn,
    GetBankAccount,
    GetInstruction,
    GetInstructionHistory,
    InquireInstruction,
    Instruction,
    InstructionHistory,
    InstructionPage,
    InstructionState,
    InstructionStep,
    ListBankAccounts,
    ListInstructions,
    RegisterBankAccount,
    RemoveBankAccount,
    TransferOut,
)
from kessai.services.bank.domain import Difference, Entry, compare, latest, moved, new_instruction, same_order, writable
from kessai.services.bank.gateways import BankConnection, Finding, Holding
from kessai.services.bank.store import SealedAccount, context_of
from kessai.services.bank.workflows import Deps, Order, Overtaken, instruct, load, opened, settle

LAST_DIGITS = 3
OVERTAKEN_MAX = 8
REPAIR_AFTER_S = 30
"""An instruction that has stood without an end so long (business time) is asked about."""
PAGE = 200
_FINGERPRINT = "bank.account"


class BankService:
    """銀行接続. Any number of processes may run one on the same database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        bank: BankConnection,
        vault: Vault,
        *,
        lease_s: float = LEASE_S,
        hook: FlushHook | None = None,
        **engine: Any,
    ) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._deps = Deps(database, clock, bank, vault)
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

    async def crash(self) -> None:
        """Stop as a killed process would: nothing more is written, nothing is let go. For tests."""
        await self._engine.crash()
        await self._deps.bank.close()

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

    # -- bank accounts ------------------------------------------------------------------------------------------

    async def register_account(self, request: RegisterBankAccount, /) -> BankAccount:
        """Register a bank account after the bank has confirmed its holder's name."""
        holding = Holding(
            bank_code=request.bank_code,
            branch_code=request.branch_code,
            deposit_type=request.deposit_type,
            number=request.account_number,
            holder=writable(request.holder_name),
        )
        account_id = request.account_id or f"bac_{_derived('account')}"
        if (known := await self._registered(account_id, request, holding)) is not None:
            current_call().replayed = True
            return known
        await self._require_new(request, holding)
        await self._require_confirmed(account_id, holding, debits=request.debits)
        sealed = self._sealed(_new_account(request, account_id, self._clock.now()), holding)
        caller = current_call().caller
        await self._database.transaction(
            store.ROLE, lambda connection: store.insert_accounts(connection, [sealed], caller)
        )
        written = await self._registered(account_id, request, holding)
        assert written is not None
        return written

    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account."""
        return (await self._account(request.account_id)).account

    async def list_accounts(self, request: ListBankAccounts, /) -> BankAccounts:
        """An owner's bank accounts, newest first."""
        accounts = await store.accounts_of_owner(
            self._database, request.owner_kind, request.owner_id, include_removed=request.include_removed
        )
        return BankAccounts(accounts=accounts)

    async def remove_account(self, request: RemoveBankAccount, /) -> BankAccount:
        """Remove a bank account: no new instruction names it; what is under way goes on."""
        await self._account(request.account_id)
        now = self._clock.now()
        await self._database.transaction(
            store.ROLE, lambda connection: store.remove_accounts(connection, [request.account_id], now)
        )
        return (await self._account(request.account_id)).account

    async def reseal_accounts(self) -> int:
        """Seal what lies under an old key of the vault anew, under the newest; gives how many accounts that were."""
        done, after = 0, store.FIRST
        if not self._vault.configured:
            return done
        while page := await store.accounts_under_old_keys(self._database, self._vault.head, after, PAGE):
            anew = [self._sealed(each.account, opened(self._vault, each)) for each in page]
            await self._database.transaction(
                store.ROLE, lambda connection, anew=anew: store.reseal_accounts(connection, anew)
            )
            done, after = done + len(page), bare(page[-1].account.account_id)
        return done

    # -- instructions -------------------------------------------------------------------------------------------

    async def transfer(self, request: TransferOut, /) -> Instruction:
        """Send money to a bank account (振込); answers once it is journalled."""
        return await self._instruct(request, request.instruction_id or f"btr_{_derived('transfer')}")

    async def debit(self, request: DebitIn, /) -> Instruction:
        """Take money from a bank account (口座振替); answers once it is journalled."""
        return await self._instruct(request, request.instruction_id or f"bdb_{_derived('debit')}")

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
            raise _away() from error

    async def repair(self) -> int:
        """Ask the bank about every instruction that has stood too long without an end; gives how many have moved on."""
        until = self._clock.now() - timedelta(seconds=REPAIR_AFTER_S)
        moved, after = 0, store.OLDEST
        while page := await store.in_doubt(self._database, until, after, PAGE):
            for each in page:
                moved += (await self._inquired(each.instruction_id)).version > each.version
            after = (page[-1].updated_at, bare(page[-1].instruction_id))
        return moved

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
                await settle(self._deps, latest(found.results), feed=(was, found.position))
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
            for instruction_id, kind, state, amount in page:
                if state in (InstructionState.ACCEPTED, InstructionState.UNKNOWN):
                    doubtful.add(instruction_id)
                ours.append(Entry(instruction_id, moved(kind, state, amount)))
            last_id, last_kind, _, _ = page[-1]
            after = (bare(last_id), last_kind.value)
        return compare(
            (each for each in ours if each.instruction_id not in doubtful),
            (each for each in theirs if each.instruction_id not in doubtful),
        )

    # -- parts --------------------------------------------------------------------------------------------------

    async def _instruct(self, request: TransferOut | DebitIn, instruction_id: str) -> Instruction:
        if (known := await self._repeated(request, instruction_id)) is not None:
            return known
        account = await self._usable(request)
        call = current_call()
        instruction = new_instruction(
            request,
            instruction_id,
            account,
            processing_id=call.processing_id or new_id("prc"),
            now=self._clock.now(),
        )
        self._deps.untold.add(instruction_id)
        try:
            await self._engine.start(
                instruct,
                Order(instruction_id=instruction_id),
                workflow_id=instruction_id,
                writes=[store.insertion(instruction, call.caller)],
                content=(request.account_id, request.amount_minor, request.reference),
            )
        except PaymentError:
            self._deps.untold.discard(instruction_id)
            raise
        return await load(self._database, instruction_id)

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
            raise _no_account(request.account_id)
        if account.removed_at is not None:
            raise Refused("bank_account_removed", "This bank account was removed.", account_id=account.account_id)
        if isinstance(request, DebitIn) and not account.debits:
            raise Refused(
                "debits_not_agreed", "This bank account has no mandate for debits.", account_id=account.account_id
            )
        return account

    async def _inquired(self, instruction_id: str) -> Instruction:
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

    async def _account(self, account_id: str) -> SealedAccount:
        found = await store.load_accounts(self._database, [account_id])
        if not found:
            raise _no_account(account_id)
        return found[0]

    async def _registered(self, account_id: str, request: RegisterBankAccount, holding: Holding) -> BankAccount | None:
        """The account of an id; KeyReused when it was registered with other content."""
        found = await store.load_accounts(self._database, [account_id])
        if not found:
            return None
        account = found[0].account
        asked = (request.owner_kind, request.owner_id, request.debits)
        known = (account.owner_kind, account.owner_id, account.debits)
        if asked != known or opened(self._vault, found[0]) != holding:
            raise KeyReused
        return account

    async def _require_new(self, request: RegisterBankAccount, holding: Holding) -> None:
        marks = self._vault.fingerprints(_number_text(holding), context=_FINGERPRINT)
        known = await store.account_alike(self._database, marks, request.owner_kind, request.owner_id)
        if known is not None:
            raise Conflict("bank_account_registered", "This bank account is registered already.", account_id=known)

    async def _require_confirmed(self, account_id: str, holding: Holding, *, debits: bool) -> None:
        try:
            finding = await self._deps.bank.check(account_id, holding)
            if finding is Finding.CONFIRMED and debits:
                finding = await self._deps.bank.agree(account_id, holding)
        except (Unavailable, Unknown) as error:
            raise _away() from error  # asked again under the same id, the bank has at most the same mandate
        match finding:
            case Finding.CONFIRMED:
                return
            case Finding.NO_ACCOUNT:
                raise Refused("no_such_bank_account", "The bank has no such account, or has closed it.")
            case Finding.NAME_MISMATCH:
                raise Refused("holder_name_mismatch", "The bank has this account under another name.")
            case Finding.CANNOT_BE_DEBITED:
                raise Refused("debits_not_possible", "The bank does not allow debits from this account.")

    def _sealed(self, account: BankAccount, holding: Holding) -> SealedAccount:
        vault, account_id = self._vault, account.account_id
        return SealedAccount(
            account,
            vault.seal(holding.number, context=context_of(account_id, "number")),
            vault.seal(holding.holder, context=context_of(account_id, "holder")),
            vault.fingerprints(_number_text(holding), context=_FINGERPRINT)[0],
        )


def _new_account(request: RegisterBankAccount, account_id: str, now: datetime) -> BankAccount:
    return BankAccount(
        account_id=account_id,
        owner_kind=request.owner_kind,
        owner_id=request.owner_id,
        bank_code=request.bank_code,
        branch_code=request.branch_code,
        deposit_type=request.deposit_type,
        last_digits=request.account_number[-LAST_DIGITS:],
        debits=request.debits,
        registered_at=now,
        removed_at=None,
    )


def _number_text(holding: Holding) -> str:
    return "-".join((holding.bank_code, holding.branch_code, holding.deposit_type.value, holding.number))


def _derived(what: str) -> str:
    """32 digits for what a call makes: always the same for its idempotency key."""
    key = current_call().request_key
    return new_hex() if key is None else derived_hex("bank", what, key)


def _no_account(account_id: str) -> NotFound:
    return NotFound("bank_account_not_found", "There is no such bank account.", account_id=account_id)


def _away() -> Unavailable:
    return Unavailable("bank_unavailable", "The bank cannot be asked just now; send the request again.")


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
