"""Opening, freezing, closing and changing accounts. Each change is an event that the seal covers."""

from __future__ import annotations

import msgspec

from kessai.foundation.errors import Invalid, NotFound, Refused
from kessai.services.ledger.api import Account, Freeze
from kessai.services.ledger.domain.commands import Close, Open, SetFreeze, Update
from kessai.services.ledger.domain.create import Memory, encode
from kessai.services.ledger.domain.page import Page
from kessai.services.ledger.domain.state import SLOT_BITS, AccountState
from kessai.services.ledger.domain.types import AccountType


class AccountEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Canonical text of an account's event: what it was given, complete enough to rebuild the row."""

    account_id: str
    event: str
    version: int
    owner: str | None = None
    account_type: str | None = None
    freeze: str | None = None
    closed: bool | None = None
    overdraft: int | None = None
    metadata: dict[str, str] | None = None
    incoming: int | None = None
    """What held exchanges may still bring, after this page."""


def birth(page: Page, account_id: str, owner: str, account_type: AccountType) -> AccountState:
    """A new account, open and empty, written on this page; with the overdraft of its type."""
    overdraft = account_type.overdraft_limit_minor or 0
    account = AccountState(account_id, owner, account_type, opened=page.flush_id >> SLOT_BITS, overdraft=overdraft)
    page.touch(account)
    page.births[account] = account_type.code
    return account


def record_birth(page: Page, account: AccountState) -> None:
    """Tell of a new account; its version stays 0 until its first entry."""
    _record(
        page,
        account,
        AccountEvent(
            account.account_id, "opened", 0, account.owner, account.type.code, None, None,
            account.overdraft, account.metadata,
        ),
    )  # fmt: skip


def record_promise(page: Page, account: AccountState) -> None:
    """Tell what held exchanges may bring to an account by now; its version grows, so that whoever credits it knows."""
    account.version += 1
    _record(page, account, AccountEvent(account.account_id, "promised", account.version, incoming=account.incoming))


def open_account(memory: Memory, page: Page, command: Open) -> Account:
    """Open an account, or give the one that is there."""
    request = command.request
    account_type = memory.types.require(request.account_type)
    overdraft = _overdraft(account_type, request.overdraft_limit_minor)
    if (account := memory.accounts.get(command.account_id)) is not None:
        page.consult(account)
        if account.closed:
            raise Refused("account_closed", "The account was closed for good.")
        return account.message(page.now)
    account = memory.birth(page, command.account_id, request.owner, account_type)
    account.overdraft = overdraft
    account.metadata = request.metadata
    return account.message(page.now)


def _overdraft(account_type: AccountType, asked: int | None) -> int:
    most = account_type.overdraft_limit_minor
    if asked is None:
        return most or 0
    if most is None or asked > most:
        raise Invalid("overdraft_not_allowed", f"{account_type.code} may be overdrawn by at most {most or 0}.")
    return asked


def _find(memory: Memory, page: Page, account_id: str) -> AccountState:
    if (account := memory.accounts.get(account_id)) is None:
        raise NotFound("account_not_found", "There is no such account.", account_id=account_id)
    page.consult(account)
    return account


def _changed(page: Page, account: AccountState, event: str, **settings: object) -> Account:
    account.version += 1
    _record(page, account, AccountEvent(account.account_id, event, account.version, **settings))  # pyright: ignore[reportArgumentType]
    return account.message(page.now)


def _record(page: Page, account: AccountState, event: AccountEvent) -> None:
    record = encode(event)
    page.account_events.append((account.hex, event.version, event.event, len(page.records), record))
    page.unpublished.add(len(page.records))
    page.records.append(record)


def set_freeze(memory: Memory, page: Page, command: SetFreeze) -> Account:
    """Freeze or thaw."""
    account = _find(memory, page, command.account_id)
    if account.closed:
        raise Refused("account_closed", "The account is closed.")
    page.touch(account)
    account.freeze = command.freeze
    return _changed(page, account, "frozen", freeze=str(command.freeze))


def close(memory: Memory, page: Page, command: Close) -> Account:
    """Close an account that has nothing left and is promised nothing; closing it again changes nothing."""
    account = _find(memory, page, command.account_id)
    if account.closed:
        return account.message(page.now)
    if account.type.log_only or account.balance or account.held or account.incoming:
        raise Refused("account_not_empty", "Only an account at zero with nothing held or promised may be closed.")
    page.touch(account)
    account.closed = True
    account.freeze = Freeze.NONE
    return _changed(page, account, "closed", closed=True, freeze=str(Freeze.NONE))


def update(memory: Memory, page: Page, command: Update) -> Account:
    """Change metadata or the overdraft limit."""
    request = command.request
    account = _find(memory, page, request.account_id)
    if account.closed:
        raise Refused("account_closed", "The account is closed.")
    overdraft = account.overdraft
    if request.overdraft_limit_minor is not None:
        overdraft = _overdraft(account.type, request.overdraft_limit_minor)
        if account.balance - account.held < -overdraft:
            raise Invalid("overdraft_not_allowed", "The account is overdrawn by more than that already.")
    page.touch(account)
    account.overdraft = overdraft
    if request.metadata is not None:
        account.metadata = request.metadata
    return _changed(page, account, "updated", overdraft=overdraft, metadata=account.metadata)
