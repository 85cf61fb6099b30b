"""Pure decisions about instructions to the bank, and the bank's alphabet. Nothing here waits or knows a database."""

from kessai.services.bank.domain.instructions import (
    TRANSITIONS,
    Asked,
    BankRecord,
    Change,
    Report,
    Result,
    advanced,
    event_of,
    failure_of,
    latest,
    moved,
    new_instruction,
    same_order,
)
from kessai.services.bank.domain.kana import writable
from kessai.services.bank.domain.patience import AccountState, Doubt, Patience
from kessai.services.bank.domain.reconciliation import Difference, Entry, Side, compare

__all__ = [
    "TRANSITIONS",
    "AccountState",
    "Asked",
    "BankRecord",
    "Change",
    "Difference",
    "Doubt",
    "Entry",
    "Patience",
    "Report",
    "Result",
    "Side",
    "advanced",
    "compare",
    "event_of",
    "failure_of",
    "latest",
    "moved",
    "new_instruction",
    "same_order",
    "writable",
]
