"""The class that implements the merchant door: its verbs are the desks'."""

from __future__ import annotations

from kessai.foundation.clock import Clock
from kessai.foundation.config import load_toml
from kessai.foundation.db import Database
from kessai.services.merchant.domain.rules import ApprovalRules, read_rules
from kessai.services.merchant.gateways import Approvals, BankAccounts
from kessai.services.merchant.service.changing import Changes
from kessai.services.merchant.service.companies import CompanyDesk
from kessai.services.merchant.service.consent import Consents
from kessai.services.merchant.service.importing import ImportDesk
from kessai.services.merchant.service.merchants import MerchantDesk
from kessai.services.merchant.service.terms import Memory, TermsDesk


class MerchantService(TermsDesk, CompanyDesk, MerchantDesk, ImportDesk):
    """Implements the door `Merchant`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        approvals: Approvals | None,
        bank: BankAccounts | None,
        rules: ApprovalRules | None = None,
    ) -> None:
        """`approvals`: where second persons' consent is kept; `bank`: who knows whose an account is.

        `rules`: an operator's own, in place of `config/merchant.toml`.
        """
        self._database = database
        self._clock = clock
        self._bank = bank
        self._rules = read_rules(load_toml("kessai.config", "merchant.toml")) if rules is None else rules
        self._consents = Consents(approvals)
        self._changes = Changes(database, clock, self._consents, self._rules)
        self._memory = Memory()

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing is under way between two verbs."""
