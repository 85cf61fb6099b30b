"""Undo for linked exchanges: what the touched accounts, their lots and the page were before the chain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kessai.services.ledger.domain.page import Page
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.state import AccountState, Lot

_LISTS = ("records", "exchanges", "actions", "account_events", "logs", "hot_logs", "lot_logs",
          "accounts", "new_lots", "outcomes", "expiries")  # fmt: skip
_DICTS = ("references", "lots", "progress", "births", "born_exchanges", "promised", "keys")
"""These only grow while a chain is decided, in order, so that their length is enough to undo it."""


class _Before:
    """One account as it was."""

    def __init__(self, account: AccountState) -> None:
        self.account = account
        self.values = {name: getattr(account, name) for name in AccountState.__slots__}
        self.window = list(account.lots)
        self.side = dict(account.side)
        self.lots: list[tuple[Lot, int, int, int]] = [
            (lot, lot.remaining, lot.held, lot.landed) for lot in (*account.lots, *account.side.values())
        ]

    def put_back(self) -> None:
        for name, value in self.values.items():
            setattr(self.account, name, value)
        self.account.lots, self.account.side = self.window, self.side
        for lot, remaining, held, landed in self.lots:
            lot.remaining, lot.held, lot.landed = remaining, held, landed


class Undo:
    """Remembers accounts before they are touched and the lengths of the page's lists."""

    def __init__(self, accounts: dict[str, AccountState], exchanges: dict[str, Progress], page: Page) -> None:
        self._accounts = accounts
        self._exchanges = exchanges
        self._page = page
        self._before: dict[str, _Before | None] = {}
        self._lengths = {name: len(getattr(page, name)) for name in _LISTS}
        self._sizes = {name: len(getattr(page, name)) for name in _DICTS}
        self._consulted = dict(page.consulted)

    def remember(self, account_ids: Iterable[str]) -> None:
        """Note how these accounts are; None for those that do not exist yet."""
        for account_id in account_ids:
            if account_id not in self._before:
                account = self._accounts.get(account_id)
                self._before[account_id] = None if account is None else _Before(account)

    def roll_back(self) -> None:
        """Everything as it was; accounts that were only looked at stay noted, so that their versions are verified."""
        looked_at = [*self._page.accounts, *self._page.consulted]
        for name, size in self._sizes.items():
            self._shrink(name, size)
        for name, length in self._lengths.items():
            del getattr(self._page, name)[length:]
        self._page.consulted = self._consulted
        for before in self._before.values():
            if before is not None:
                before.put_back()
        for account in looked_at:
            if account.account_id in self._accounts and account.landed != self._page.serial:
                self._page.consult(account)

    def _shrink(self, name: str, size: int) -> None:
        grown: dict[Any, Any] = getattr(self._page, name)
        while len(grown) > size:
            newest, _ = grown.popitem()
            if isinstance(newest, Progress):
                self._exchanges.pop(newest.exchange_id, None)
            elif isinstance(newest, AccountState):
                self._accounts.pop(newest.account_id, None)
