"""Messages about accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from kessai.foundation.contract import Instant, Label, Message, PageLimit
from kessai.services.ledger.api.words import Freeze, Id, Metadata, Owner


class OpenAccount(Message):
    """Open an owner's account of a configured type.

    Opening it again gives the account as it is, whatever else is asked: limits and metadata are changed by PATCH.
    """

    owner: Owner
    account_type: Label
    metadata: Metadata = {}
    overdraft_limit_minor: Annotated[int, msgspec.Meta(ge=0, le=10**16)] | None = None
    """How far below zero it may go; only for types with an overdraft (credit), at most the type's own limit.

    None: the type's own limit. (An account that its first credit opens may not be overdrawn until it is given one.)
    """


class Account(Message):
    """A value account. `available = balance − held − expired but not yet posted (+ overdraft limit)`."""

    account_id: str
    owner: str
    account_type: str
    asset: str
    balance_minor: int
    held_minor: int
    available_minor: int
    overdraft_limit_minor: int
    freeze: Freeze
    closed: bool
    version: int
    metadata: Metadata
    opened_at: Instant
    log_only: bool
    """No running balance: `balance_minor` is summed when asked, `version` is always 0."""


class AccountOpened(msgspec.Struct, frozen=True, kw_only=True):
    """Published as `ledger.account` before the first exchange that the account is in. None of it ever changes."""

    account_id: str
    owner: str
    account_type: str
    opened_at: datetime


class ExportAccounts(Message):
    """All accounts."""


class ExportedAccount(Message):
    """Whose account it is, and of what type; none of it ever changes."""

    account_id: str
    owner: str
    account_type: str
    opened_at: Instant


class GetAccount(Message):
    """Which account."""

    account_id: Id


class ListAccounts(Message):
    """An owner's accounts."""

    owner: Owner


class Accounts(Message):
    """Accounts, in order of their type."""

    accounts: list[Account]


class ListOverCap(Message):
    """Accounts that returns have lifted above their type's retention cap (滞留規制: to be checked and returned)."""

    limit: PageLimit = 100


class FreezeAccount(Message):
    """Freeze, or thaw with NONE."""

    account_id: Id
    freeze: Freeze


class CloseAccount(Message):
    """Close for good; only at a balance of zero with nothing held or promised."""

    account_id: Id


class UpdateAccount(Message):
    """Replace metadata or the overdraft limit; what is left out stays."""

    account_id: Id
    metadata: Metadata | None = None
    overdraft_limit_minor: Annotated[int, msgspec.Meta(ge=0, le=10**16)] | None = None
