"""Bank accounts of customers and merchants: requests and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Message
from kessai.services.bank.api.words import (
    AccountId,
    AccountNumber,
    BankCode,
    BranchCode,
    DepositType,
    HolderName,
    OwnerKind,
    Participant,
)


class RegisterBankAccount(Message):
    """Register a bank account; the bank is asked whether it exists and bears the holder's name (口座確認)."""

    owner_kind: OwnerKind
    owner_id: Participant
    """The customer or merchant."""
    bank_code: BankCode
    branch_code: BranchCode
    deposit_type: DepositType = DepositType.ORDINARY
    account_number: AccountNumber
    holder_name: HolderName
    """In kana or Latin letters; compared with the bank's by its width-less, upper-case form."""
    debits: bool = False
    """Also ask the bank for a mandate to debit it (口座振替契約)."""
    account_id: AccountId | None = None
    """Chosen by the caller; None: derived from the call's idempotency key."""


class GetBankAccount(Message):
    """Which bank account."""

    account_id: AccountId


class ListBankAccounts(Message):
    """An owner's bank accounts, newest first."""

    owner_kind: OwnerKind
    owner_id: Participant
    include_removed: bool = False


class RemoveBankAccount(Message):
    """Which bank account; removing it again changes nothing. What is under way goes on."""

    account_id: AccountId


class BankAccount(Message):
    """A registered bank account, without its number and its holder's name."""

    account_id: str
    owner_kind: OwnerKind
    owner_id: str
    bank_code: str
    branch_code: str
    deposit_type: DepositType
    last_digits: str
    """The last three of the number, for the owner to tell accounts apart."""
    debits: bool
    """Whether it may be debited."""
    registered_at: datetime
    removed_at: datetime | None
    failures: int = 0
    """Instructions in a row that failed because of the account."""
    frozen_at: datetime | None = None
    """Since when no new instruction may name it: too many failed, see `thaw_account`."""


class CheckHolder(Message):
    """Whether a bank account's holder bears one of some names."""

    account_id: AccountId
    names: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=256)]], msgspec.Meta(max_length=8)]
    """In kana or Latin letters, as they are registered; see `domain/kana.py` for what is the same."""


class HolderChecked(Message):
    """What came of it."""

    same: bool


class ThawBankAccount(Message):
    """Which bank account; thawing one that is not frozen changes nothing."""

    account_id: AccountId


class BankAccounts(Message):
    """Newest first."""

    accounts: list[BankAccount]
