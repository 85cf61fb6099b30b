"""Bank accounts of customers and merchants: confirmed by the bank, kept sealed, with a mandate where they are debited.

A mandate (口座振替契約) is journalled with its account before the bank hears of it: the account is PENDING, and nobody
is shown it, until what became of the mandate is known.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, KeyReused, NotFound, Refused, Unavailable, Unknown
from kessai.foundation.ids import bare, derived_hex, new_hex
from kessai.foundation.vault import Vault
from kessai.sdk.workflow import Engine
from kessai.services.bank import store
from kessai.services.bank.api import (
    BankAccount,
    BankAccounts,
    CheckHolder,
    GetBankAccount,
    HolderChecked,
    ListBankAccounts,
    RegisterBankAccount,
    RemoveBankAccount,
    ThawBankAccount,
)
from kessai.services.bank.domain import AccountState, Patience, same_holder, writable
from kessai.services.bank.gateways import Finding, Holding
from kessai.services.bank.gateways.places import has_bank, place_of
from kessai.services.bank.store import SealedAccount, context_of
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows import Deps, Registration, opened, register, unconfirmed

log = structlog.get_logger(__name__)

LAST_DIGITS = 3
PAGE = 200
FINGERPRINT = "bank.account"
"""What an account's keyed digest is bound to."""


class AccountDesk:
    """What the verbs about bank accounts do."""

    _database: Database
    _clock: Clock
    _vault: Vault
    _deps: Deps
    _engine: Engine[Deps]
    _patience: Patience

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
        account_id = request.account_id or f"bac_{derived('account')}"
        if (known := await self._registered(account_id, request, holding)) is not None:
            current_call().replayed = True
            return known
        _require_place(request)
        await self._require_new(request, holding)
        await self._require_confirmed(account_id, holding)
        sealed = self._sealed(_new_account(request, account_id, self._clock.now()), holding)
        if request.debits:
            await self._begin_mandate(sealed)
        else:
            row = store.account_insertion(sealed, current_call().caller, AccountState.ACTIVE)
            await self._database.fetch(store.ROLE, row.statement, *([each] for each in row.row))
        written = await self._registered(account_id, request, holding)
        assert written is not None
        return written

    async def _begin_mandate(self, sealed: SealedAccount) -> None:
        """Journal that the bank is to be asked for a mandate; it is asked after that."""
        account_id = sealed.account.account_id
        self._deps.untold.add(account_id)
        try:
            await self._engine.start(
                register,
                Registration(account_id=account_id),
                workflow_id=account_id,
                writes=[store.account_insertion(sealed, current_call().caller, AccountState.PENDING)],
                content=account_id,
            )
        except BaseException:
            self._deps.untold.discard(account_id)
            raise

    async def _settled(self, account_id: str) -> None:
        """Wait until what became of a mandate is known; raises its refusal, or Unknown when it takes too long."""
        handle = await self._engine.attach(register, account_id)
        if handle is None:  # it ended long ago, and only that it was refused is still known
            raise unconfirmed(Finding.CANNOT_BE_DEBITED)
        try:
            async with asyncio.timeout(self._patience.answer_s):
                await handle.result()
        except TimeoutError:
            raise Unknown(
                "mandate_outcome_unknown", "The bank has not answered about the mandate yet.", account_id=account_id
            ) from None

    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account."""
        return (await self._account(request.account_id)).account

    async def check_holder(self, request: CheckHolder, /) -> HolderChecked:
        """Whether a bank account's holder bears one of some names: for services that keep no account's name."""
        holder = opened(self._vault, await self._account(request.account_id)).holder
        return HolderChecked(same=any(same_holder(holder, each) for each in request.names))

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

    async def thaw_account(self, request: ThawBankAccount, /) -> BankAccount:
        """Let new instructions name an account again after too many had failed; its count begins anew."""
        known = await self._account(request.account_id)
        await self._database.transaction(
            store.ROLE, lambda connection: file_store.thaw_accounts(connection, [request.account_id])
        )
        if known.account.frozen_at is not None:
            log.warning("bank_account_thawed", account_id=request.account_id, by=current_call().caller)
        return (await self._account(request.account_id)).account

    async def reseal_accounts(self) -> int:
        """Seal accounts that lie under an old key of the vault anew, under the newest; gives how many those were."""
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

    async def _account(self, account_id: str) -> SealedAccount:
        found = await store.load_accounts(self._database, [account_id])
        if not found or found[0].state is not AccountState.ACTIVE:
            raise no_account(account_id)
        return found[0]

    async def _registered(self, account_id: str, request: RegisterBankAccount, holding: Holding) -> BankAccount | None:
        """The account of an id, once that is known; KeyReused when it was registered with other content."""
        found = await store.load_accounts(self._database, [account_id])
        if not found:
            return None
        account = found[0].account
        asked = (request.owner_kind, request.owner_id, request.debits)
        known = (account.owner_kind, account.owner_id, account.debits)
        if asked != known or opened(self._vault, found[0]) != holding:
            raise KeyReused
        if found[0].state is not AccountState.ACTIVE:
            await self._settled(account_id)
        return account

    async def _require_new(self, request: RegisterBankAccount, holding: Holding) -> None:
        marks = self._vault.fingerprints(number_text(holding), context=FINGERPRINT)
        known = await store.account_alike(self._database, marks, request.owner_kind, request.owner_id)
        if known is not None:
            raise Conflict("bank_account_registered", "This bank account is registered already.", account_id=known)

    async def _require_confirmed(self, account_id: str, holding: Holding) -> None:
        try:
            finding = await self._deps.bank.check(account_id, holding)
        except (Unavailable, Unknown) as error:
            raise away() from error  # it has no effect
        if finding is not Finding.CONFIRMED:
            raise unconfirmed(finding)

    def _sealed(self, account: BankAccount, holding: Holding) -> SealedAccount:
        vault, account_id = self._vault, account.account_id
        return SealedAccount(
            account,
            vault.seal(holding.number, context=context_of(account_id, "number")),
            vault.seal(holding.holder, context=context_of(account_id, "holder")),
            vault.fingerprints(number_text(holding), context=FINGERPRINT)[0],
        )


def _require_place(request: RegisterBankAccount) -> None:
    """Whether there is such a bank and such a branch."""
    if not has_bank(request.bank_code):
        raise Refused("no_such_bank", "There is no bank of this code.", bank_code=request.bank_code)
    if place_of(request.bank_code, request.branch_code) is None:
        raise Refused("no_such_branch", "The bank has no branch of this code.", branch_code=request.branch_code)


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


def number_text(holding: Holding) -> str:
    """Bank, branch, type and number, as the keyed digest is taken of them."""
    return "-".join((holding.bank_code, holding.branch_code, holding.deposit_type.value, holding.number))


def derived(what: str) -> str:
    """32 digits for what a call makes: always the same for its idempotency key."""
    key = current_call().request_key
    return new_hex() if key is None else derived_hex("bank", what, key)


def no_account(account_id: str) -> NotFound:
    """There is none of that id that anybody is shown."""
    return NotFound("bank_account_not_found", "There is no such bank account.", account_id=account_id)


def away() -> Unavailable:
    """The bank cannot be asked; nothing was done."""
    return Unavailable("bank_unavailable", "The bank cannot be asked just now; send the request again.")
