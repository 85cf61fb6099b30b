"""Consumption tax of what is given back in parts (返金): the tax of all of it so far, less what was given back before.

Each part's own tax would be rounded by itself, and what was given back whole would leave some of its tax behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

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

    def room(self, amount: int) -> int:
        """As much of an amount as this can give back, or (with its own sign) take again."""
        room = -self.back if amount * self.gross > 0 else -(self.gross + self.back)
        if room * amount <= 0:
            return 0
        return amount if abs(amount) < abs(room) else room

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


class Back(NamedTuple):
    """A part of what is given back, under the code that it was booked under."""

    code: TaxCode
    amount: int
    """With its tax."""
    tax: int


def give_back(
    legs: Legs, place: tuple[str, str, str], amount: int, codes: Mapping[str, TaxCode]
) -> list[Back]:  # fmt: skip
    """Give an amount back of the leg at a place (account type, owner, asset), with the tax that was booked on it then.

    Whatever the rules say today: what was sold at one rate is given back at that rate, and what bore no tax without.
    Where parts of an exchange were booked under several codes, the first is given back first; empty: there is no tax.
    """
    keys = sorted(key for key in legs if key[:3] == place)
    found: list[Back] = []
    for number, key in enumerate(keys, 1):
        part = amount if number == len(keys) else legs[key].room(amount)
        if part:
            code = codes[key[3]]
            found.append(Back(code, part, legs[key].give_back(part, code)))
            amount -= part
    return found


def copied(legs: Legs | None) -> Legs:
    """A copy that may be thrown away where the event is not booked."""
    return {} if legs is None else {key: replace(each) for key, each in legs.items()}


def note(
    legs: Legs, entries: Iterable[tuple[TaxKey, str, int]], accounts: Mapping[str, frozenset[str]], *, is_back: bool
) -> None:
    """Take note of entries under a tax code: leg, account, amount. `accounts`: where the tax of a code stands."""
    for key, account, amount in entries:
        legs.setdefault(key, Taxed()).book(amount, is_tax=account in accounts.get(key[3], ()), is_back=is_back)
