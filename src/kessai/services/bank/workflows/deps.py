"""Whom the bank service's workflows work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from kessai.foundation.clock import Clock
from kessai.foundation.db import Database
from kessai.foundation.vault import Vault
from kessai.services.bank.domain import FileTerms
from kessai.services.bank.gateways import BankConnection, BankFiles


@dataclass(frozen=True, slots=True)
class Deps:
    """Whom the bank service works with."""

    database: Database
    clock: Clock
    bank: BankConnection
    vault: Vault
    files: BankFiles
    terms: FileTerms
    untold: set[str] = field(default_factory=set[str])
    """What was started here and of which no attempt was made yet: the bank need not be asked first."""
