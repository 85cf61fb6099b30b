"""A page: everything one flush will write, gathered while its commands are decided.

Rows are tuples in the order of their statement's columns; the store turns them into one array a column.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from kessai.foundation.errors import PaymentError
from kessai.services.ledger.api import Account, Exchange
from kessai.services.ledger.domain.commands import Asked
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.state import AccountState, Lot, instant

Answer = Account | Exchange

Posting = list[object]
"""`[leg, account, asset, amount, held change, balance, held, sequence, takings, new lot's expiry, its rate, gain]`"""


@dataclass(slots=True, eq=False)
class Page:
    """One flush in the making. `serial` counts pages of this process; `flush_id` tells instant and writer."""

    serial: int
    flush_id: int
    now: int
    """The recorded instant, in microseconds since 2020."""
    outcomes: list[Answer | PaymentError] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    """Canonical text of each effect, in order: what the seal covers."""
    exchanges: list[tuple[str, int, bytes, bytes, str, str | None]] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    """Exchange (bare id) by its caller's reference."""
    actions: list[tuple[object, ...]] = field(default_factory=list)
    account_events: list[tuple[object, ...]] = field(default_factory=list)
    logs: list[tuple[object, ...]] = field(default_factory=list)
    hot_logs: list[tuple[object, ...]] = field(default_factory=list)
    lot_logs: list[tuple[object, ...]] = field(default_factory=list)
    accounts: list[AccountState] = field(default_factory=list)
    """Touched: their versions are verified and their rows written."""
    consulted: dict[AccountState, int] = field(default_factory=dict)
    """Looked at only: their versions are verified."""
    lots: dict[Lot, AccountState] = field(default_factory=dict)
    """Touched lots that the database already has."""
    new_lots: list[tuple[AccountState, Lot]] = field(default_factory=list)
    """Lots born here."""
    progress: dict[Progress, int] = field(default_factory=dict)
    """Exchanges carried further, with the version the database had (0: no row yet)."""
    keys: dict[str, Asked] = field(default_factory=dict)
    """Idempotency keys used here whose requests have ids of their own."""
    promised: dict[str, int] = field(default_factory=dict)
    """Accounts (ids) whose incoming amount was changed, with what it was before the page."""
    births: dict[AccountState, str] = field(default_factory=dict)
    """Accounts opened here: inserted rather than updated."""
    born_exchanges: dict[str, tuple[bytes, Exchange]] = field(default_factory=dict)
    """Content digest and answer of exchanges made on this page: a repetition within the flush gets the same answer."""
    action_answers: dict[tuple[str, str], Exchange] = field(default_factory=dict)
    """Answers of captures, voids and expiries of this page, by exchange and action id."""
    refusals: dict[tuple[str, str | None], tuple[str, PaymentError]] = field(default_factory=dict)
    """Refusals remembered here, with the digest of what was asked, by exchange and (of an action) action id."""
    unpublished: set[int] = field(default_factory=set)
    """Records (by ordinal) that are no effects on exchanges."""
    expiries: list[bytes] = field(default_factory=list)
    """Records published as `ledger.expiry`."""

    _recorded_at: datetime | None = None

    def exchange_records(self) -> list[bytes]:
        """Records of effects on exchanges, in order: what is published as `ledger.exchange`."""
        if not self.unpublished:
            return self.records
        return [record for ordinal, record in enumerate(self.records) if ordinal not in self.unpublished]

    def touch(self, account: AccountState) -> None:
        """Mark an account as changed here; its version so far is what the database must have."""
        if account.landed != self.serial:
            account.was = self.consulted.pop(account, account.version)
            account.landed = self.serial
            account.used = True
            self.accounts.append(account)

    def consult(self, account: AccountState) -> None:
        """Mark an account as looked at; answers that depend on it stand only if its version is verified."""
        if account.landed != self.serial and account not in self.consulted:
            self.consulted[account] = account.version
            account.used = True

    @property
    def recorded_at(self) -> datetime:
        """The recorded instant."""
        if self._recorded_at is None:
            self._recorded_at = instant(self.now)
        return self._recorded_at

    @property
    def empty(self) -> bool:
        """Nothing to write (there may still be versions to verify)."""
        return not self.records
