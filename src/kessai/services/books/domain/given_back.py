"""Consumption tax of what is given back in parts (返金): the tax of all of it so far, less what was given back before.

Each part's own tax would be rounded by itself, and what was given back whole would leave some of its tax behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from kessai.services.books.domain.rules import TaxCode

TaxKey: TypeAlias = tuple[str, str, str, str]
"""Account type, owner, asset, tax code: one leg of an exchange."""


@dataclass(slots=True)
class Taxed:
    """What is booked under a tax code on one leg of an exchange, with its tax; signed as entries are."""

    gross: int = 0
    tax: int = 0
    back: int = 0
    """What of it was given back, on the other side, less what was taken again."""
    tax_back: int = 0

    def give_back(self, amount: int, code: TaxCode) -> int:
        """Give more of it back; gives the tax in that. When all of it is given back, so is all of its tax."""
        self.back += amount
        total = -self.tax if self.back == -self.gross else code.included_in(self.back)
        tax, self.tax_back = total - self.tax_back, total
        return tax

    def book(self, amount: int, *, is_tax: bool, is_back: bool) -> None:
        """Take note of an entry that is booked."""
        if is_back:
            self.back += amount
            self.tax_back += amount if is_tax else 0
        else:
            self.gross += amount
            self.tax += amount if is_tax else 0


Legs: TypeAlias = dict[TaxKey, Taxed]
"""Of one exchange, with all that reversed it, and what reversed that."""


def copied(legs: Legs | None) -> Legs:
    """A copy that may be thrown away where the event is not booked."""
    return {} if legs is None else {key: replace(each) for key, each in legs.items()}


def note(
    legs: Legs, entries: Iterable[tuple[TaxKey, str, int]], accounts: Mapping[str, frozenset[str]], *, is_back: bool
) -> None:
    """Take note of entries under a tax code: leg, account, amount. `accounts`: where the tax of a code stands."""
    for key, account, amount in entries:
        legs.setdefault(key, Taxed()).book(amount, is_tax=account in accounts.get(key[3], ()), is_back=is_back)
