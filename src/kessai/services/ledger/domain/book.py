"""The book: memory of accounts and exchanges, and the decision of one page of commands after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kessai.foundation.errors import PaymentError, Refused
from kessai.services.ledger.domain import accounts as accounts_rules
from kessai.services.ledger.domain.commands import (
    Capture,
    Chain,
    Close,
    Command,
    Create,
    Open,
    Release,
    Reverse,
    SetFreeze,
    Sweep,
    Update,
)
from kessai.services.ledger.domain.create import create
from kessai.services.ledger.domain.lifecycle import capture, release
from kessai.services.ledger.domain.page import Answer, Page
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.refusals import refused_before, remember
from kessai.services.ledger.domain.reversal import reverse, sweep
from kessai.services.ledger.domain.state import AccountState
from kessai.services.ledger.domain.types import AccountType, AccountTypes
from kessai.services.ledger.domain.undo import Undo

Rule = Callable[[Any, Page, Any], Answer]

RULES: dict[type, Rule] = {
    Create: create,
    Capture: capture,
    Release: release,
    Reverse: reverse,
    Sweep: sweep,
    Open: accounts_rules.open_account,
    SetFreeze: accounts_rules.set_freeze,
    Close: accounts_rules.close,
    Update: accounts_rules.update,
}


class Book:
    """What memory knows. `decide` changes it at once; `forget` drops what a page that was not written has changed."""

    def __init__(self, types: AccountTypes) -> None:
        self.types = types
        self.accounts: dict[str, AccountState] = {}
        self.exchanges: dict[str, Progress] = {}

    def birth(self, page: Page, account_id: str, owner: str, account_type: AccountType) -> AccountState:
        """Open an account on this page."""
        account = accounts_rules.birth(page, account_id, owner, account_type)
        self.accounts[account_id] = account
        return account

    def decide(self, page: Page, commands: Sequence[Command]) -> None:
        """Decide commands in order; a refused one changes nothing. Raises NeedLots when a window is too short."""
        outcomes, rules = page.outcomes, RULES
        at, end = 0, len(commands)
        while at < end:
            command = commands[at]
            if type(command) is Create and command.chain is not None:
                at = self._decide_chain(page, commands, at, command.chain)
                continue
            born = len(page.births)
            try:
                outcomes.append(rules[type(command)](self, page, command))
            except PaymentError as refusal:
                self._unbear(page, born)
                remember(page, command, refusal)
                outcomes.append(refusal)
            at += 1

    def finish(self, page: Page) -> None:
        """Tell of the accounts that the page has opened, and of what is promised to them; after its last command."""
        for account in page.births:
            accounts_rules.record_birth(page, account)
        for account_id, before in page.promised.items():
            if (account := self.accounts[account_id]).incoming != before:
                accounts_rules.record_promise(page, account)

    def _unbear(self, page: Page, born: int) -> None:
        """A refused command opens no account: checks come first, so that its births are the page's last touches."""
        while len(page.births) > born:
            account, _ = page.births.popitem()
            page.accounts.remove(account)
            del self.accounts[account.account_id]

    def _decide_chain(self, page: Page, commands: Sequence[Command], start: int, chain: Chain) -> int:
        """Decide linked exchanges; when one is refused, all that the others did is undone."""
        end = start
        while end < len(commands) and getattr(commands[end], "chain", None) is chain:
            end += 1
        undo = Undo(self.accounts, self.exchanges, page)
        for at in range(start, end):
            command = commands[at]
            assert type(command) is Create
            undo.remember(command.accounts)
            try:
                page.outcomes.append(create(self, page, command))
            except PaymentError as refusal:
                undo.roll_back()
                others = Refused(chain.code, "Another exchange that this one is linked with was refused.")
                for each in range(start, end):
                    member = commands[each]
                    assert type(member) is Create
                    told = refusal if each == at else refused_before(page, member) or others
                    remember(page, member, told)
                    page.outcomes.append(told)
                break
        return end

    def forget(self, page: Page) -> None:
        """Drop everything a page has touched; it is loaded again when it is needed."""
        for account in page.accounts:
            self.accounts.pop(account.account_id, None)
        for account in page.consulted:
            self.accounts.pop(account.account_id, None)
        for progress in page.progress:
            self.exchanges.pop(progress.exchange_id, None)
