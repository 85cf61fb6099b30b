"""Whom the merchant service asks: identity for a second person's consent, the bank for who holds an account."""

from __future__ import annotations

from typing import Protocol

from kessai.services.bank.api import BankAccount, CheckHolder, GetBankAccount, HolderChecked
from kessai.services.identity.api import Approval, ConsumeApproval


class Approvals(Protocol):
    """Where a second person's consent is kept; identity's door is one."""

    async def consume_approval(self, request: ConsumeApproval, /) -> Approval:
        """Use an approval up for one act; idempotent by its consumer. Refuses one that is not for this very content."""
        ...


class BankAccounts(Protocol):
    """Where bank accounts are kept whose holder's name the bank has confirmed; the bank's door is one."""

    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account; NotFound `bank_account_not_found`."""
        ...

    async def check_holder(self, request: CheckHolder, /) -> HolderChecked:
        """Whether its holder bears one of some names; NotFound `bank_account_not_found`."""
        ...
