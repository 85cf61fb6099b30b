"""Messages of the ledger's queries."""

from __future__ import annotations

from kessai.foundation.contract import Instant, Message, PageLimit
from kessai.services.ledger.api.words import Id


class ListAccountLogs(Message):
    """A page of an account's log, newest first; `cursor` comes from the page before."""

    account_id: Id
    limit: PageLimit = 100
    cursor: str | None = None


class AccountLog(Message):
    """One entry: what changed and what was there after it. `sequence` is the account's version at the entry."""

    account_id: str
    sequence: int
    exchange_id: str
    amount_minor: int
    held_change_minor: int
    balance_minor: int | None
    held_minor: int | None
    recorded_at: Instant


class AccountLogPage(Message):
    """A page; `next_cursor` is None on the last one."""

    logs: list[AccountLog]
    next_cursor: str | None


class ListLots(Message):
    """An account's lots in the order they would be consumed; open ones only unless asked."""

    account_id: Id
    include_empty: bool = False
    limit: PageLimit = 100
    cursor: str | None = None


class Lot(Message):
    """One credit: how much of it is left and held, until when, and at which rate it was acquired."""

    lot_id: str
    amount_minor: int
    remaining_minor: int
    held_minor: int
    expires_at: Instant | None
    acquisition_rate: str | None


class LotPage(Message):
    """A page; `next_cursor` is None on the last one."""

    lots: list[Lot]
    next_cursor: str | None


class GetSnapshot(Message):
    """An account with its lots as of any past instant; None is now."""

    account_id: Id
    as_of: Instant | None = None


class Snapshot(Message):
    """What the account held at that instant."""

    account_id: str
    as_of: Instant
    balance_minor: int
    held_minor: int
    lots: list[Lot]


class ListTypeTotals(Message):
    """Totals of every account type, now or as of a past instant."""

    as_of: Instant | None = None


class TypeTotal(Message):
    """Sum over all accounts of one type."""

    account_type: str
    asset: str
    accounts: int
    balance_minor: int
    held_minor: int


class TypeTotals(Message):
    """In order of type; per asset the balances add up to zero."""

    totals: list[TypeTotal]


class ExportLogs(Message):
    """All account logs, or those recorded at or after an instant."""

    since: Instant | None = None


class ListAccountTypes(Message):
    """The configured account types."""


class AccountTypeInfo(Message):
    """One configured type, as far as callers need it."""

    account_type: str
    name_ja: str
    asset: str
    owner_kind: str
    auto_create: bool
    log_only: bool
    retention_cap_minor: int | None
    spending_cap_minor: int | None
    overdraft_limit_minor: int | None
    expires_after_days: int | None
    rate_tracked: bool
    statutory_class: str
    """The statutory book (法定帳簿) that it is told in: funds_transfer, prepaid, crypto_asset or none."""


class AccountTypes(Message):
    """All of them."""

    types: list[AccountTypeInfo]
